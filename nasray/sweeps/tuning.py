"""Phases of a run: trials under Ray Tune, run once or gone on with."""

from __future__ import annotations

import logging
import os
import sys
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
from nasray.sweeps.secrets import keep_secrets
from nasray.sweeps.sweep import Sweep

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
    session.enter_context(_ray(sweep.address))
    failures = _tune(sweep, storage, phase)
    check_lease(storage, look=True)
    if not failures:
        # Written after the last row: from here on the phase needs neither Ray nor its checkpoints.
        storage.write_json(done, {"trials": len(phase.trials) or phase.proposals, "failures": []})
    return failures


def _tune(sweep: Sweep, storage: Storage, phase: Phase) -> tuple[str, ...]:
    # Tune's loggers would write the same figures three times over for every trial.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Tune's other way of printing says things even where it is told to say nothing.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # What is measured at the end, and what is refused for its cost, lacks objectives on the way.
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    from ray import tune

    from nasray.sweeps.pareto_asha import ParetoASHA
    from nasray.sweeps.progress import Events, Progress
    from nasray.sweeps.trainables import FAILED, EvaluationTrainable, SearchTrainable
    from nasray.sweeps.tune_state import run_or_resume

    keep_secrets()
    trainable: Any = SearchTrainable if phase.kind == "searches" else EvaluationTrainable
    if phase.searcher is not None:
        trainable = tune.with_parameters(trainable, shared=dict(phase.shared))
    trainable = tune.with_resources(trainable, {"cpu": sweep.cpus_per_trial, "gpu": sweep.gpus_per_trial})
    param_space = {"trial": tune.grid_search(list(phase.trials))} if phase.trials else None
    # Tune is given the file system, not the URI, to which it could not append the names of its folders.
    tunes = storage.child("tune")
    filesystem = None if isinstance(tunes.filesystem, fs.LocalFileSystem) else tunes.filesystem
    metrics = ("accuracy", *(name for name in sweep.objectives if name != "accuracy"))

    def begin() -> Any:
        return tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(
                search_alg=None if phase.searcher is None else phase.searcher(),
                num_samples=phase.proposals or 1,
                scheduler=ParetoASHA(
                    metrics,
                    [OBJECTIVES[name] for name in metrics],
                    time_attr=EPOCH,
                    rungs=phase.rungs,
                    reduction_factor=sweep.reduction_factor,
                )
                if len(phase.rungs) > 1
                else None,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=phase.name,
                storage_path=tunes.base,
                storage_filesystem=filesystem,
                verbose=0,
                callbacks=[
                    Progress(phase.kind, len(phase.trials) or phase.proposals),
                    Events(sweep.name, phase.kind),
                ],
                failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
                # What is looked up need not be taken up again.
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=0 if sweep.table and phase.kind == "trainings" else 1, num_to_keep=2
                ),
            ),
        )

    def resume() -> Any:
        return tune.Tuner.restore(
            f"{tunes.base}/{phase.name}",
            trainable,
            resume_unfinished=True,
            resume_errored=True,
            param_space=param_space,
            storage_filesystem=filesystem,
        )

    results = run_or_resume(tunes, phase.name, sweep.name, begin=begin, resume=resume)
    failures = []
    for result in (results[i] for i in range(len(results))):
        name = os.path.basename(result.path)
        given_up = (result.metrics or {}).get(FAILED)
        if result.error is not None:
            reason = str(result.error).strip().splitlines()[-1]
            failures.append(f"trial {name} failed {sweep.max_failures + 1} times: {reason}")
        elif given_up:
            failures.append(f"trial {name}: {given_up}")
    return tuple(sorted(failures))


def _trial_name(trial: Any) -> str:
    known = trial.config.get("trial")
    return str(trial.trial_id if known is None else known["name"])


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """A connection to Ray: the one there is, the cluster at an address, or a Ray of our own on this machine."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # A sweep's objects are small: the store takes what its smallest size is, not a third of the memory.
    own: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": True} if address == "local" else {}
    try:
        with loopback_only() if address == "local" else nullcontext():
            context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray raises plain ones where a process of its own does not come up
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InvalidInput(f"address {address!r} ({reason}): accepted is that of a running Ray cluster") from None
    if context.dashboard_url:
        print(f"dashboard: http://{context.dashboard_url}", file=sys.stderr)
    try:
        yield
    finally:
        ray.shutdown()
