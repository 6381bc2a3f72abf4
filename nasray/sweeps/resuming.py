"""Going on with a run by its folder alone: what it is a run of stands in its run.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.results import Run
from nasray.results import open as open_run
from nasray.runs import Storage, storage_of
from nasray.sweeps.changes import with_execution
from nasray.sweeps.population import POPULATION, run_population
from nasray.sweeps.run import Outcome, read_run, run_sweep
from nasray.sweeps.single import run_single
from nasray.training.dataset import load_dataset
from nasray.trials.evaluation import EvaluationConfig
from nasray.trials.identity import with_code
from nasray.trials.population import Population
from nasray.trials.search_config import SearchConfig
from nasray.trials.single import GIVEN
from nasray.tune.execution import Execution


def resume(run: str | Path, code: str | Path | Sequence[str | Path] | None = None, **execution: Any) -> Run:
    """Go on with a run where it was left: a sweep, a search or a training. A finished one stays as it is.

    Args:
        run: its folder, its URI, or its name in runs/.
        code: files of a user's own code that the run is of, wherever they lie by now. A run holds no code, and none
            that it names is loaded; files that are others by now are refused.
        execution: fields of a sweep's execution to change, such as ``address`` or ``data_root``; of a search or a
            training ``data_root`` and ``quiet`` alone.

    Returns:
        The run, finished.

    Raises:
        InvalidInput: no run lies there, or it cannot go on; the message says what to change.
    """
    load_dataset.cache_clear()  # its files may have changed since the last call
    storage = storage_of(run)
    resume_storage(storage, execution, code)
    return open_run(str(storage), code)


def resume_storage(
    run: Storage, execution: dict[str, Any], code: str | Path | Sequence[str | Path] | None = None
) -> Outcome | None:
    """Go on with a run; gives what a sweep came to.

    Raises:
        InvalidInput: as of :func:`resume`.
    """
    if not run.exists("run.json"):
        raise InvalidInput(f"{run} is no run: expected a folder with run.json.")
    known = {one.name for one in fields(Execution)} - {"storage"}  # it goes on where it lies
    unknown = sorted(execution.keys() - known)
    if unknown:
        raise InvalidInput(f"unknown field {unknown[0]!r} of an execution: expected one of {', '.join(sorted(known))}")
    files = registry.code_files(code)
    values = run.read_json("run.json")
    if isinstance(values.get("sweep"), dict):
        sweep, _ = read_run(run, files)
        if sweep.name != run.name:
            raise InvalidInput(f"{run} was called {sweep.name!r} when it began. Give its folder that name again.")
        return run_sweep(with_execution(sweep, storage=_folder_of(run), **execution))
    if isinstance(values.get(POPULATION), dict):
        moved = {"data_root": execution.pop("data_root")} if "data_root" in execution else {}
        try:
            population = Population.of(values[POPULATION])
        except (TypeError, LookupError, AttributeError) as error:  # fields of other types than nasray writes
            raise InvalidInput(f"{run}/run.json holds another population than nasray writes ({error}).") from None
        config = _config_of(with_code(values, files, run), run, moved)
        assert isinstance(config, EvaluationConfig)
        run_population(config, population, run, execution, str(values.get("method", GIVEN)))
        return None
    quiet = execution.pop("quiet", False)
    others = sorted(execution.keys() - {"data_root"})
    if others:
        raise InvalidInput(f"{others[0]} for {run}: it holds no sweep, and runs in this process. Leave it out.")
    config = _config_of(with_code(values, files, run), run, execution)
    run_single(config, run, str(values.get("method", GIVEN)), quiet=quiet)
    return None


def _config_of(values: Mapping[str, Any], run: Storage, changes: dict[str, Any]) -> SearchConfig | EvaluationConfig:
    """The config of a single search or training, as run.json has it."""
    try:
        if isinstance(values.get("search"), dict):
            return SearchConfig.of({**values["search"], **changes})
        if isinstance(values.get("training"), dict):
            return EvaluationConfig.of({**values["training"], **changes})
    except (TypeError, LookupError, AttributeError) as error:  # fields of other types than nasray writes
        raise InvalidInput(f"{run}/run.json holds something else than nasray writes ({error}).") from None
    raise InvalidInput(f"{run}/run.json names no sweep, search or training to go on with.")


def _folder_of(run: Storage) -> str:
    """The folder, or URI, in which a run lies."""
    head, mark, query = str(run).partition("?") if "://" in str(run) else (str(run), "", "")
    return head.rstrip("/").rpartition("/")[0] + mark + query
