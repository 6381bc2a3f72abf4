"""One pass over trials that have no final outcome: a fresh Tuner, whose own state is written aside and never read."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import ray
import ray.util.client
from pyarrow import ArrowException
from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune import Callback, PlacementGroupFactory, TuneError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from nasray import registry
from nasray.errors import ClusterLost, LeaseLost, StorageFailure, message
from nasray.runs import Storage
from nasray.runs.events import drawn_by, note
from nasray.runs.outcomes import Outcome
from nasray.trials.labels import kind_of
from nasray.trials.running import EPOCH
from nasray.trials.trial import TrainingTrial, Trial
from nasray.tune.execution import Execution
from nasray.tune.failures import Failures, cause_of, note_kill, resources
from nasray.tune.pareto_asha import ParetoASHA
from nasray.tune.phase import TRIAL, WORKERS, Phase
from nasray.tune.population import Comparisons, own_draws
from nasray.tune.proposing import Proposed
from nasray.tune.reports.callbacks import callbacks_of
from nasray.tune.resources.room import cluster_nodes
from nasray.tune.resources.waiting import WaitingForRoom
from nasray.tune.rungs import group_of, names_of_known, records
from nasray.tune.searcher import AskTellSearch
from nasray.tune.session.connection import quiet_tune, tune_environment
from nasray.tune.session.interruption import run_interruptibly
from nasray.tune.trainable import TrialTrainable
from nasray.tune.workers import Group


class Processes(Callback):
    """Knows which process each trial has, for a pass that ends by the kill of one."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune with every report, to which it adds the process."""
        self.of[str(trial)] = int(result["pid"])

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune at a trial's end."""
        self.of.pop(str(trial), None)


def run_pass(
    phase: Phase,
    waiting: Sequence[Trial],
    storage: Storage,
    execution: Execution,
    outcomes: Mapping[str, Outcome],
    gpus: float,
    search: AskTellSearch | None = None,
    proposed: Proposed | None = None,
    most: int = 0,
    *,
    began: float,
) -> None:
    """Run trials of a phase until each has ended, or is gone.

    Args:
        phase: that they are of.
        waiting: the trials.
        storage: the run's folder.
        execution: where and how they run.
        outcomes: of all trials of the phase that have one.
        gpus: that each reserves.
        search: proposes trials where they are not known.
        proposed: these trials.
        most: how many of them there may be in this pass.
        began: when the phase began, by time.time.

    Raises:
        ClusterLost: Ray's head does not answer any more.
        StorageFailure: Tune cannot write where it keeps its own state.
    """
    for name, value in tune_environment().items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune.tune").addFilter(_is_not_ours)
    group, at_once = None, 0  # as many as have room
    if phase.workers > 1 and not phase.looks_up:
        group = Group(workers=phase.workers, cpus=execution.cpus_per_trial, gpus=float(gpus > 0))
        at_once = group.at_once(cluster_nodes())

    given: dict[str, Any] = {
        "storage": str(storage),
        "trials": {trial.name: trial.to_dict() for trial in waiting},
        "shared": None if phase.proposing is None else phase.proposing.shared.to_dict(),
        "max_failures": execution.max_failures,
        "group": None if group is None else dataclasses.asdict(group),
        "folder": os.getcwd(),
        "values": registry.values_of(phase.names),
    }
    reserves = reserving(outcomes, execution.cpus_per_trial, gpus, in_group=group is not None)
    trainable = _named(_kind(phase), reserves, given)
    digests = {trial.name: trial.digest for trial in waiting} if proposed is None else proposed.digests
    processes = Processes()
    if phase.proposing is not None and phase.looks_up:
        at_once = 1  # a second process would take seconds to come up, and find nothing left to do
    ended = dict if proposed is None else proposed.ended
    reports = callbacks_of(phase, waiting, storage, execution, outcomes, ended, began)
    workers = 1 if group is None else group.workers
    reports.append(WaitingForRoom(phase.run, cpus=execution.cpus_per_trial, gpus=gpus, workers=workers))
    population = _population(phase, waiting, storage)
    # Members are saved by Tune, to nothing, which wants a folder for it that every node sees.
    aside = tempfile.mkdtemp(prefix="nasray-tune-") if population is None else str(storage.child(WORKERS))
    param_space = {TRIAL: tune.grid_search(list(digests))} if population is None else population.param_space
    if population is not None:
        storage.delete_folder(WORKERS)  # of a driver that was killed
        reports.append(population)
    try:
        tuner = tune.Tuner(
            trainable,
            param_space=param_space if search is None else None,
            tune_config=tune.TuneConfig(
                search_alg=search,
                num_samples=most or 1,
                max_concurrent_trials=at_once or None,
                scheduler=population.scheduler() if population else _scheduler(phase, storage, outcomes, proposed),
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=phase.name,
                storage_path=aside,
                verbose=0,
                callbacks=[Failures(phase.run, storage, digests), processes, *reports],
                stop=population,
                # A trial's outcome says whether it is tried again: Tune itself always does.
                failure_config=tune.FailureConfig(max_failures=-1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        with nullcontext() if population is None else own_draws():
            _fit(tuner, phase, aside)
    except Exception as error:
        killed = cause_of(error, OutOfMemoryError)
        if killed is None:
            raise
        note_kill(storage, killed, processes.of, digests)
    finally:
        for stop in tuple(drawn_by):  # Tune was cut off
            stop()
        if population is None:
            _delete(aside)
        else:
            storage.delete_folder(WORKERS)


def reserving(
    outcomes: Mapping[str, Outcome], cpus: float, gpus: float, *, in_group: bool
) -> Callable[[dict[str, Any]], PlacementGroupFactory]:
    """What Tune asks for the resources of each trial's config.

    It is small, for Tune unpickles it several times for each trial: of the outcomes it holds those that need more.

    Args:
        outcomes: of all trials of the phase that have one.
        cpus: cores of a trial.
        gpus: share of a GPU of a trial.
        in_group: whether a trial reserves nothing itself, for its workers do.
    """
    more = {name: one for name, one in outcomes.items() if one.gpus is not None or one.idle_cpus is not None}

    def reserved(config: dict[str, Any]) -> PlacementGroupFactory:
        if in_group:
            return PlacementGroupFactory([{"memory": 1}])  # a byte: it may not be nothing
        return resources(more.get(config[TRIAL]), cpus, gpus)

    return reserved


def _kind(phase: Phase) -> str:
    """What the processes of a phase are called: ``Search``, ``Training`` or ``Lookup``."""
    return kind_of(phase.trials[0] if phase.proposing is None else phase.proposing.shared)


def _named(kind: str, reserves: Callable[[dict[str, Any]], PlacementGroupFactory], given: dict[str, Any]) -> Any:
    """The trainable of a phase, under a name that Ray's dashboard shows: ``tune.with_resources`` has another for all.

    Args:
        kind: its name.
        reserves: the resources of each trial's config.
        given: what its ``setup`` takes beside the config, shared by all trials through Ray's object store.
    """

    class Reserving(TrialTrainable):
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
            return reserves(config)

    named: Any = tune.with_parameters(Reserving, **given)
    named.__name__ = named.__qualname__ = kind
    return named


def is_remote() -> bool:
    """Whether Tune runs at the other end of a Ray Client, on copies of what it is given."""
    return bool(ray.util.client.ray.is_connected())  # type: ignore[no-untyped-call]


def _fit(tuner: tune.Tuner, phase: Phase, aside: str) -> None:
    try:
        with quiet_tune():
            run_interruptibly(tuner.fit)
    except StorageFailure:  # the run's own storage
        raise
    except ConnectionError as error:
        if not is_remote():
            raise
        raise ClusterLost(
            f"The cluster stopped answering in phase {phase.name} ({message(error)}). Run the same command again "
            "once it does."
        ) from error
    except TuneError as error:
        ours = cause_of(error, StorageFailure) or cause_of(error, LeaseLost)
        if ours is None:
            raise
        raise ours from None
    except (OSError, ArrowException) as error:
        raise StorageFailure(
            f"Ray Tune cannot write its temporary files in {aside} ({message(error)}). Free some space or set "
            "TMPDIR, and run the same command again to resume."
        ) from error


def _delete(aside: str) -> None:
    """Delete what Tune wrote: with a Ray Client it did so at the cluster's head."""
    shutil.rmtree(aside, ignore_errors=True)
    if ray.is_initialized() and is_remote():
        head = ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})
        with contextlib.suppress(ConnectionError):
            ray.get(head(_remove).remote(aside))


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _population(phase: Phase, waiting: Sequence[Trial], storage: Storage) -> Comparisons | None:
    """How the members of a population are compared; None where the trials are no members."""
    if phase.population is None:
        return None
    members = [trial for trial in waiting if isinstance(trial, TrainingTrial)]
    found = Comparisons(phase.population, storage, members, phase.trainings)
    if found.resumes:
        note(f"The population goes on. Tune's clock starts anew: members are compared next after {found.next} epochs.")
    return found


def _scheduler(
    phase: Phase, storage: Storage, outcomes: Mapping[str, Outcome], proposed: Proposed | None
) -> TrialScheduler:
    if len(phase.rungs) < 2:
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    scheduler = ParetoASHA(
        list(phase.compared_by),
        list(phase.compared_by.values()),
        time_attr=EPOCH,
        rungs=phase.rungs,
        reduction_factor=phase.reduction_factor,
        group_of=group_of(phase),
    )
    name_of = names_of_known(phase) if proposed is None else proposed.name_of_row
    scheduler.refill(records(phase, storage, outcomes, name_of))
    return scheduler


def _name(trial: TuneTrial) -> str:
    return str(trial.config[TRIAL])


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Whether Tune says something that we do not: which trials failed is in the outcome of the run."""
    return not record.getMessage().startswith("Trials did not complete")
