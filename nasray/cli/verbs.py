"""The command line: each verb takes what was typed, calls what does the work, and prints what came out."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nasray import registry
from nasray.cli.architectures import cost, draw, export
from nasray.cli.arguments import leading, parse, positional, taken, value_of
from nasray.cli.found import RUNS, find_architecture, find_run
from nasray.cli.reporting import report
from nasray.errors import (
    DamagedFilesWarning,
    InvalidInput,
    printable,
)
from nasray.settings import TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

    from nasray.spaces import CellSpace


def _sweep(arguments: list[str]) -> int:
    """SWEEP [--name RUN] [--storage DIR] [--preset PRESET] [--FIELD VALUE ...]: run or resume a sweep"""
    from nasray.cli.sweep_options import typed_sweep
    from nasray.sweeps import Sweep
    from nasray.sweeps.changes import with_execution, with_method
    from nasray.sweeps.run import run_sweep

    (name,), rest = positional(arguments, "SWEEP", example="nasray sweep digits")
    sweep: Sweep = registry.find("sweep", name, Sweep)
    preset, rest = taken(rest, "--preset")
    if preset is not None:
        if preset not in sweep.presets:
            instead = (
                f"expected one of {', '.join(sweep.presets)}" if sweep.presets else "it has none. Leave --preset out"
            )
            raise InvalidInput(f"preset {preset!r} of sweep {name}: {instead}")
        sweep = sweep.presets[preset]
    if (method := value_of(rest, "method")) is not None:
        sweep = with_method(sweep, method)
    if value_of(rest, "storage") is None and sweep.execution.storage == RUNS:
        sweep = with_execution(sweep, storage=str(Path(RUNS).absolute()))
    return _print_outcome(run_sweep(typed_sweep(sweep, rest, f"nasray sweep {name}")))


def _search(arguments: list[str]) -> int:
    """METHOD SPACE DATASET [--FIELD VALUE ...] [--out DIR]: one search without Ray, into the same tables"""
    from nasray.sweeps.single import search
    from nasray.trials.search_config import find_method

    (method, space, dataset), rest = positional(
        arguments, "METHOD", "SPACE", "DATASET", example="nasray search gold_nas gold digits"
    )
    default = _SingleSearch(settings=find_method(method).Config(), out=_out(method, space, dataset))
    typed = parse(_SingleSearch, rest, f"nasray search {method} {space} {dataset}", default=default)
    others = {name: value for name, value in vars(typed).items() if name != "settings"}
    front = search(method, space, dataset, **others, **typed.settings.to_dict()).front()
    _print_front(front, ["macs", "params", "accuracy", "gap", "epoch", "architecture_id"])
    print(f"{len(front)} of its candidates are on the front; the tables are in {typed.out}")
    return 0


def _train(arguments: list[str]) -> int:
    """SPACE ARCHITECTURE DATASET [--FIELD VALUE ...] [--out DIR]: train one architecture from scratch, without Ray"""
    from nasray.spaces import CellSpace
    from nasray.sweeps.single import train
    from nasray.trials.evaluation import EvaluationSettings

    example = "nasray train darts DARTS_V2 cifar10"
    (name, text, dataset), rest = positional(arguments, "SPACE", "ARCHITECTURE", "DATASET", example=example)
    space: CellSpace = registry.find("space", name, CellSpace)
    storage = value_of(rest, "storage")
    architecture = find_architecture(space, text, RUNS if storage is None else storage)
    called = text if text in space.references else architecture.id
    default = _SingleTraining(settings=EvaluationSettings(), out=_out("train", name, called, dataset))
    typed = parse(_SingleTraining, rest, f"nasray train {name} {called} {dataset}", default=default)
    others = {one: value for one, value in vars(typed).items() if one not in ("settings", "storage")}
    run = train(architecture, name, dataset, **others, **typed.settings.to_dict())
    _print_front(run.evaluations, ["macs", "params", "accuracy", "test_accuracy", "epochs", "architecture_id"])
    print(f"tables and trained weights: {typed.out}")
    return 0


def _out(*names: str) -> str:
    """The folder of a single search or training."""
    return f"{RUNS}/{'-'.join(map(registry.portable, names))}".replace(":", "-")


@dataclass(frozen=True, kw_only=True)
class _SingleSearch:
    """What a single search takes besides method, space and dataset."""

    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")]
    seed: int = 0
    out: str
    """Folder of the run, or its URI."""
    evaluation_channels: int | None = None
    """Channels of the networks whose cost counts; None means the space's own number."""
    evaluation_cells: int | None = None
    """Cells of those networks; None means the space's own number."""
    evaluation_skeleton: str | None = None
    """What surrounds the cells of those networks, cifar or imagenet; None is as in the search."""
    evaluation_width_budget: float | None = None
    """Multiply-adds (M): each of those networks is as wide as this allows; None is evaluation_channels for all."""
    data_root: str | None = None
    """Folder of the dataset; None is the environment's NASRAY_DATA."""
    quiet: bool = False
    """Print nothing but the result and errors."""


@dataclass(frozen=True, kw_only=True)
class _SingleTraining:
    """What a single training takes besides space, architecture and dataset."""

    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")]
    seed: int = 0
    budget: float | None = None
    """Largest multiply-adds (M): a network that exceeds it is made narrower; None is any number."""
    out: str
    """Folder of the run, or its URI."""
    data_root: str | None = None
    """Folder of the dataset; None is the environment's NASRAY_DATA."""
    quiet: bool = False
    """Print nothing but the result and errors."""
    storage: str = RUNS
    """Where to look for the ids of architectures."""


def _retrain(arguments: list[str]) -> int:
    """RUN [--FIELD VALUE ...]: train the front's architectures from scratch, as trials"""
    from nasray.sweeps.run import read_run, retrain
    from nasray.trials.evaluation import EvaluationSettings

    (run,), rest = positional(arguments, "RUN", example="nasray retrain runs/digits --epochs 100")
    storage = find_run(run)
    sweep, _ = read_run(storage)

    @dataclass(frozen=True, kw_only=True)
    class Retraining:
        settings: Annotated[EvaluationSettings, tyro.conf.arg(name="")]
        address: str | None
        """Address of a running Ray cluster; None means RAY_ADDRESS, or a Ray of its own on this machine."""
        data_root: str | None
        """Folder of the dataset; None means the environment's NASRAY_DATA."""
        cpus_per_trial: float
        """CPU cores that each training reserves."""
        gpus_per_trial: float | Literal["auto"]
        """GPUs that each training reserves; auto measures it."""
        quiet: bool
        """Print nothing but the result and errors."""

    names = ("address", "data_root", "cpus_per_trial", "gpus_per_trial", "quiet")
    default = Retraining(settings=sweep.training.settings, **{name: getattr(sweep.execution, name) for name in names})
    typed = parse(Retraining, rest, f"nasray retrain {run}", default=default)
    return _print_outcome(retrain(storage, typed.settings.to_dict(), **{name: getattr(typed, name) for name in names}))


def _resume(arguments: list[str]) -> int:
    """RUN [--FIELD VALUE ...]: go on with a sweep, a search or a training where it was left"""
    from nasray.sweeps.resuming import resume_storage

    @dataclass(frozen=True, kw_only=True)
    class Resuming:
        address: str | None = None
        """Address of a running Ray cluster; None is as the run has it."""
        data_root: str | None = None
        """Folder of the dataset; None is as the run has it."""
        cpus_per_trial: float | None = None
        """CPU cores that each trial reserves; None is as the run has it."""
        gpus_per_trial: float | Literal["auto"] | None = None
        """GPUs that each trial reserves; auto measures it, None is as the run has it."""
        quiet: bool | None = None
        """Print nothing but the result and errors; None is as the run has it."""

    (run,), rest = positional(arguments, "RUN", example="nasray resume runs/digits")
    storage = find_run(run)
    typed = parse(Resuming, rest, f"nasray resume {run}", default=Resuming())
    outcome = resume_storage(storage, {name: value for name, value in vars(typed).items() if value is not None})
    if outcome is not None:
        return _print_outcome(outcome)
    print(f"{storage} is finished: nasray front {run} shows it")
    return 0


def _runs(arguments: list[str]) -> int:
    """[DIR]: the runs in a folder, with their state, progress and front"""
    from nasray.cli.listing import lines_of_runs

    given, rest = leading(arguments)
    if len(given) > 1:
        raise InvalidInput(f"runs {' '.join(given)}: expected one folder, as in nasray runs {RUNS}")
    parse(_Nothing, rest, "nasray runs", default=_Nothing())
    for line in lines_of_runs(given[0] if given else RUNS):
        print(line)
    return 0


def _front(arguments: list[str]) -> int:
    """RUN [RUN ...] [--budget M] [--cost NAME] [--plot FILE] [--repeats runs] [--references NAME ...]: their front"""
    from nasray.cli.comparison import FrontOptions, lines

    runs, rest = leading(arguments)
    if not runs:
        raise InvalidInput("RUN missing: expected folders of runs, as in nasray front runs/digits")
    typed = parse(FrontOptions, rest, "nasray front", default=FrontOptions())
    with _damage_in_a_line() as damaged:
        for line in lines({run: find_run(run) for run in runs}, typed):
            print(line)
    return 1 if damaged else 0


def _list(arguments: list[str]) -> int:
    """[KIND]: spaces, methods with their knobs, datasets, sweeps, published architectures"""
    from nasray.cli.listing import KINDS, lines

    kinds, rest = leading(arguments)
    parse(_Nothing, rest, "nasray list", default=_Nothing())
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise InvalidInput(f"list {unknown[0]!r}: expected one of {', '.join(KINDS)}")
    for line in lines(kinds or list(KINDS)):
        print(line)
    return 0


@dataclass(frozen=True)
class _Nothing:
    """Takes no fields."""


VERBS: dict[str, Callable[[list[str]], int]] = {
    "sweep": _sweep,
    "search": _search,
    "train": _train,
    "retrain": _retrain,
    "resume": _resume,
    "runs": _runs,
    "front": _front,
    "report": report,
    "cost": cost,
    "draw": draw,
    "export": export,
    "list": _list,
}


@contextlib.contextmanager
def _damage_in_a_line() -> Iterator[list[str]]:
    """Say of each damaged file once that it was left out, in our own form; gives what was said."""
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", DamagedFilesWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if not issubclass(category, DamagedFilesWarning):
                others(message, category, *rest, **named)
            elif str(message) not in told:
                told.append(str(message))
                print(f"nasray: {message}", file=sys.stderr)

        warnings.showwarning = show
        yield told


def _print_front(front: pd.DataFrame, columns: list[str]) -> None:
    from nasray.cli.comparison import front_table

    print(front_table(front, columns))


def _print_outcome(outcome: Any) -> int:
    from nasray.cli.comparison import columns_of, hypervolume_line
    from nasray.runs.schema import metric_of

    metric = metric_of(outcome.front)
    _print_front(outcome.front, [*columns_of(metric), "architecture_id", "method"])
    print(hypervolume_line(outcome.hypervolume, outcome.reference, metric))
    if len(outcome.hypervolumes) > 1:
        each = ", ".join(f"{name} {volume:.6g}" for name, volume in outcome.hypervolumes.items())
        print(printable(f"  of each method: {each}"))
    drawn = "tables, front.parquet and front.png" if len(outcome.front) else "tables and front.parquet"
    print(f"{drawn}: {outcome.folder}")
    for failure in outcome.failures:
        print(f"nasray: {printable(textwrap.shorten(failure, 400))}", file=sys.stderr)
    return 1 if outcome.failures else 0
