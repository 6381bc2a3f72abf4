"""Phases of a run: trials under Ray Tune, run once or gone on with."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyarrow import fs

from nasray.errors import InvalidInput
from nasray.results import Storage
from nasray.sweeps.lease import check_lease
from nasray.sweeps.loopback import loopback_only
from nasray.sweeps.searchers import EPOCH, OBJECTIVES
from nasray.sweeps.stopping import handlers_kept
from nasray.sweeps.sweep import Sweep
from nasray.sweeps.trackers import check_trackers, local_folder
from nasray.sweeps.tune_sessions import prepare_state

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
    session.enter_context(_ray(sweep.address))
    failures = _tune(sweep, storage, phase)
    check_lease(storage, look=True)
    if not failures:
        # Written after the last row: from here on the phase needs neither Ray nor its checkpoints.
        storage.write_json(done, {"trials": len(phase.trials) or phase.proposals, "failures": []})
    return failures


def _tune(sweep: Sweep, storage: Storage, phase: Phase) -> tuple[str, ...]:
    for name, value in _tune_environment().items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune.tune").addFilter(_is_not_ours)
    import ray
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    from nasray.sweeps.distributed import Group
    from nasray.sweeps.losses import MOST_LOSSES, any_lost, is_loss
    from nasray.sweeps.one_at_a_time import OneAtATime
    from nasray.sweeps.out_of_memory import MoreMemory, memory_kills_are_failures
    from nasray.sweeps.pareto_asha import ParetoASHA
    from nasray.sweeps.placement import gpus_per_trial
    from nasray.sweeps.trainables import FAILED, EvaluationTrainable, SearchTrainable
    from nasray.sweeps.tune_state import run_or_resume

    looked_up = phase.kind == "trainings" and sweep.table is not None
    trainable: Any = SearchTrainable if phase.kind == "searches" else EvaluationTrainable
    gpus = gpus_per_trial(sweep, storage, phase)
    at_once = 0
    if phase.kind == "trainings" and sweep.workers_per_evaluation > 1 and not looked_up:
        group = Group(workers=sweep.workers_per_evaluation, cpus=sweep.cpus_per_trial, gpus=math.ceil(gpus))
        given = {"group": dataclasses.asdict(group)}
        phase = dataclasses.replace(
            phase, trials=[{**trial, **given} for trial in phase.trials], shared={**phase.shared, **given}
        )
        at_once = group.at_once(ray.cluster_resources())  # type: ignore[no-untyped-call]
        resources = tune.PlacementGroupFactory([{"memory": 1}])  # a byte: it may not be nothing
    else:
        resources = tune.PlacementGroupFactory([{"CPU": sweep.cpus_per_trial, "GPU": gpus}])
    if phase.searcher is not None:
        trainable = tune.with_parameters(trainable, shared=dict(phase.shared))
    trainable = tune.with_resources(trainable, resources)
    callbacks = _callbacks(sweep, storage, phase)
    param_space = {"trial": tune.grid_search(list(phase.trials))} if phase.trials else None
    # Tune is given the file system, not the URI, to which it could not append the names of its folders.
    tunes = storage.child("tune")
    filesystem = None if isinstance(tunes.filesystem, fs.LocalFileSystem) else tunes.filesystem
    metrics = ("accuracy", *(name for name in sweep.objectives if name != "accuracy"))

    def begin() -> Any:
        searcher = None if phase.searcher is None else phase.searcher()
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
                search_alg=OneAtATime(searcher) if searcher is not None and looked_up else searcher,
                num_samples=phase.proposals or 1,
                max_concurrent_trials=at_once or None,
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
        if tuner._local_tuner is not None:
            tuner._local_tuner.get_run_config().callbacks = callbacks
        return tuner

    def fit() -> Any:
        prepare_state(tunes.child(phase.name), sweep.name, phase.name)
        return run_or_resume(tunes, phase.name, sweep.name, begin=begin, resume=resume)

    with memory_kills_are_failures():
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


def _tune_environment() -> dict[str, str]:
    """What Tune reads from the environment of the process in which it runs."""
    return {
        # Its loggers would write the same figures three times over for every trial.
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        # Its other way of printing says things even where it is told to say nothing.
        "RAY_AIR_NEW_OUTPUT": "0",
        # What is measured at the end, and what is refused for its cost, lacks objectives on the way.
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        # Failures are said in one line; their tracebacks are in the trials' folders.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        # Ctrl-C comes to us as SIGTERM does (stopping.py).
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # That every second checkpoint writes Tune's state is what makes a driver's end cheap.
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }


def _callbacks(sweep: Sweep, storage: Storage, phase: Phase) -> list[Any]:
    """What is told of a phase's trials, beside the searcher and the scheduler."""
    from nasray.sweeps.journal import OptunaJournal
    from nasray.sweeps.losses import Losses
    from nasray.sweeps.metrics import Metrics, arm_of
    from nasray.sweeps.progress import Events, Progress
    from nasray.sweeps.tracked import Tracked

    total = len(phase.trials) or phase.proposals
    shared = phase.shared or None
    looked_up = phase.kind == "trainings" and sweep.table is not None
    callbacks: list[Any] = [
        Losses(sweep.name),
        Progress(phase.kind, total),
        Events(sweep.name, phase.kind, str(storage)),
        Metrics(
            sweep.name,
            sweep.dataset,
            phase.kind,
            {arm_of(shared): total} if shared else Counter(arm_of(trial) for trial in phase.trials),
            storage,
            budget=sweep.budget,
            fidelity=sweep.fidelity,
            one_stage_epochs=None if sweep.table else sweep.evaluation.epochs,
            watched=not looked_up,
        ),
    ]
    callbacks += [Tracked(one, sweep.name, phase.name, storage, shared) for one in sweep.trackers if one != "optuna"]
    folder = local_folder(storage)
    if "optuna" in sweep.trackers and shared and folder is not None:
        journal = OptunaJournal(
            sweep.name,
            phase.name,
            folder / "tune" / "optuna.journal",
            space=shared["found"]["space"],
            cells=shared["cells"],
            objectives=sweep.objectives,
            epochs=phase.rungs[-1],
            budget=sweep.budget,
        )
        callbacks.append(journal)
    return callbacks


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Whether Tune says something that we do not: which trials failed is in the outcome of the run."""
    return not record.getMessage().startswith("Trials did not complete")


def _trial_name(trial: Any) -> str:
    known = trial.config.get("trial")
    return str(trial.trial_id if known is None else known["name"])


def _answers(address: str) -> None:
    """Raise OSError where nothing listens at a host and port: Ray would wait for minutes, and then end the process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """A connection to Ray: the one there is, the cluster at an address, or a Ray of our own on this machine."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # Through a Ray Client, Tune runs on the cluster's head. A driver that is killed must not leave it there for long:
    # the same command, run again, would find it at work.
    os.environ.setdefault("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "5")
    # A sweep's objects are small: the store takes what its smallest size is, not a third of the memory.
    own: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": True} if address == "local" else {}
    try:
        _answers(address)
        if "://" in address:  # Tune then runs in a process of the cluster's head: that one says how far it is
            own = {"log_to_driver": True, "runtime_env": {"env_vars": _tune_environment()}}
        with handlers_kept(), loopback_only() if address == "local" else nullcontext():
            context = ray.init(**{"address": address, "log_to_driver": False, "logging_level": logging.ERROR, **own})
    except Exception as error:  # Ray raises plain ones where a process of its own does not come up
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = lines[-1] if lines[0].endswith(":") else lines[0]
        raise InvalidInput(f"address {address!r} ({reason}): accepted is that of a running Ray cluster") from None
    if context.dashboard_url:
        print(f"dashboard: http://{context.dashboard_url}", file=sys.stderr)
    try:
        yield
    finally:
        ray.shutdown()
