"""The command line: each verb takes what was typed, calls what does the work, and prints what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nasray import registry
from nasray.cli.arguments import leading, parse, positional, taken, value_of
from nasray.cli.found import RUNS, find_architecture, find_run, shape_of
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
    from nasray.fronts import pareto_front
    from nasray.runs import CANDIDATES, open_storage, read, write_front
    from nasray.trials.search_config import SearchConfig, find_method
    from nasray.trials.single import run_search

    (method, space, dataset), rest = positional(
        arguments, "METHOD", "SPACE", "DATASET", example="nasray search gold_nas gold digits"
    )

    default = _SingleSearch(
        settings=find_method(method).Config(),
        out=f"{RUNS}/{'-'.join(map(registry.portable, (method, space, dataset)))}".replace(":", "-"),
    )
    typed = parse(_SingleSearch, rest, f"nasray search {method} {space} {dataset}", default=default)
    config = SearchConfig(
        method=method,
        space=space,
        dataset=dataset,
        **{name: getattr(typed, name) for name in vars(typed) if name != "out"},
    )
    run = open_storage(typed.out)
    run_search(config, run)
    front = pareto_front(read(run, CANDIDATES))
    write_front(run, front)
    _print_front(front, ["macs", "params", "accuracy", "gap", "epoch", "architecture_id"])
    print(f"{len(front)} of its candidates are on the front; the tables are in {typed.out}")
    return 0


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

    names = ("address", "data_root", "cpus_per_trial", "gpus_per_trial")
    default = Retraining(settings=sweep.training.settings, **{name: getattr(sweep.execution, name) for name in names})
    typed = parse(Retraining, rest, f"nasray retrain {run}", default=default)
    return _print_outcome(retrain(storage, typed.settings.to_dict(), **{name: getattr(typed, name) for name in names}))


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


def _cost(arguments: list[str]) -> int:
    """SPACE ARCHITECTURE [--channels C] [--cells N] [--input CxHxW] [--classes K] [--latency-batch B] [--json]: cost"""
    from nasray.costs import architecture_latency, macs, params
    from nasray.spaces import CellSpace, NetworkSize
    from nasray.training.measure import pick_device

    @dataclass(frozen=True, kw_only=True)
    class Cost:
        channels: int | None = None
        """Channels of the first cell; None means the space's own number."""
        cells: int | None = None
        """None is the space's own number."""
        input: str = "3x32x32"
        """Shape of one input: channels x height x width."""
        classes: int = 10
        skeleton: str = "cifar"
        """What surrounds the cells."""
        storage: str = RUNS
        """Where to look for the ids of architectures."""
        latency_batch: int | None = None
        """Examples at once at which the latency is measured too; None measures none."""
        latency_threads: int | None = None
        """Number of processor threads; None means as many as torch uses."""
        latency_device: str = "auto"
        """auto is the GPU where there is one, else the processor."""
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Print it as JSON."""

    (name, text), rest = positional(arguments, "SPACE", "ARCHITECTURE", example="nasray cost darts DARTS_V2")
    typed = parse(Cost, rest, f"nasray cost {name} {text}", default=Cost())
    space: CellSpace = registry.find("space", name, CellSpace)
    architecture = find_architecture(space, text, typed.storage)
    size = NetworkSize(
        channels=space.evaluation_channels if typed.channels is None else typed.channels,
        cells=(len(architecture.cells) if space.cell_per_position else space.evaluation_cells)
        if typed.cells is None
        else typed.cells,
        input_shape=shape_of(typed.input),
        classes=typed.classes,
        skeleton=typed.skeleton,
    )
    cost = {"params": params(space, architecture, size), "macs": macs(space, architecture, size)}
    measured = None
    if typed.latency_batch is None and (typed.latency_threads is not None or typed.latency_device != "auto"):
        raise InvalidInput("latency without a batch: expected --latency-batch 1, or none of the latency's fields")
    if typed.latency_batch is not None:
        measured = architecture_latency(
            space,
            architecture,
            size,
            batch=typed.latency_batch,
            threads=typed.latency_threads,
            device=pick_device(typed.latency_device),
        )
    if typed.json:
        latency = {} if measured is None else {"latency": dataclasses.asdict(measured)}
        print(json.dumps({"architecture_id": architecture.id, **cost, **dataclasses.asdict(size), **latency}))
        return 0
    print(
        f"{_millions(cost['params'], 4)} parameters, {_millions(cost['macs'], 2)} multiply-adds "
        f"({size.channels} channels, {size.cells} cells, input {typed.input}, {size.classes} classes)"
    )
    if measured is not None:
        print(
            f"latency {measured.median_ms:.4g} ms, quartiles {measured.low_ms:.4g} and {measured.high_ms:.4g} ms: "
            f"{measured.repeats} runs, batch {measured.batch}, {measured.threads} thread"
            f"{'' if measured.threads == 1 else 's'}, {measured.device}"
        )
    return 0


def _draw(arguments: list[str]) -> int:
    """SPACE ARCHITECTURE --out FILE: the cells as a picture"""
    from nasray.pictures import draw_cells
    from nasray.spaces import CellSpace

    @dataclass(frozen=True, kw_only=True)
    class Draw:
        out: str | None = None
        """File to write: .png, .svg or .pdf."""
        storage: str = RUNS
        """Where to look for the ids of architectures."""

    example = "nasray draw darts DARTS_V2 --out cells.png"
    (name, text), rest = positional(arguments, "SPACE", "ARCHITECTURE", example=example)
    typed = parse(Draw, rest, f"nasray draw {name} {text}", default=Draw())
    if typed.out is None:
        raise InvalidInput(f"--out missing: expected a .png, .svg or .pdf file, as in {example}")
    space: CellSpace = registry.find("space", name, CellSpace)
    architecture = find_architecture(space, text, typed.storage)
    called = text if text in space.references else f"architecture {architecture.id}"
    draw_cells(space, architecture, typed.out, title=f"{called} ({space.name})")
    print(f"{len(architecture.cells)} cells of {called}: {typed.out}")
    return 0


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
    "retrain": _retrain,
    "front": _front,
    "cost": _cost,
    "draw": _draw,
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


def _millions(value: float, digits: int) -> str:
    return f"{value:.{digits}f} M" if value >= 1 else f"{value:.{digits + 2}f} M"


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
