"""One training from scratch by several workers, each with a GPU of its own, in one trial: Ray Train's TorchTrainer.

The trial's process holds the state of the training, and has no GPU. For each epoch it starts a group of workers, gives
them the state, and takes it back: so rows, checkpoints, schedulers and resuming are those of any other training, and a
worker that dies costs an epoch. The start of a group takes seconds (docs/placement.md); networks that need several
GPUs train for minutes an epoch.

Workers stand in a placement group of their own, which Ray Train makes: all of a group's or none. The trial itself asks
for (next to) nothing, so that waiting trials cannot keep workers from their cores, and as many trials run at once as
the cluster has room for groups.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch

from nasray import registry
from nasray.costs import Latency
from nasray.errors import InvalidInput, NonFiniteLoss, message
from nasray.training.workers import Workers
from nasray.trials.evaluation import Evaluation, EvaluationConfig
from nasray.tune.resources.room import Node, places

RETRIES = 2
"""How often an epoch is begun again whose workers were lost, before the trial fails."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The workers of one training."""

    workers: int
    cpus: float
    """CPU cores of each worker."""
    gpus: float
    """GPUs of each worker."""

    @property
    def resources(self) -> dict[str, float]:
        """Resources of each worker, as Ray names them."""
        asked = {"CPU": self.cpus, "GPU": self.gpus}
        return {name: count for name, count in asked.items() if count}

    def at_once(self, nodes: Sequence[Node]) -> int:
        """How many groups nodes have room for, and one at least."""
        return max(1, places(nodes, self.resources) // self.workers)


class DistributedEvaluation(Evaluation):
    """An evaluation whose epochs run on a group of workers.

    Args:
        config: what to train.
        group: its workers.
        folder: where Ray Train may keep what it has to say, which every node sees.
        name: of the trial.
        rungs: epochs after which its latency is measured, as after the last.
        say: takes level, event and fields of what a person should know of.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        group: Group,
        folder: str,
        name: str,
        rungs: Sequence[int],
        say: Callable[..., None],
    ) -> None:
        super().__init__(config, device="cpu")
        self._group, self._folder, self._name, self._rungs, self._say = group, folder, name, list(rungs), say
        self._last: dict[str, Any] = {}

    def run_epoch(self) -> dict[str, float]:
        """One epoch on the workers, with latency there at a rung, and once all are done test accuracy too.

        Raises:
            NonFiniteLoss: as in an evaluation by one process.
        """
        for failures in range(RETRIES + 1):
            try:
                self._last = self._on_workers()
                break
            except Exception as error:
                if failures == RETRIES or not lost(error):
                    raise
                why = message(next(iter(_failures(error).values())))
                self._say("warning", "workers_lost", epoch=self.epoch + 1, times=failures + 1, reason=why)
        if self._last["not_finite"] is not None:
            raise NonFiniteLoss(self._last["not_finite"])
        self.load_state_dict(torch.load(io.BytesIO(self._last["state"]), map_location="cpu", weights_only=True))
        metrics: dict[str, float] = json.loads(self._last["metrics"])
        return metrics

    @property
    def hardware(self) -> str:
        """What the workers have."""
        return f"{self._group.workers} x {self._last['hardware']}"

    def test_accuracy(self) -> float:
        """As the workers found it after the last epoch."""
        return float(self._last["test_accuracy"])

    def latency(self) -> Latency | None:
        """As the first worker found it after this epoch."""
        latency = self._last["latency"]
        return None if latency is None else Latency(**json.loads(latency))

    def _on_workers(self) -> dict[str, Any]:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        state = io.BytesIO()
        torch.save(self.state_dict(), state)
        trainer: Any = TorchTrainer(
            epoch_of_worker,  # type: ignore[arg-type]  # gives something, which the annotation forgot
            train_loop_config={
                "evaluation": self.config.to_dict(),
                "values": [ray.put(registry.values_of([self.config.space, self.config.dataset]))],
                "state": [ray.put(state.getvalue())],  # in a list: a bare reference would be fetched for us
                "rungs": self._rungs,
            },
            scaling_config=ScalingConfig(
                num_workers=self._group.workers,
                use_gpu=self._group.gpus > 0,
                resources_per_worker=self._group.resources,
            ),
            run_config=RunConfig(
                name=f"{self._name}-workers", storage_path=self._folder, failure_config=FailureConfig(max_failures=0)
            ),
        )
        given: dict[str, Any] | None = getattr(trainer.fit(), "return_value", None)
        if given is None:
            raise InvalidInput("Several workers need version 2 of Ray Train: unset RAY_TRAIN_V2_ENABLED.")
        return given


def epoch_of_worker(config: dict[str, Any]) -> dict[str, Any]:
    """Runs in every worker: one epoch from a state; what the first one gives is what the trial gets.

    Nothing in it is a tensor, which Ray Train does not hand on.
    """
    import ray.train
    from ray.train.torch import get_device

    context = ray.train.get_context()
    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # each worker of a node sees the GPUs of all
    workers = Workers(rank=context.get_world_rank(), count=context.get_world_size())
    registry.keep(ray.get(config["values"][0]))
    evaluation = Evaluation(EvaluationConfig.of(config["evaluation"]), device=str(device), workers=workers)
    before = io.BytesIO(ray.get(config["state"][0]))
    evaluation.load_state_dict(torch.load(before, map_location="cpu", weights_only=True))
    given: dict[str, Any] = {"not_finite": None, "hardware": evaluation.hardware}
    try:
        given["metrics"] = json.dumps(evaluation.run_epoch())
        if evaluation.finished:
            given["test_accuracy"] = evaluation.test_accuracy()
    except NonFiniteLoss as error:  # by sums over all workers: every one comes here
        return {**given, "not_finite": str(error)}
    if workers.rank > 0:
        return {}
    compared = evaluation.finished or evaluation.epoch in config["rungs"]
    latency = evaluation.latency() if compared else None
    given["latency"] = None if latency is None else json.dumps(vars(latency))
    after = io.BytesIO()
    torch.save(evaluation.state_dict(), after)
    return {**given, "state": after.getvalue()}


def lost(error: Exception) -> bool:
    """Whether an error of Ray Train says that workers died, and not that what they ran failed.

    The surviving workers then fail too, since they wait for the one that died.
    """
    from ray.exceptions import RayActorError

    # A failed health check is an exception whose class is not public: it is known by what it holds.
    found = _failures(error).values()
    return any(isinstance(one, RayActorError) or hasattr(one, "health_check_failure") for one in found)


def _failures(error: Exception) -> dict[int, Exception]:
    from ray.train import WorkerGroupError

    return dict(error.worker_failures) if isinstance(error, WorkerGroupError) else {}
