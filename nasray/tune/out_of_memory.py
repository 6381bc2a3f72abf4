"""Trials that run out of memory are tried again with more: a larger share of the GPU, or fewer trials beside them.

Tune gives a trial that failed the resources that it had. Here it gets more, from its last checkpoint on: where the
GPU's memory was short twice its share, up to a whole GPU; where the node's was, twice the cores, the further ones being
left idle, so that fewer trials run beside it and it still computes with the threads that it had. Such a retry does not
count as a failure, for it cannot go on for ever; once there is no more to give, it does.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import ray
import torch
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from nasray.runs.events import say

_RECORD = "nasray_resources"
"""Attribute of a trial that holds the resources that it was given beyond the others': Tune keeps it with the trial."""

Memory = Literal["gpu", "host"]

_SHORT_OF_GPU = ("torch.OutOfMemoryError", "CUDA out of memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
_SHORT_OF_HOST = ("DefaultCPUAllocator: can't allocate", "\nMemoryError")
"""What errors say for want of memory that have no class of their own."""


class KilledForMemory(RayActorError):
    """A trial's process that Ray's memory monitor killed, as a failure of its actor."""

    def __init__(self, message: str) -> None:
        super().__init__(error_msg=message)


class MoreMemory(FIFOScheduler):
    """A scheduler that gives a trial which ran out of memory more of it, and leaves all else to another.

    Args:
        base: the other one.
        run: name of the run, for events.
    """

    def __init__(self, base: TrialScheduler, run: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.base = base
        self.run = run

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give a trial of a resumed run what it had been given."""
        record = getattr(trial, _RECORD, None)
        if record:
            now = _with(trial.placement_group_factory, **record)
            if now != trial.placement_group_factory:
                trial.update_resources(now)
        self.base.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Give a trial that is tried again more memory where it was short of that.

        Tune calls this between taking the trial out and putting it back into its queues, which go by resources: at no
        other moment can these change.
        """
        short = short_of(last_error(trial))
        if short is not None and trial.status == Trial.ERROR:
            self._enlarge(trial, short)
        elif short is not None:
            say("error", "out_of_memory", run=self.run, trial=str(trial), memory=short, resources=_described(trial))
        self.base.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """As the base does."""
        return str(self.base.on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """As the base does."""
        self.base.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """As the base does."""
        self.base.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """As the base does."""
        return self.base.choose_trial_to_run(tune_controller)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """As the base does."""
        return bool(self.base.set_search_properties(metric, mode, **spec))

    def debug_string(self) -> str:
        """As the base does."""
        return str(self.base.debug_string())

    def _enlarge(self, trial: Any, short: Memory) -> None:
        before = _described(trial)
        record = _larger(trial.placement_group_factory, short)
        if record is None:
            said = {"resources": before, "reason": "has all that there is"}
        else:
            setattr(trial, _RECORD, {**getattr(trial, _RECORD, {}), **record})
            trial.update_resources(_with(trial.placement_group_factory, **getattr(trial, _RECORD)))
            # It was counted a moment ago; more memory is no repetition of what failed.
            trial.run_metadata.num_failures -= 1
            trial.run_metadata.invalidate_cache()
            said = {"resources": before, "next": _described(trial)}
        say("warning", "out_of_memory", run=self.run, trial=str(trial), memory=short, **said)


def memory_kills_are_failures() -> None:
    """From now on in this process, let a trial whose worker Ray's memory monitor kills fail as one whose worker dies.

    Tune 2.60 knows of two errors of a trial, those of its task and those of its actor. Ray reports the kill as a third,
    OutOfMemoryError, at which Tune ends the whole run ("Caught unexpected exception"). Here it is made the second.
    """
    manager_class: Any = RayActorManager
    # At work, and while it starts: there Tune takes the error, but notes it nowhere.
    for name in ("_actor_task_failed", "_actor_start_failed"):
        original = getattr(manager_class, name)
        if not hasattr(original, "__wrapped__"):
            setattr(manager_class, name, _failing(original))


def _failing(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def failed(manager: Any, *, exception: Exception, **of: Any) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = KilledForMemory(str(exception))
        original(manager, exception=exception, **of)

    return failed


def short_of(error: BaseException | None) -> Memory | None:
    """Which memory an error says was short; None where it says nothing of it."""
    if isinstance(error, KilledForMemory | OutOfMemoryError):
        return "host"
    # What fails while an actor is made comes as the actor's error, which has its traceback as text.
    cause = error.cause if isinstance(error, RayTaskError) else error
    text = str(cause)
    if isinstance(cause, torch.OutOfMemoryError) or any(sign in text for sign in _SHORT_OF_GPU):
        return "gpu"
    return "host" if isinstance(cause, MemoryError) or any(sign in text for sign in _SHORT_OF_HOST) else None


def last_error(trial: Any) -> BaseException | None:
    """What Tune noted of a trial's failure, a moment ago, in this driver's own folder for the session."""
    noted = trial.pickled_error_file
    if noted is None or not Path(noted).exists():
        return None
    error = pickle.loads(Path(noted).read_bytes())
    return error if isinstance(error, BaseException) else None


def _larger(resources: PlacementGroupFactory, short: Memory) -> dict[str, float] | None:
    """What to enlarge, and to what; None where it is as large as it can be."""
    head = resources.bundles[0]
    if short == "gpu":
        gpus = head.get("GPU", 0.0)
        return {"gpus": min(1.0, 2 * gpus)} if 0 < gpus < 1 else None
    cores = sum(bundle.get("CPU", 0.0) for bundle in resources.bundles)
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    largest = max((node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]), default=0.0)
    wanted = min(2 * cores, largest)
    return {"idle_cpus": wanted - head.get("CPU", 0.0)} if wanted > cores else None


def _with(resources: PlacementGroupFactory, gpus: float = 0.0, idle_cpus: float = 0.0) -> PlacementGroupFactory:
    """The resources with no less than these; what is idle lies on the trial's own node."""
    head = dict(resources.bundles[0])
    if gpus > head.get("GPU", 0.0):
        head["GPU"] = gpus
    if not idle_cpus:
        return PlacementGroupFactory([head])
    return PlacementGroupFactory([head, {"CPU": idle_cpus}], strategy="STRICT_PACK")


def _described(trial: Any) -> str:
    head, *others = trial.placement_group_factory.bundles
    idle = sum(bundle.get("CPU", 0.0) for bundle in others)
    told = f"{head.get('CPU', 0.0):g} CPUs, {head.get('GPU', 0.0):g} GPUs"
    return f"{told}, {idle:g} CPUs idle beside it" if idle else told
