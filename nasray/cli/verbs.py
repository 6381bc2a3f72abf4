"""The command line: each verb takes what was typed, calls what does the work, and prints what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nasray import registry
from nasray.cli.arguments import leading, parse, positional, taken, value_of
from nasray.cli.signals import ends_on_signals
from nasray.errors import (
    ClusterLost,
    DamagedFilesWarning,
    InvalidInput,
    LeaseLost,
    NonFiniteLoss,
    StorageFailure,
    printable,
)
from nasray.settings import TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

    from nasray.runs import Storage
    from nasray.spaces import Architecture, CellSpace

RUNS = "runs"
"""Folder of the runs, where none is given."""
TRACEBACK = "NASRAY_TRACEBACK"
"""In the environment: whether a failure of a user's own code is shown with all that led to it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code.

    0; 1 if something failed on the way, 2 if it could not be understood, 130 if Ctrl-C and 143 if SIGTERM ended it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except (ClusterLost, InvalidInput, LeaseLost, NonFiniteLoss, StorageFailure) as error:
        if os.environ.get(TRACEBACK) and isinstance(error.__cause__, Exception):
            raise error.__cause__  # noqa: B904 - what a user's own code raised, as it was raised
        print(f"nasray: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInput) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `nasray list | head`
        _close_output()
        return 1
    except Exception as error:
        said = registry.own_failure(error)
        if said is None and isinstance(error, OSError):
            said = f"{error.strerror or error}{'' if error.filename is None else f': {error.filename}'}"
        if said is None or os.environ.get(TRACEBACK):  # a fault of ours
            raise
        if isinstance(error, OSError):
            _close_output()  # it may be what is full
        print(f"nasray: {said}", file=sys.stderr)
        return 1


def _close_output() -> None:
    """So that Python's last flush cannot fail again."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _run(arguments: list[str]) -> int:
    _absolute_environment()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    verb = _VERBS.get(arguments[0])
    if verb is None:
        close = difflib.get_close_matches(arguments[0], _VERBS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInput(f"unknown command {arguments[0]!r}: {hint}accepted are {', '.join(_VERBS)}")
    if arguments[1:] in (["-h"], ["--help"]):
        print(_usage_of(arguments[0]))
        return 0
    with ends_on_signals() if arguments[0] in _RESUMABLE else contextlib.nullcontext():
        return verb(arguments[1:])


def _absolute_environment() -> None:
    """A relative folder in the environment means this process's folder, in workers too."""
    if "NASRAY_DATA" in os.environ:
        os.environ["NASRAY_DATA"] = registry.absolute_path(os.environ["NASRAY_DATA"]) or ""


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
            instead = f"accepted are {', '.join(sweep.presets)}" if sweep.presets else "it has no presets"
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
    storage = _find_run(run)
    sweep, _ = read_run(storage)
    typed = parse(EvaluationSettings, rest, f"nasray retrain {run}", default=sweep.training.settings)
    return _print_outcome(retrain(storage, typed.to_dict()))


def _front(arguments: list[str]) -> int:
    """RUN [RUN ...] [--budget M] [--plot FILE] [--repeats runs] [--references NAME ...]: the front across runs"""
    from nasray.cli.comparison import FrontOptions, lines

    runs, rest = leading(arguments)
    if not runs:
        raise InvalidInput("RUN missing: accepted are folders of runs, as in nasray front runs/digits")
    typed = parse(FrontOptions, rest, "nasray front", default=FrontOptions())
    with _damage_in_a_line() as damaged:
        for line in lines({run: _find_run(run) for run in runs}, typed):
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
    architecture = _find_architecture(space, text, typed.storage)
    size = NetworkSize(
        channels=space.evaluation_channels if typed.channels is None else typed.channels,
        cells=(len(architecture.cells) if space.cell_per_position else space.evaluation_cells)
        if typed.cells is None
        else typed.cells,
        input_shape=_shape(typed.input),
        classes=typed.classes,
        skeleton=typed.skeleton,
    )
    cost = {"params": params(space, architecture, size), "macs": macs(space, architecture, size)}
    measured = None
    if typed.latency_batch is None and (typed.latency_threads is not None or typed.latency_device != "auto"):
        raise InvalidInput("latency without a batch: accepted is --latency-batch 1, or none of the latency's fields")
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
    print(f"{_millions(cost['params'], 4)} parameters, {_millions(cost['macs'], 2)} multiply-adds")
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
        raise InvalidInput(f"--out missing: accepted is a .png, .svg or .pdf file, as in {example}")
    space: CellSpace = registry.find("space", name, CellSpace)
    architecture = _find_architecture(space, text, typed.storage)
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
        raise InvalidInput(f"list {unknown[0]!r}: accepted are {', '.join(KINDS)}")
    for line in lines(kinds or list(KINDS)):
        print(line)
    return 0


@dataclass(frozen=True)
class _Nothing:
    """Takes no fields."""


_VERBS: dict[str, Callable[[list[str]], int]] = {
    "sweep": _sweep,
    "search": _search,
    "retrain": _retrain,
    "front": _front,
    "cost": _cost,
    "draw": _draw,
    "list": _list,
}


_RESUMABLE = ("sweep", "search", "retrain")
"""Verbs that resume where they ended."""


def _usage() -> str:
    lines = [f"  nasray {name} {(verb.__doc__ or '').strip()}" for name, verb in _VERBS.items()]
    head = "nasray searches neural architectures, and gives a Pareto front of accuracy against multiply-adds.\n"
    return "\n".join([head, *lines, "", "Give the names and --help to list the fields: nasray sweep digits --help."])


def _usage_of(verb: str) -> str:
    usage = (_VERBS[verb].__doc__ or "").strip()
    hint = "Give the names and --help to list the fields, as in nasray sweep digits --help."
    return f"usage: nasray {verb} {usage}\n\n{hint}"


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


def _find_run(run: str) -> Storage:
    from nasray.runs import open_storage

    for place in (run, f"{RUNS}/{run}"):
        storage = open_storage(place)
        if storage.exists("run.json"):
            return storage
    raise InvalidInput(f"run {run!r}: accepted is a run's folder or URI, or the name of one in {RUNS}/")


def _find_architecture(space: CellSpace, text: str, storage: str) -> Architecture:
    from nasray.spaces import from_genotype, from_string, has_strings, parse_architecture, string_form

    if text in space.references:
        return from_genotype(space, space.references[text].genotype)
    if text.lstrip().startswith("{"):
        return parse_architecture(space, text)
    if text.lstrip().startswith("|"):
        return from_string(space, text)
    is_id = re.fullmatch(r"[0-9a-f]{12}", text) is not None
    ids = sorted(Path(storage).glob(f"*/architectures/{text}.json")) if is_id else []
    for path in [Path(text), *ids] if "\0" not in text else []:
        with contextlib.suppress(OSError):  # a name that is too long for one, or a file that may not be read
            if path.is_file() and path.stat().st_size <= 4_000_000:
                try:
                    return parse_architecture(space, path.read_text(encoding="utf-8"))
                except UnicodeDecodeError:
                    raise InvalidInput(f"{path} is not text: accepted is an architecture as JSON") from None
    known = [*space.references, *([string_form(space)] if has_strings(space) else [])]
    raise InvalidInput(
        f"architecture {text!r:.80}: accepted are {', '.join(known) or 'none published'}, a JSON file, JSON, or the id "
        f"of one in a run below {storage}/"
    )


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InvalidInput(f"input {text!r}: accepted are numbers from 1 up with x between them, as in 3x32x32")
    return tuple(map(int, parts))


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
    print(f"tables, front.parquet and front.png: {outcome.folder}")
    for failure in outcome.failures:
        print(f"nasray: {printable(textwrap.shorten(failure, 400))}", file=sys.stderr)
    return 1 if outcome.failures else 0
