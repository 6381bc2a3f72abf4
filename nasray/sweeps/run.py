"""Running a sweep, or resuming it: searches, what they find trained from scratch, the front of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.fronts import average_over_seeds, complete, hypervolume, pareto_front
from nasray.fronts.across import as_reference
from nasray.pictures import front_picture
from nasray.runs import CANDIDATES, EVALUATIONS, Storage, open_storage, read, write_front
from nasray.runs.events import note, show_events
from nasray.runs.identity import check_new
from nasray.runs.lease import check_lease, lease
from nasray.runs.patience import PATIENCE
from nasray.runs.whole import lost_weights, write_architectures
from nasray.searchers import Known
from nasray.settings import DeviceKind
from nasray.sweeps.changes import with_device, with_execution, with_training
from nasray.sweeps.check import check, check_trainings
from nasray.sweeps.command import Source
from nasray.sweeps.learning import Learner, learners
from nasray.sweeps.learnt import Learnt, kept, learnt_from, lines
from nasray.sweeps.phases import evaluating, learning, searching, training
from nasray.sweeps.proposals import proposals
from nasray.sweeps.record import check_same, record
from nasray.sweeps.retraining import found_trainings, late, rounds
from nasray.sweeps.selection import candidate_trials, chosen, repeated_trials, searched, within_budget
from nasray.sweeps.sweep import Sweep
from nasray.sweeps.unpruned import say_unpruned
from nasray.trials.evaluation import EvaluationSettings
from nasray.trials.identity import with_code
from nasray.trials.lost import reopen_without_rows
from nasray.trials.trial import SearchTrial
from nasray.tune.passes import import_tuner, run_phase
from nasray.tune.resources.device import Kind, check_gpus, pick_kind
from nasray.tune.resources.room import check_resources
from nasray.tune.session.connection import connection


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    folder: str
    front: pd.DataFrame
    """Front of the architectures trained from scratch, or of the candidates where none were trained."""
    hypervolume: float
    """Hypervolume of the front (M x fraction)."""
    reference: tuple[float, float]
    """Its reference point: multiply-adds (M), accuracy."""
    failures: tuple[str, ...]
    """Trials that gave up, with the reason."""
    hypervolumes: Mapping[str, float] = field(default_factory=dict)
    """Hypervolume of each method's own front."""


def run_sweep(sweep: Sweep, run: str | None = None, source: Source | None = None) -> Outcome:
    """Run a sweep, or go on with it where a run of that name exists in its storage.

    Args:
        sweep: what to run.
        run: name of the run; None is the sweep's name.
        source: what the sweep was made of, for the command that repeats it; None is Python.

    Raises:
        InvalidInput: the data cannot be found, the storage cannot be written, or the run is another sweep's.
    """
    sweep = dataclasses.replace(sweep, name=run or sweep.name)
    show_events(quiet=sweep.execution.quiet)
    storage = open_storage(sweep.execution.storage, patience=PATIENCE).child(sweep.name)
    check(sweep, storage)  # before the first write: what is refused leaves nothing
    reference = sweep.reference or _reference(sweep)
    learnt = Learnt() if storage.exists("run.json") else learnt_from(sweep, storage)
    _check_room(sweep)
    with ExitStack() as session:
        begun = storage.read_json("run.json") if storage.exists("run.json") else {}
        sweep, kind = _settle_device(sweep, begun, session, sweep.devices)
        if "cuda" in sweep.devices and "ended" not in begun:
            check_gpus(sweep.execution)
        storage.check_writable()
        varied = tuple(sweep.varied)
        rungs = sweep.search_rungs
        searches = [SearchTrial(run=sweep.name, config=one, varied=varied, rungs=rungs) for one in sweep.searches()]
        session.enter_context(lease(storage, sweep.name))
        if not begun:
            check_new(storage)
            # A cluster that does not answer is found out before there is a run.
            session.enter_context(connection(sweep.execution.address, sweep.name, import_tuner))
        record(sweep, storage, reference, kind, source, learnt)
        known = kept(sweep, storage)
        for line in lines(storage.read_json("run.json").get("learnt")):
            note(line)
        reopen_without_rows(storage)
        phase = searching(sweep, searches)
        failures = run_phase(phase, storage, sweep.execution, session)
        for learner in learners(sweep):
            failures += _learn(sweep, learner, known.get(learner.name, ()), storage, reference, session)
        if sweep.search_arms and sweep.fill is None:  # which begins with the largest network that there is
            candidates = complete(read(storage, CANDIDATES))
            say_unpruned(candidates, searched(sweep, candidates), sweep.data)
        for one in proposals(sweep):
            phase = evaluating(sweep, one, known.get(one.trial_id, ()))
            failures += run_phase(phase, storage, sweep.execution, session)
        if sweep.training.select == "nothing" and sweep.search_arms:
            candidates = within_budget(complete(read(storage, CANDIDATES)), sweep.most_macs)
            return _finish(sweep, storage, candidates, reference, failures)
        return _train(sweep, storage, reference, failures, session)


def retrain(run: Storage, changes: dict[str, Any], code: Sequence[Path] = (), **execution: Any) -> Outcome:
    """Train the front of a run's candidates from scratch, again with other settings.

    Args:
        run: the run's folder.
        changes: fields of its evaluation settings to change.
        code: files of a user's own code that the run is of.
        execution: fields of the run's execution to change.

    Raises:
        InvalidInput: no run lies there, or a setting is not accepted.
    """
    run = dataclasses.replace(run, patience=PATIENCE)
    sweep, reference = read_run(run, code)
    sweep = with_execution(sweep, **execution)
    show_events(quiet=sweep.execution.quiet)
    own = sweep.training.settings
    evaluation = EvaluationSettings.of({**own.to_dict(), **changes})
    for name in ("channels", "cells", "skeleton", "width_budget"):
        if getattr(evaluation, name) != getattr(own, name):
            raise InvalidInput(
                f"{name} {getattr(evaluation, name)}: the run's candidates were counted at "
                f"{getattr(own, name)}; leave it out, or start another run"
            )
    for name in sweep.varied_training:
        if getattr(evaluation, name) != getattr(own, name):
            raise InvalidInput(f"{name} {getattr(evaluation, name)}: the run's sweep varies it. Leave it out.")
    sweep = with_training(sweep, settings=evaluation)
    check_trainings(sweep, flag="--")
    _check_room(sweep)
    with ExitStack() as session:
        sweep, _ = _settle_device(sweep, run.read_json("run.json"), session, {sweep.training.settings.device})
        if sweep.training.settings.device == "cuda":
            check_gpus(sweep.execution)
        session.enter_context(lease(run, sweep.name))
        return _train(sweep, run, reference, (), session)


def _check_room(sweep: Sweep) -> None:
    """Refuse trials for which a Ray of our own has no room, before anything is written."""
    execution = sweep.execution
    workers = 1 if sweep.table or sweep.training.select == "nothing" else sweep.training.workers
    gpus = 0.0 if sweep.table and not sweep.search_arms else execution.gpus_per_trial  # what is looked up takes none
    check_resources(execution.address, cpus=execution.cpus_per_trial, gpus=gpus, workers=workers)


def _settle_device(
    sweep: Sweep, begun: Mapping[str, Any], session: ExitStack, devices: set[DeviceKind]
) -> tuple[Sweep, Kind | None]:
    """The sweep on the kind of device that its run began with, or begins with now, where its settings leave it open.

    Args:
        sweep: what is to be run.
        begun: the run's run.json, as far as there is one.
        session: in which a cluster is asked.
        devices: what the settings of its trials say.
    """
    if "auto" not in devices:
        return sweep, None
    own: Any = begun.get("device")
    kind: Kind = own if own in get_args(Kind) else pick_kind(sweep.execution, sweep.name, session)
    return with_device(sweep, kind), kind


def check_run(sweep: Sweep) -> list[str]:
    """Refuse what :func:`run_sweep` would refuse before it writes anything, on a machine or cluster with room for it.

    Returns:
        What its searchers are told first, a line for each of them and run.

    Raises:
        InvalidInput: as :func:`run_sweep`.
    """
    storage = open_storage(sweep.execution.storage).child(sweep.name)
    check(sweep, storage)
    if storage.exists("run.json"):
        kind: Any = storage.read_json("run.json").get("device")
        check_same(with_device(sweep, kind) if kind in get_args(Kind) else sweep, storage)
        return list(lines(storage.read_json("run.json").get("learnt")))
    return list(lines(learnt_from(sweep, storage).summary))


def read_run(run: Storage, code: Sequence[Path] = ()) -> tuple[Sweep, tuple[float, float]]:
    """The sweep of a run and its hypervolume's reference point.

    Args:
        run: the run's folder.
        code: files of a user's own code that it is of.

    Raises:
        InvalidInput: no run lies there, or it is of a user's own code that is not given.
    """
    if not run.exists("run.json"):
        raise InvalidInput(f"{run} is no run: expected a folder with run.json, which nasray sweep makes")
    values = run.read_json("run.json")
    if not isinstance(values.get("sweep"), dict):
        raise InvalidInput(f"{run} holds no sweep: expected a folder that nasray sweep made")
    try:
        return Sweep.of(with_code(values["sweep"], code, run)), as_reference(values.get("reference"), run)
    except (TypeError, LookupError, AttributeError) as error:  # fields of other types than a sweep's
        raise InvalidInput(f"{run}/run.json holds another sweep than nasray writes ({error})") from None


def _reference(sweep: Sweep) -> tuple[float, float]:
    """The worst corner that means something: the spaces' dearest architecture, and the accuracy of guessing."""
    largest, classes = 0.0, 1
    for arm in {arm.space: arm for arm in sweep.arms}.values():
        size = sweep.network_size(arm, None if sweep.table else sweep.data)
        width_budget = sweep.training.settings.width_budget
        if width_budget is not None and not sweep.table:
            # As wide as this allows, a network may cost more than the dearest of the space's own width.
            largest, classes = width_budget, size.classes
            continue
        largest, classes = max(largest, cost_table(arm.cell_space, size).largest_macs), size.classes
    return largest, 1.0 / classes


def _learn(
    sweep: Sweep,
    learner: Learner,
    known: Sequence[Known],
    storage: Storage,
    reference: tuple[float, float],
    session: ExitStack,
) -> tuple[str, ...]:
    """Run a learner's searches, round by round; between rounds what they found is trained from scratch, where that is
    what it is told. Gives the reasons of those that gave up."""
    failures: tuple[str, ...] = ()
    made = 0
    for end in rounds(sweep, learner):
        proposing = learner.proposing(sweep, reference, known)
        if end < learner.searches or made:
            proposing = dataclasses.replace(proposing, evaluations=end, late=late(sweep, made))
        failures += run_phase(learning(sweep, learner, proposing), storage, sweep.execution, session)
        if proposing.late is not None:
            trainings = found_trainings(sweep, learner, storage)
            failures += run_phase(training(sweep, trainings), storage, sweep.execution, session)
        made = end
    return failures


def _train(
    sweep: Sweep, storage: Storage, reference: tuple[float, float], failures: tuple[str, ...], session: ExitStack
) -> Outcome:
    """Train what was found, and give the front of all that was trained."""
    found = chosen(sweep, read(storage, CANDIDATES))
    trials = candidate_trials(sweep, found, baselines=sweep.random_baseline)
    if sweep.training.rungs and trials:
        # At a rung the further seeds of an architecture would compete with its first. So they wait for it, and train
        # to the end where it did.
        first = [trial for trial in trials if trial.config.seed == sweep.training.seeds[0]]
        rungs = sweep.fidelities(trials[0].space)
        failures += run_phase(training(sweep, first, rungs), storage, sweep.execution, session)
        rows = _of_fidelity(sweep, read(storage, EVALUATIONS))
        ended = set(zip(rows["architecture_id"], rows["settings"], strict=True))
        further = [trial for trial in trials if trial.config.seed != sweep.training.seeds[0]]
        trials = [trial for trial in further if (trial.architecture.id, trial.settings) in ended]
    trials += repeated_trials(sweep, _of_fidelity(sweep, read(storage, EVALUATIONS)))
    failures += run_phase(training(sweep, trials), storage, sweep.execution, session)
    rows = within_budget(_of_fidelity(sweep, read(storage, EVALUATIONS)), sweep.most_macs)
    if len(sweep.training.seeds) > 1:
        rows = average_over_seeds(rows)
        rows = rows[rows["seeds"] == len(sweep.training.seeds)]
    return _finish(sweep, storage, rows, reference, failures)


def _of_fidelity(sweep: Sweep, evaluations: pd.DataFrame) -> pd.DataFrame:
    """The rows that share a front: with exactly settings of the sweep's, or trained in one stage for as long."""
    if not len(evaluations):
        return evaluations
    own = evaluations["complete"] & sweep.fidelity.holds(evaluations["settings"])
    one_stage = evaluations["training"] == "one stage"
    epochs = sweep.training.settings.epochs
    other = sorted(set(evaluations.loc[one_stage & (evaluations["epochs"] != epochs), "epochs"]))
    if other and not sweep.table:
        note(
            f"trained in one stage for {', '.join(map(str, other))} epochs, not {epochs}: in the table, but on no "
            "front with networks trained from scratch"
        )
    return evaluations[own | (one_stage & (evaluations["epochs"] == epochs) & (sweep.table is None))]


def _finish(
    sweep: Sweep, storage: Storage, rows: pd.DataFrame, reference: tuple[float, float], failures: tuple[str, ...]
) -> Outcome:
    check_lease(storage, look=True)
    front = pareto_front(rows)
    write_front(storage, front)
    methods = sorted({name for names in rows["method"] for name in names.split(", ")}, key=_baselines_last)
    found_by = rows["method"].str.split(", ")
    by_method = {method: rows[np.array([method in names for names in found_by], dtype=bool)] for method in methods}
    fronts = {method: pareto_front(own) for method, own in by_method.items()}
    if len(front):
        storage.write_bytes("front.png", front_picture(fronts, points=by_method, title=sweep.name))
    write_architectures(storage, front)
    failures += lost_weights(storage, read(storage, EVALUATIONS))
    values = storage.read_json("run.json")
    if not failures and "ended" not in values:
        storage.write_json("run.json", {**values, "ended": datetime.now(UTC).isoformat()})
    volume = hypervolume(front, reference) if len(front) else 0.0
    volumes = {method: hypervolume(own, reference) for method, own in fronts.items()}
    return Outcome(str(storage), front, volume, reference, failures, volumes)


def _baselines_last(method: str) -> tuple[bool, str]:
    return method.startswith("random"), method
