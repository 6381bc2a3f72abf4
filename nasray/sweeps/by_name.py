"""Sweeps and their trainings as people call them: by name and options, with a run to show for it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.results import Run
from nasray.results import open as open_run
from nasray.runs import storage_of
from nasray.sweeps.command import Source
from nasray.sweeps.fitting import FittedSweep, find_sweep
from nasray.sweeps.made import sweep_of
from nasray.sweeps.options import EXECUTION
from nasray.sweeps.run import Outcome, run_sweep
from nasray.sweeps.run import retrain as retrain_run
from nasray.sweeps.sweep import Sweep
from nasray.training.dataset import load_dataset


def sweep(sweep: str | Sweep | FittedSweep, **options: Any) -> Run:
    """Run a sweep, or go on with it where a run of its name exists.

    Args:
        sweep: a :class:`Sweep`; the name of a ready one (``nasray.list("sweeps")``), or ``file.py:NAME``.
        options: what ``nasray sweep`` takes, by name: fields of the sweep (``name``, ``dataset``, ``seeds``, ...),
            ``budget`` (M), ``method``, ``space``, ``draws``, ``preset``; settings of its searches (``epochs=10``,
            ``lambda0=0.05``), which then are no longer varied; those of the training (``training=dict(epochs=10)``);
            and its execution (``storage``, ``address``, ``gpus_per_trial``, ...). ``image_size="HxW"`` of a dataset
            from files; and of ``"images"`` the ``minutes`` that it may take.

    Returns:
        The run. Trials that failed are warned of.

    Raises:
        InvalidInput: an option that the sweep does not have, a value that it does not accept, data that are missing, or
            a run of that name that is another sweep's.
    """
    load_dataset.cache_clear()  # its files may have changed since the last call
    found = find_sweep(sweep) if isinstance(sweep, str) else sweep
    if not isinstance(found, Sweep | FittedSweep):
        raise InvalidInput(f"sweep {type(found).__name__}: expected a nasray.Sweep, or the name of one.")
    chosen = sweep_of(found, options)
    source = Source(name=sweep, options=options) if isinstance(sweep, str) else None
    return _opened(run_sweep(chosen, source=source), _code_of(chosen))


def retrain(run: str | Path | Run, *, code: str | Path | Sequence[str | Path] | None = None, **options: Any) -> Run:
    """Train the front of a sweep's run from scratch with other settings, as trials of that run.

    Args:
        run: its folder, its URI, or its name in runs/; or the run itself.
        code: files of a user's own code that the run is of.
        options: settings of the training (``epochs=100``), and fields of the execution (``address``, ``data_root``,
            ``cpus_per_trial``, ``gpus_per_trial``) that are to differ from the run's.

    Returns:
        The run. Trials that failed are warned of.

    Raises:
        InvalidInput: no sweep's run lies there, or a setting is not known or not accepted.
    """
    load_dataset.cache_clear()
    storage = run.storage if isinstance(run, Run) else storage_of(run)
    files = registry.code_files(code) or (run.code if isinstance(run, Run) else ())
    execution = {name: value for name, value in options.items() if name in EXECUTION and name != "storage"}
    settings = {name: value for name, value in options.items() if name not in execution}
    return _opened(retrain_run(storage, settings, files, **execution), files)


def _opened(outcome: Outcome, code: Sequence[Path]) -> Run:
    for failure in outcome.failures:
        warnings.warn(f"nasray: {failure}", RuntimeWarning, stacklevel=3)
    return open_run(outcome.folder, code)


def _code_of(sweep: Sweep) -> tuple[Path, ...]:
    """Files of a user's own code that a sweep is of."""
    names = [name for arm in sweep.arms for name in (arm.method, arm.space)] + [sweep.dataset]
    files = (name.rpartition(":")[0] for name in names if registry.is_file(name))
    return tuple(dict.fromkeys(map(Path, files)))
