"""Phases of a run: trials under Ray Tune, run once or gone on with."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyarrow import fs

from nasray.runs import Storage
from nasray.runs.lease import check_lease
from nasray.searchers.searchers import EPOCH, OBJECTIVES
from nasray.sweeps.sweep import Sweep
from nasray.tune.reports.trackers import check_trackers
from nasray.tune.session.connection import connection, tune_environment
from nasray.tune.tune_sessions import prepare_state

if TYPE_CHECKING:
    from ray.tune.search import Searcher as TuneSearcher


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Trials of one kind: either all of them are known, or a searcher proposes them one after the other."""

    name: str
    """Of Tune's folder of it."""
    kind: str
    """``searches`` or ``trainings``."""
    trials: Sequence[Mapping[str, Any]] = ()
    """The known ones."""
    searcher: Callable[[], TuneSearcher] | None = None
    """Makes the one that proposes ``parameters``."""
    proposals: int = 0
    """How many it is asked for."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """What every proposed trial has beside its parameters."""
    rungs: tuple[int, ...] = ()
    """Epochs at which trainings are compared, and all but the best stopped; the last ends them."""


def run_phase(sweep: Sweep, storage: Storage, phase: Phase, session: ExitStack) -> tuple[str, ...]:
    """Run a phase's trials, or those that an earlier try left; gives the reasons of failed ones.

    Ray is connected to by the first phase that has something to run, and stays for the session.
    """
    if not phase.trials and phase.searcher is None:
        return ()
    done = f"tune/{phase.name}.json"
    if storage.exists(done):
        return tuple(storage.read_json(done)["failures"])
    check_trackers(sweep.trackers, storage)
    session.enter_context(connection(sweep.address, sweep.name))
    failures = _tune(sweep, storage, phase)
    check_lease(storage, look=True)
    if not failures:
        # Written after the last row: from here on the phase needs neither Ray nor its checkpoints.
        storage.write_json(done, {"trials": len(phase.trials) or phase.proposals, "failures": []})
    return failures


def _tune(sweep: Sweep, storage: Storage, phase: Phase) -> tuple[str, ...]:
    for name, value in tune_environment().items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune.tune").addFilter(_is_not_ours)
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    from nasray.tune.at_most import AtMost
    from nasray.tune.losses import MOST_LOSSES, any_lost, is_loss
    from nasray.tune.out_of_memory import MoreMemory
    from nasray.tune.pareto_asha import ParetoASHA
    from nasray.tune.reports.callbacks import callbacks_of
    from nasray.tune.resources.placement import gpus_per_trial
    from nasray.tune.resources.room import cluster_nodes
    from nasray.tune.resources.waiting import WaitingForRoom
    from nasray.tune.trainables import FAILED, EvaluationTrainable, SearchTrainable
    from nasray.tune.tune_state import run_or_resume
    from nasray.tune.workers import Group

    looked_up = phase.kind == "trainings" and sweep.table is not None
    trainable: Any = SearchTrainable if phase.kind == "searches" else EvaluationTrainable
    gpus = gpus_per_trial(sweep, storage, phase)
    at_once = 0  # as many as have room
    group = None
    if phase.kind == "trainings" and sweep.workers_per_evaluation > 1 and not looked_up:
        group = Group(workers=sweep.workers_per_evaluation, cpus=sweep.cpus_per_trial, gpus=math.ceil(gpus))
        grouped = {"group": dataclasses.asdict(group)}
        phase = dataclasses.replace(
            phase,
            trials=[{**trial, **grouped} for trial in phase.trials],
            shared={**phase.shared, **grouped} if phase.shared else {},
        )
        at_once = group.at_once(cluster_nodes())
        resources = tune.PlacementGroupFactory([{"memory": 1}])  # a byte: it may not be nothing
    else:
        resources = tune.PlacementGroupFactory([{"CPU": sweep.cpus_per_trial, "GPU": gpus}])
    given: dict[str, Any] = {"where": {"storage": str(storage), "data_root": sweep.data_root}}
    if phase.searcher is not None:
        given["shared"] = dict(phase.shared)
    trainable = tune.with_parameters(trainable, **given)
    trainable = tune.with_resources(trainable, resources)
    callbacks = callbacks_of(sweep, storage, phase)
    workers = group.workers if group else 1
    callbacks.append(WaitingForRoom(sweep.name, cpus=sweep.cpus_per_trial, gpus=gpus, workers=workers))
    param_space = {"trial": tune.grid_search(list(phase.trials))} if phase.trials else None
    # Tune is given the file system, not the URI, to which it could not append the names of its folders.
    tunes = storage.child("tune")
    filesystem = None if isinstance(tunes.filesystem, fs.LocalFileSystem) else tunes.filesystem
    metrics = ("accuracy", *(name for name in sweep.objectives if name != "accuracy"))

    def begin() -> Any:
        searcher = None if phase.searcher is None else phase.searcher()
        proposed_at_once = 1 if looked_up else at_once
        scheduler: TrialScheduler = FIFOScheduler()  # type: ignore[no-untyped-call]
        if len(phase.rungs) > 1:
            scheduler = ParetoASHA(
                metrics,
                [OBJECTIVES[name] for name in metrics],
                time_attr=EPOCH,
                rungs=phase.rungs,
                reduction_factor=sweep.reduction_factor,
            )
        return tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(
                search_alg=AtMost(searcher, proposed_at_once) if searcher and proposed_at_once else searcher,
                num_samples=phase.proposals or 1,
                max_concurrent_trials=None if searcher else at_once or None,
                scheduler=MoreMemory(scheduler, sweep.name),
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=phase.name,
                storage_path=tunes.base,
                storage_filesystem=filesystem,
                verbose=0,
                callbacks=callbacks,
                failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
                # What is looked up need not be taken up again.
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=0 if looked_up else 1, checkpoint_at_end=not looked_up, num_to_keep=2
                ),
            ),
        )

    def resume() -> Any:
        tuner = tune.Tuner.restore(
            f"{tunes.base}/{phase.name}",
            trainable,
            resume_unfinished=True,
            resume_errored=True,
            param_space=param_space,
            storage_filesystem=filesystem,
        )
        # Tune takes those back with which the phase began; a resumed run may have other trackers.
        # Through a Ray Client the Tuner is at the other end, and keeps those.
        local = getattr(tuner, "_local_tuner", None)
        if local is not None:
            local.get_run_config().callbacks = callbacks
        return tuner

    def fit() -> Any:
        prepare_state(tunes.child(phase.name), sweep.name, phase.name)
        return run_or_resume(tunes, phase.name, sweep.name, begin=begin, resume=resume)

    results = fit()
    for _ in range(MOST_LOSSES):
        if not any_lost(results):
            break
        results = fit()
    failures = []
    for result in (results[i] for i in range(len(results))):
        name = os.path.basename(result.path)
        given_up = (result.metrics or {}).get(FAILED)
        if result.error is not None:
            reason = str(result.error).strip().splitlines()[-1]
            often = "lost its worker too often" if is_loss(result.error) else f"failed {sweep.max_failures + 1} times"
            failures.append(f"trial {name} {often}: {reason}")
        elif given_up:
            failures.append(f"trial {name}: {given_up}")
        elif not (result.metrics or {}).get("done"):
            failures.append(f"trial {name} was left before its end: the same command goes on")
    return tuple(sorted(failures))


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Whether Tune says something that we do not: which trials failed is in the outcome of the run."""
    return not record.getMessage().startswith("Trials did not complete")


def _trial_name(trial: Any) -> str:
    known = trial.config.get("trial")
    return str(trial.trial_id if known is None else known["name"])
