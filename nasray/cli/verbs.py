"""The verbs that run something, or show runs: each calls what does the work with what was typed, and prints."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nasray import registry
from nasray.cli.found import RUNS, find_architecture, find_run
from nasray.cli.option import Option, Says, options_of_fields
from nasray.errors import DamagedFilesWarning, InvalidInput, printable

if TYPE_CHECKING:
    import pandas as pd

Run = Annotated[str, Says(help="Folder or URI of a run, or the name of one in runs/.", word="RUN")]
SpaceWord = Annotated[str, Says(help="A search space (nasray list spaces), or FILE.py:NAME.", word="SPACE")]
DatasetWord = Annotated[
    str, Says(help="A dataset (nasray list datasets), folder:PATH, or FILE.py:NAME.", word="DATASET")
]
Out = Annotated[
    str | None, Says(help="Folder of the run, or its URI.", group="where", shown_default="one in runs/", unit="DIR")
]
DataRoot = Annotated[
    str | None,
    Says(help="Folder of the dataset.", group="where", shown_default="the environment's NASRAY_DATA", unit="DIR"),
]
Code = Annotated[
    tuple[str, ...],
    Says(help="Files of your own code that the run is of, where they have moved.", group="where", unit="FILE"),
]
Quiet = Annotated[bool, Says(help="Print nothing but the result and errors.", group="where")]
_ADDRESS = Says(help="Address of a running Ray cluster.", group="execution", shown_default="as the run has it")
_CPUS = Says(help="CPU cores that each trial reserves.", group="execution", shown_default="as the run has it")
_GPUS = Says(
    help="GPUs that each trial reserves; auto measures it.", group="execution", shown_default="as the run has it"
)
Address = Annotated[str | None, _ADDRESS]
CPUs = Annotated[float | None, _CPUS]
GPUs = Annotated[float | Literal["auto"] | None, _GPUS]


def sweep(
    sweep: Annotated[str, Says(help="A sweep (nasray list sweeps), or FILE.py:NAME.", word="SWEEP")],
    *,
    preset: Annotated[str | None, Says(help="The same sweep in another size.", group="run", unit="NAME")] = None,
    method: Annotated[str | None, Says(help="Run this method or searcher alone.", group="run", unit="NAME")] = None,
    space: Annotated[str | None, Says(help="Search this space in every arm.", group="run", unit="NAME")] = None,
    draws: Annotated[int | None, Says(help="Number of values of the ranges that are varied.", group="run")] = None,
    searcher: Annotated[
        str | None,
        Says(
            help="Who chooses them: latin, or a searcher (nasray list searchers).",
            group="run",
            unit="NAME",
            shown_default="latin",
        ),
    ] = None,
    image_size: Annotated[
        str | None, Says(help="Resize images of folder: and torchvision: to it.", group="run", unit="HxW")
    ] = None,
    minutes: Annotated[
        float | None, Says(help="Fit sizes and epochs into this time (sweep images).", group="run", unit="MINUTES")
    ] = None,
    dry_run: Annotated[
        bool, Says(help="Print trials, epochs, time, memory and costs, and start nothing.", group="run")
    ] = False,
    **options: Any,
) -> int:
    """Run a sweep, or resume it where the run exists."""
    from nasray.sweeps.changes import with_execution
    from nasray.sweeps.command import Source
    from nasray.sweeps.fitting import find_sweep
    from nasray.sweeps.forecast import forecast, lines
    from nasray.sweeps.made import sweep_of
    from nasray.sweeps.run import check_run, run_sweep

    given = {"preset": preset, "method": method, "space": space, "draws": draws, "searcher": searcher, **options}
    chosen = sweep_of(find_sweep(sweep), {**given, "image_size": image_size, "minutes": minutes})
    if dry_run:
        learnt = check_run(chosen)
        for line in [*lines(chosen, forecast(chosen)), *learnt]:
            print(line)
        return 0
    if "storage" not in options and chosen.execution.storage == RUNS:
        chosen = with_execution(chosen, storage=str(Path(RUNS).absolute()))
    return _print_outcome(run_sweep(chosen, source=Source(name=sweep, options=given)))


def more_of_sweep(own: Sequence[Option], name: str | None, **chosen: Any) -> list[Option]:
    """All options of a sweep."""
    from nasray.cli.sweep_options import by_rules, options_of_sweep, selected

    options = options_of_sweep(None if name is None else selected(name, **chosen), own)
    return options if name is None else by_rules(name, options)


def search(
    method: Annotated[str, Says(help="A method (nasray list methods), or FILE.py:NAME.", word="METHOD")],
    space: SpaceWord,
    dataset: DatasetWord,
    *,
    seed: Annotated[int, Says(help="Of all that is drawn at random.", group="search")] = 0,
    out: Out = None,
    data_root: DataRoot = None,
    evaluation_channels: Annotated[
        int | None,
        Says(
            help="Channels of the first cell.",
            group="networks whose multiply-adds count",
            shown_default="the space's own number",
        ),
    ] = None,
    evaluation_cells: Annotated[
        int | None,
        Says(help="Cells.", group="networks whose multiply-adds count", shown_default="the space's own number"),
    ] = None,
    evaluation_skeleton: Annotated[
        str | None,
        Says(
            help="Stem and classifier around the cells: cifar or imagenet.",
            group="networks whose multiply-adds count",
            shown_default="as in the search",
        ),
    ] = None,
    evaluation_width_budget: Annotated[
        float | None,
        Says(
            help="Each is as wide as this many multiply-adds (M) allow.",
            group="networks whose multiply-adds count",
            unit="M",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        Says(help="Most multiply-adds (M): methods that can aim at it do.", group="search", unit="M"),
    ] = None,
    quiet: Quiet = False,
    **settings: Any,
) -> int:
    """One search without Ray, into the same tables."""
    from nasray.sweeps.single import search

    sizes = {"channels": evaluation_channels, "cells": evaluation_cells, "skeleton": evaluation_skeleton}
    sizes = {f"evaluation_{name}": value for name, value in sizes.items()}
    where = _out(method, space, dataset) if out is None else out
    run = search(
        method,
        space,
        dataset,
        out=where,
        seed=seed,
        budget=budget,
        data_root=data_root,
        quiet=quiet,
        evaluation_width_budget=evaluation_width_budget,
        **sizes,
        **settings,
    )
    front = run.front()
    _print_front(front, ["macs", "params", "accuracy", "gap", "epoch", "architecture_id"])
    print(f"{len(front)} of its candidates are on the front; the tables are in {where}")
    return 0


def more_of_search(own: Sequence[Option], method: str | None) -> list[Option]:
    """The settings of a method, before the other options."""
    if method is None:
        return [*own]  # those of no method in particular
    from nasray.trials.search_config import find_method

    config = find_method(method).Config
    taken = {one.name for one in own}  # the search's own come before a method's of the same name
    settings = options_of_fields(config(), group="settings of the search", without=taken, rare=True)
    words = [one for one in own if one.word]
    return [*words, *_knobs_first(settings, config.knobs()), *(one for one in own if not one.word)]


_OFTEN = ("epochs", "batch_size", "learning_rate", "channels", "cells", "train_examples", "augmentation", "device")


def _knobs_first(settings: Sequence[Option], knobs: Any) -> Iterator[Option]:
    from dataclasses import replace

    yield from (replace(one, rare=False, group="knobs of the method") for one in settings if one.name in knobs)
    yield from (replace(one, rare=one.name not in _OFTEN) for one in settings if one.name not in knobs)


def train(
    space: SpaceWord,
    architecture: Annotated[
        str,
        Says(help="A published one by its name, JSON, a genotype, a file of one, or an id.", word="ARCHITECTURE"),
    ],
    dataset: DatasetWord,
    *,
    seed: Annotated[int, Says(help="Of all that is drawn at random.", group="training")] = 0,
    budget: Annotated[
        float | None,
        Says(help="Most multiply-adds (M): a network that exceeds it is made narrower.", group="training", unit="M"),
    ] = None,
    population: Annotated[
        int | None,
        Says(
            help="Train N beside each other under Ray; the worst become copies of the best on the way.",
            group="population",
            unit="N",
        ),
    ] = None,
    perturbation_interval: Annotated[
        int | None,
        Says(
            help="Epochs between comparisons.",
            group="population",
            shown_default="a tenth of the training",
        ),
    ] = None,
    address: Annotated[
        str | None,
        Says(help="Address of a running Ray cluster.", group="population", shown_default="a Ray of its own", rare=True),
    ] = None,
    cpus_per_trial: Annotated[
        float | None,
        Says(help="CPU cores that each member reserves.", group="population", shown_default="1", rare=True),
    ] = None,
    gpus_per_trial: Annotated[
        float | Literal["auto"] | None,
        Says(help="GPUs that each member reserves; auto measures it.", group="population", shown_default="0"),
    ] = None,
    out: Out = None,
    data_root: DataRoot = None,
    storage: Annotated[
        str, Says(help="Folder of the runs in which an id is looked for.", group="where", unit="DIR")
    ] = RUNS,
    quiet: Quiet = False,
    **settings: Any,
) -> int:
    """Train one architecture from scratch, without Ray, or as a population under Ray Tune."""
    from nasray.spaces import CellSpace
    from nasray.sweeps.single import train

    found: CellSpace = registry.find("space", space, CellSpace)
    chosen = find_architecture(found, architecture, storage)
    called = architecture if architecture in found.references else chosen.id
    names = ("train", space, called, dataset, *([] if population is None else ["population", str(population)]))
    where = _out(*names) if out is None else out
    given: dict[str, Any] = {"seed": seed, "budget": budget, "data_root": data_root, "quiet": quiet}
    given |= {"population": population, "perturbation_interval": perturbation_interval, "address": address}
    given |= {"cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    run = train(chosen, space, dataset, out=where, **given, **settings)
    return _print_trained(run, where)


def _print_trained(run: Any, where: str) -> int:
    """What a training came to; of a population its best member, and the settings that led there."""
    from nasray.results.schedule import in_words

    rows = run.evaluations
    _print_front(rows, ["macs", "params", "accuracy", "test_accuracy", "epochs", "architecture_id"])
    for line in in_words(run.schedule()) if rows["member"].notna().any() else ():
        print(printable(line))
    print(f"tables and trained weights: {where}")
    values = run.storage.read_json("run.json")
    return 1 if "population" in values and "ended" not in values else 0


def more_of_training(own: Sequence[Option], _: str | None) -> list[Option]:
    """The settings of a training, before the other options; of a population some may vary."""
    from dataclasses import replace

    from nasray.trials.population import CHANGEABLE

    settings = (replace(one, varies=one.name in CHANGEABLE) for one in _settings_of_training())
    return [*(one for one in own if one.word), *settings, *(one for one in own if not one.word)]


def _settings_of_training() -> list[Option]:
    from nasray.trials.evaluation import EvaluationSettings

    return list(_knobs_first(options_of_fields(EvaluationSettings(), group="settings of the training", rare=True), ()))


def retrain(
    run: Run,
    *,
    address: Address = None,
    data_root: DataRoot = None,
    cpus_per_trial: CPUs = None,
    gpus_per_trial: GPUs = None,
    code: Code = (),
    quiet: Quiet = False,
    **settings: Any,
) -> int:
    """Train a run's front from scratch with other settings, as trials."""
    from nasray.sweeps.run import retrain

    execution = _given(
        address=address,
        data_root=data_root,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        quiet=quiet,
    )
    return _print_outcome(retrain(find_run(run), settings, registry.code_files(code), **execution))


def more_of_retraining(own: Sequence[Option], run: str | None) -> list[Option]:
    """The settings of the run's trainings, before the other options."""
    from nasray.trials.evaluation import EvaluationSettings

    if run is None:
        return [*(one for one in own if one.word), *_settings_of_training(), *(one for one in own if not one.word)]
    storage = find_run(run)
    try:
        settings = EvaluationSettings.of(storage.read_json("run.json")["sweep"]["training"]["settings"])
    except (LookupError, TypeError):
        raise InvalidInput(f"{storage} holds no sweep: expected a folder that nasray sweep made") from None
    options = _knobs_first(options_of_fields(settings, group="settings of the training", rare=True), ())
    return [*options, *own]


def resume(
    run: Run,
    *,
    address: Address = None,
    data_root: DataRoot = None,
    cpus_per_trial: CPUs = None,
    gpus_per_trial: GPUs = None,
    code: Code = (),
    quiet: Quiet = False,
) -> int:
    """Go on with a sweep, a search or a training where it was left."""
    from nasray.results import open as open_run
    from nasray.sweeps.resuming import resume_storage

    storage = find_run(run)
    execution = _given(
        address=address,
        data_root=data_root,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        quiet=quiet,
    )
    outcome = resume_storage(storage, execution, code)
    if outcome is not None:
        return _print_outcome(outcome)
    if "population" in storage.read_json("run.json"):
        return _print_trained(open_run(str(storage), code), str(storage))
    print(f"{storage} is finished: nasray front {run} shows it")
    return 0


def runs(
    folder: Annotated[str, Says(help="Folder of runs, or its URI.", word="DIR")] = RUNS,
) -> int:
    """List the runs in a folder, with their state, progress and front."""
    from nasray.cli.listing import lines_of_runs

    for line in lines_of_runs(folder):
        print(line)
    return 0


def front(
    runs: Annotated[tuple[str, ...], Says(help="Folders or URIs of runs, or names of runs in runs/.", word="RUN")],
    **options: Any,
) -> int:
    """The Pareto front across runs, with its hypervolume."""
    from nasray.cli.comparison import FrontOptions, lines

    with _damage_in_a_line() as damaged:
        for line in lines({run: find_run(run) for run in runs}, FrontOptions(**options)):
            print(line)
    return 1 if damaged else 0


def more_of_front(own: Sequence[Option], _: str | None) -> list[Option]:
    """The options of a front."""
    from nasray.cli.comparison import FrontOptions

    return [*own, *options_of_fields(FrontOptions(), group="options")]


def list_(
    kinds: Annotated[
        tuple[Literal["spaces", "methods", "searchers", "datasets", "sweeps", "architectures"], ...],
        Says(help="Of what to tell all: spaces, methods, searchers, datasets, sweeps, architectures.", word="KIND"),
    ] = (),
) -> int:
    """Spaces, methods with their knobs, datasets, sweeps, published architectures."""
    from nasray.cli.listing import lines, names

    for line in lines(kinds) if kinds else names():
        print(line)
    return 0


def _given(**values: Any) -> dict[str, Any]:
    """Of some values those that are given."""
    return {name: value for name, value in values.items() if value is not None}


def _out(*names: str) -> str:
    """The folder of a single search or training."""
    return f"{RUNS}/{'-'.join(map(registry.portable, names))}".replace(":", "-")


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
