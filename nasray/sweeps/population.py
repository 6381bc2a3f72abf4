"""Training one architecture as a population, under Ray Tune, or going on with it."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, get_args

from nasray import registry
from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.fronts import pareto_front
from nasray.runs import EVALUATIONS, Storage, read, write_front, write_row
from nasray.runs.events import note, show_events
from nasray.runs.identity import check_new
from nasray.runs.lease import check_lease, lease
from nasray.runs.patience import PATIENCE
from nasray.runs.whole import lost_weights
from nasray.settings import as_words, changes, check_seed
from nasray.sweeps.points import latin_hypercube
from nasray.training.dataset import load_dataset
from nasray.training.measure import host, versions
from nasray.trials.check import check_training
from nasray.trials.differing import differing_in
from nasray.trials.evaluation import EvaluationConfig, evaluation_size
from nasray.trials.fidelity import Fidelity
from nasray.trials.identity import identity
from nasray.trials.member import read_result
from nasray.trials.population import Population, best_of
from nasray.trials.single import GIVEN
from nasray.trials.trial import Origin, TrainingTrial
from nasray.tune.execution import Execution
from nasray.tune.passes import import_tuner, run_phase
from nasray.tune.phase import Phase
from nasray.tune.resources.device import Kind, check_gpus, pick_kind
from nasray.tune.resources.room import check_resources
from nasray.tune.session.connection import connection

POPULATION = "population"
"""In run.json: what the population is."""


def run_population(
    config: EvaluationConfig, population: Population, run: Storage, changed: Mapping[str, Any], method: str
) -> None:
    """Train a population into a run's folder, or go on with it where it was left; its best member becomes a row.

    Args:
        config: of the training, with any value of what the population varies.
        population: how many members, and what they differ in.
        run: the folder.
        changed: fields of an execution; those that are None are the run's own.
        method: that found the architecture.

    Raises:
        InvalidInput: it could not run, or the folder holds something else; nothing is written then.
    """
    begun = run.read_json("run.json") if run.exists("run.json") else {}
    given = {name: value for name, value in changed.items() if value is not None}
    execution = Execution.of({**begun.get("execution", {}), **given})
    for failure in _trained(config, population, run, execution, method):
        note(textwrap.shorten(failure, 400))


def _trained(
    config: EvaluationConfig, population: Population, run: Storage, execution: Execution, method: str
) -> tuple[str, ...]:
    """Train it; gives the members that gave up, with the reason."""
    show_events(quiet=execution.quiet)
    size = _check(config, population)
    check_resources(execution.address, cpus=execution.cpus_per_trial, gpus=execution.gpus_per_trial, workers=1)
    run = dataclasses.replace(run, patience=PATIENCE)
    with ExitStack() as session:
        begun = run.read_json("run.json") if run.exists("run.json") else {}
        config = _on_device(config, begun, execution, run.name, session)
        if config.settings.device == "cuda" and "ended" not in begun:
            check_gpus(execution)
        run.check_writable()
        session.enter_context(lease(run, run.name))
        if not begun:
            check_new(run)
            session.enter_context(connection(execution.address, run.name, import_tuner))
        trials = members(config, population, run.name, method)
        _record(config, population, run, execution, trials, (size, 1.0 / _classes(config)))
        phase = Phase(
            name=POPULATION,
            kind="trainings",
            run=run.name,
            dataset=config.dataset,
            trials=trials,
            budget=config.budget,
            fidelity=Fidelity((trials[0].settings,)),
        )
        failures = run_phase(phase, run, execution, session)
        check_lease(run, look=True)
        return failures + _finish(run, trials, ended=not failures)


def members(config: EvaluationConfig, population: Population, run: str, method: str) -> list[TrainingTrial]:
    """The members of a population as they begin: each with a seed of its own, and settings spread over the ranges."""
    drawn = latin_hypercube(population.varied, population.members)
    return [
        TrainingTrial(
            run=run,
            config=dataclasses.replace(
                config, seed=config.seed + place, settings=dataclasses.replace(config.settings, **values)
            ),
            origin=Origin(method=method),
            population=population,
        )
        for place, values in enumerate(drawn)
    ]


def _check(config: EvaluationConfig, population: Population) -> float:
    """Refuse what could not be trained, before anything is written; gives the multiply-adds (M)."""
    population.check(config.settings)
    check_seed("seed of the last member", config.seed + population.members - 1)
    space, dataset = config.cell_space, load_dataset(config.dataset, config.data_root)
    size = evaluation_size(space, config.architecture, config.settings, dataset, config.budget)
    counted = macs(space, config.architecture, size)  # of an architecture that does not fit the size there are none
    for settings in population.extremes(config.settings):
        check_training(space, settings, dataset, cells=size.cells, flag="--")
    return counted


def _classes(config: EvaluationConfig) -> int:
    return load_dataset(config.dataset, config.data_root).classes


def _on_device(
    config: EvaluationConfig, begun: Mapping[str, Any], execution: Execution, run: str, session: ExitStack
) -> EvaluationConfig:
    """The config on the kind of device that the run began with, or begins with now, where its settings say auto."""
    if config.settings.device != "auto":
        return config
    own: Any = (begun.get("training") or {}).get("settings", {}).get("device")
    kind: Kind = own if own in get_args(Kind) else pick_kind(execution, run, session)
    return dataclasses.replace(config, settings=dataclasses.replace(config.settings, device=kind))


def _record(
    config: EvaluationConfig,
    population: Population,
    run: Storage,
    execution: Execution,
    trials: Sequence[TrainingTrial],
    reference: tuple[float, float],
) -> None:
    """Write what runs there, or see that it is what is to go on."""
    mine = {**identity(config), "settings": population.settings(config.settings)}
    if run.exists("run.json"):
        theirs = run.read_json("run.json")
        if POPULATION not in theirs or not isinstance(theirs.get("identity"), dict):
            raise InvalidInput(f"{run} holds no population. Give another --out.")
        differing = differing_in(mine, theirs["identity"])
        if differing:
            raise InvalidInput(
                f"{run} holds another population, which differs in {', '.join(differing)}. Give another --out, or the "
                "same population."
            )
        return
    dataset = load_dataset(config.dataset, config.data_root)
    run.write_json(
        "run.json",
        {
            "training": config.to_dict(),
            POPULATION: population.to_dict(),
            "execution": {**dataclasses.asdict(execution), "trackers": list(execution.trackers)},
            "method": trials[0].method,
            "identity": mine,
            "data": {"input_shape": list(dataset.input_shape), "classes": dataset.classes},
            "reference": list(reference),
            **_command_of(config, population, execution, trials[0].method),
            "versions": versions(),
            "host": host(),
            "started": datetime.now(UTC).isoformat(),
        },
    )


def _command_of(config: EvaluationConfig, population: Population, execution: Execution, method: str) -> dict[str, Any]:
    """The command that repeats it, as run.json has it."""
    if registry.values_of([config.space, config.dataset]):
        return {"command": None, "why_no_command": "it was made of values of Python: repeat it from there"}
    if method != GIVEN:
        return {"command": None, "why_no_command": f"nasray.train trained a row that {method} found"}
    words = ["nasray", "train", config.space, config.architecture.to_json(), config.dataset]
    values: dict[str, Any] = {
        **changes(config.settings),
        **population.varied,
        "population": population.members,
        "perturbation_interval": population.interval,
        **{name: getattr(config, name) for name in ("seed", "data_root", "budget")},
        **{name: getattr(execution, name) for name in ("cpus_per_trial", "gpus_per_trial")},
    }
    values = {name: value for name, value in values.items() if value is not None or name in changes(config.settings)}
    return {"command": [*words, *(word for name, value in values.items() for word in as_words(name, value))]}


def _finish(run: Storage, trials: Sequence[TrainingTrial], *, ended: bool) -> tuple[str, ...]:
    """Make the best member a row, keep its weights alone, and write the front."""
    results = {trial.name: row for trial in trials if (row := read_result(run, trial)) is not None}
    rows = read(run, EVALUATIONS)
    if results:
        name, best = best_of(results.items())
        if not len(rows) or name not in set(rows["member"].dropna()):
            write_row(run, EVALUATIONS, best)
            rows = read(run, EVALUATIONS)
            place = next(place for place, trial in enumerate(trials) if trial.name == name)
            note(f"member {place} is the best of {len(results)}: accuracy {best['accuracy']:.4f}")
        kept = set(rows["weights"].dropna())
        for row in results.values():
            if row["weights"] not in kept and run.exists(row["weights"]):
                run.delete(row["weights"])
    write_front(run, pareto_front(rows))
    values = run.read_json("run.json")
    lost = lost_weights(run, rows)
    if ended and not lost and "ended" not in values:
        run.write_json("run.json", {**values, "ended": datetime.now(UTC).isoformat()})
    return lost
