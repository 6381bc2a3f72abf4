"""One search or one training without Ray, into the same tables as a sweep's."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nasray import registry
from nasray.costs import Budget, macs
from nasray.errors import InvalidInput
from nasray.runs import TABLES, Storage, compact
from nasray.runs.events import note, say, show_events
from nasray.runs.identity import check_new
from nasray.runs.lease import check_lease, lease
from nasray.runs.patience import PATIENCE
from nasray.settings import DeviceKind, as_words, changes
from nasray.training.dataset import load_dataset
from nasray.training.measure import host, pick_device, versions
from nasray.trials.check import check_search, check_training
from nasray.trials.checkpoints import drop_final_checkpoints
from nasray.trials.differing import differing_in
from nasray.trials.evaluation import EvaluationConfig, evaluation_size
from nasray.trials.identity import identity
from nasray.trials.lost import reopen_without_rows
from nasray.trials.running import DONE, EPOCH, Report, RunningTrial
from nasray.trials.search_config import SearchConfig, sizes
from nasray.trials.trial import Origin, SearchTrial, TrainingTrial

GIVEN = "given"
"""The method of an architecture that no search of nasray's found."""


def run_search(config: SearchConfig, run: Storage, *, quiet: bool = False) -> None:
    """Run a search into a run's folder, or go on with it where it was left.

    Args:
        config: of the search.
        run: the folder.
        quiet: whether to print nothing but errors.

    Raises:
        InvalidInput: the search could not run, the folder holds another one, cannot be written, or another process is
            at it.
        LeaseLost: another process took it over.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    show_events(quiet=quiet)
    dataset = load_dataset(config.dataset, config.data_root)
    check_search(config, dataset)  # before the first write
    if config.budget is not None:
        Budget(config.budget).check_possible(config.cell_space, sizes(config, config.cell_space, dataset)[1])
    _run_alone(SearchTrial(run=run.name, config=config), run)


def run_training(config: EvaluationConfig, run: Storage, method: str = GIVEN, *, quiet: bool = False) -> None:
    """Train an architecture from scratch into a run's folder, or go on with it where it was left.

    Args:
        config: of the training.
        run: the folder.
        method: that found the architecture.
        quiet: whether to print nothing but errors.

    Raises:
        InvalidInput: the training could not run, the folder holds another one, cannot be written, or another process
            is at it.
        LeaseLost: another process took it over.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    show_events(quiet=quiet)
    space, architecture, settings = config.cell_space, config.architecture, config.settings
    dataset = load_dataset(config.dataset, config.data_root)
    size = evaluation_size(space, architecture, settings, dataset, config.budget)
    macs(space, architecture, size)  # of an architecture that does not fit the size there are none
    check_training(space, settings, dataset, cells=size.cells, flag="--")
    _run_alone(TrainingTrial(run=run.name, config=config, origin=Origin(method=method)), run)


def _run_alone(trial: SearchTrial | TrainingTrial, run: Storage) -> None:
    run.check_writable()
    run = replace(run, patience=PATIENCE)
    with lease(run, run.name):
        check_new(run)
        # Gone on with on another kind of device, it would come to something else.
        config = trial.config
        kind: DeviceKind = "cuda" if pick_device(config.settings.device).type == "cuda" else "cpu"
        settled = replace(config, settings=replace(config.settings, device=kind))  # type: ignore[arg-type]
        trial = replace(trial, config=settled)  # type: ignore[arg-type]
        _record(trial, run)
        reopen_without_rows(run)
        _run(trial, run)


def _record(trial: SearchTrial | TrainingTrial, run: Storage) -> None:
    """Write what runs there, or see that it is what is to go on."""
    what = "search" if isinstance(trial, SearchTrial) else "training"
    dataset = load_dataset(trial.config.dataset, trial.config.data_root)
    if not run.exists("run.json"):
        run.write_json(
            "run.json",
            {
                what: trial.config.to_dict(),
                **({} if isinstance(trial, SearchTrial) else {"method": trial.method}),
                "identity": identity(trial.config),
                "data": {"input_shape": list(dataset.input_shape), "classes": dataset.classes},
                **command_of(trial),
                "versions": versions(),
                "host": host(),
                "started": datetime.now(UTC).isoformat(),
            },
        )
        return
    begun = run.read_json("run.json")
    theirs = begun.get("identity")
    if what not in begun or not isinstance(theirs, dict):
        raise InvalidInput(f"{run} holds no {what}. Give another --out.")
    differing = differing_in(identity(trial.config), theirs)
    if differing:
        raise InvalidInput(
            f"{run} holds another {what}, which differs in {', '.join(differing)}. Give another --out, or the "
            f"same {what}."
        )


def command_of(trial: SearchTrial | TrainingTrial) -> dict[str, Any]:
    """The command that repeats a search or a training, as run.json has it: ``command``, a list of words, or None with
    ``why_no_command``."""
    config = trial.config
    named = [config.space, config.dataset, *([config.method] if isinstance(config, SearchConfig) else [])]
    if registry.values_of(named):
        return {"command": None, "why_no_command": "it was made of values of Python: repeat it from there"}
    values = {**changes(config.settings), "seed": config.seed, "data_root": config.data_root, "budget": config.budget}
    if isinstance(config, SearchConfig):
        words = ["nasray", "search", config.method, config.space, config.dataset]
        evaluated = (one.name for one in fields(config) if one.name.startswith("evaluation_"))
        values |= {name: getattr(config, name) for name in evaluated}
    elif trial.method != GIVEN:
        return {"command": None, "why_no_command": f"nasray.train trained a row that {trial.method} found"}
    else:
        words = ["nasray", "train", config.space, config.architecture.to_json(), config.dataset]
    values = {name: value for name, value in values.items() if value is not None or name in changes(config.settings)}
    return {"command": [*words, *(word for name, value in values.items() for word in as_words(name, value))]}


def _run(trial: SearchTrial | TrainingTrial, run: Storage) -> None:
    running = RunningTrial(trial, run, partial(say, run=run.name, trial=trial.name))
    if running.outcome.is_open:
        running.begin()
    report: Report = {DONE: not running.outcome.is_open}
    while not report[DONE]:
        check_lease(run)
        report = running.run_epoch()
        if isinstance(trial, SearchTrial):
            figures = f"supernet accuracy {report['supernet_accuracy']:.4f}, {report['macs']:.4g} M macs"
        else:
            figures = f"loss {report['loss']:.4f}, accuracy {report['accuracy']:.4f}"
        # A search may end before.
        left = report["seconds"] * (trial.config.settings.epochs - report[EPOCH]) * (not report[DONE])
        about = f", about {left:.0f} s left" if left >= 1 else ""
        note(f"epoch {report[EPOCH]} of {trial.config.settings.epochs}: {figures}, {report['seconds']:.1f} s{about}")
    drop_final_checkpoints(run)
    for table in TABLES.values():
        compact(run, table)
