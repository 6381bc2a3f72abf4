"""The weights' side of training: losses, optimiser, schedule, accuracy. The same for supernets and target networks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nasray.errors import NonFiniteLoss
from nasray.gates import Gates
from nasray.networks import Batch, Network
from nasray.networks.eager import step
from nasray.settings import TrainingSettings
from nasray.training.tasks import Task
from nasray.training.workers import Workers

_OF_SETTINGS = ("weight_decay", "momentum", "nesterov")
"""What a group of the optimiser's has of the settings; its learning rate is set anew in every epoch."""


class NetworkLearner:
    """Trains a network's weights by SGD with momentum, plain or Nesterov's, weight decay and gradient clipping.

    Losses and hits are summed on the device and read once an epoch: no step waits for the device.
    """

    def __init__(
        self, network: Network, task: Task, settings: TrainingSettings, workers: Workers | None = None
    ) -> None:
        self.network = network
        network.precision = torch.bfloat16 if settings.precision == "bf16" else None
        network.recompute_cells = settings.recompute_cells
        self.workers = workers
        """The processes that train it together, where it is not this one alone."""
        self.weights: list[nn.Parameter] = list(network.parameters())
        self._task = task
        self._settings = settings
        # Two groups whatever the decay is: a state then fits settings with another one.
        self._optimizer = torch.optim.SGD(
            [
                {"params": [one for one in self.weights if self._decays(one) is decays], "weight_decay": decay}
                for decays, decay in ((True, settings.weight_decay), (False, 0.0))
            ],
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            fused=True,
        )
        # Zero is where momentum starts from. Were it left to the first gradients, a later step could meet weights with
        # and without a buffer, for operations begin to be computed at any time: the fused step cannot take both.
        for weight in self.weights:
            self._optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        device = self.weights[0].device
        self._loss_sum = torch.zeros((), device=device)
        self._hits = torch.zeros((), device=device)
        self._examples = torch.zeros((), device=device, dtype=torch.int64)

    @property
    def learning_rate(self) -> float:
        """Learning rate of this epoch."""
        rate: float = self._optimizer.param_groups[0]["lr"]
        return rate

    def start_epoch(self, epoch: int, epochs: int | None = None) -> None:
        """Set learning rate and drop path of an epoch, counted from 0, and forget the last one's sums.

        Args:
            epoch: of the schedule.
            epochs: length of the schedule; None is that of the settings.
        """
        epochs = self._settings.epochs if epochs is None else epochs
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._settings, epoch, epochs)
        self.network.drop_path = self._settings.drop_path * epoch / epochs
        self.network.dropout = self._settings.classifier_dropout
        self.network.train()
        self._loss_sum.zero_()
        self._hits.zero_()
        self._examples.zero_()

    def loss(self, batch: Batch, gates: Sequence[Gates] | None = None) -> Tensor:
        """Mean loss of a batch, with the auxiliary head's share (a scalar)."""
        inputs, targets = batch
        outputs, auxiliary = self.network.forward_with_auxiliary(inputs, gates)
        loss = self._task.loss(outputs, targets, self._settings.label_smoothing)
        with torch.no_grad():
            self._loss_sum += loss * len(targets)
            self._hits += self._task.correct(outputs, targets)
            self._examples += len(targets)
        if auxiliary is not None:
            share = self._task.loss(auxiliary, targets, self._settings.label_smoothing)
            loss = loss + self._settings.auxiliary_weight * share
        return loss

    def update(self) -> None:
        """Clip the gradients that the weights have, make one step, clear them.

        Weights of operations that were not computed have no gradient, and are left as they are.
        """
        if self.workers is not None:
            self.workers.sum_gradients(self.weights)
        nn.utils.clip_grad_norm_(self.weights, self._settings.gradient_clip)
        step(self._optimizer)
        self._optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def lookahead(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """The weights after a step of plain SGD with momentum and decay, without taking it."""
        ahead = []
        for weight, gradient in zip(self.weights, gradients, strict=True):
            if gradient is None:
                ahead.append(weight.detach().clone())
                continue
            decayed = gradient + self._decay(weight) * weight
            buffer = self._optimizer.state[weight].get("momentum_buffer")
            velocity = decayed if buffer is None else decayed + self._settings.momentum * buffer
            step = decayed + self._settings.momentum * velocity if self._settings.nesterov else velocity
            ahead.append(weight - self.learning_rate * step)
        return ahead

    def _decay(self, weight: Tensor) -> float:
        return self._settings.weight_decay if self._decays(weight) else 0.0

    def _decays(self, weight: Tensor) -> bool:
        # Normalisations and biases are the weights of one dimension.
        return weight.ndim > 1 or self._settings.decay_normalisations

    def finish_epoch(self) -> tuple[float, float]:
        """Mean loss and accuracy (0 to 1) over all losses since the epoch began.

        Raises:
            NonFiniteLoss: some loss was infinite or not a number.
        """
        loss_sum, hits, examples = self._loss_sum, self._hits, self._examples
        if self.workers is not None:
            loss_sum, hits, examples = self.workers.sum(loss_sum, hits, examples)
            self.workers.average_statistics(self.network)
        loss = float(loss_sum) / max(int(examples), 1)
        if not math.isfinite(loss):
            raise NonFiniteLoss(f"the training loss became {loss} at a learning rate of {self.learning_rate:g}")
        return loss, float(hits) / max(int(examples), 1)

    def accuracy(self, batches: Iterable[Batch], gates: Sequence[Gates] | None = None) -> float:
        """Accuracy (0 to 1) over batches, by the network in evaluation mode.

        Raises:
            NonFiniteLoss: some output was infinite or not a number, as after a last step that no loss has seen.
        """
        return accuracy_of(self.network, self._task, batches, gates, self.workers)

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser, as tensors and plain values."""
        return {"network": self.network.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave: weights and momenta.

        Weight decay and momentum stay as the settings say, with whatever settings the state came to be.
        """
        own = [{name: group[name] for name in _OF_SETTINGS} for group in self._optimizer.param_groups]
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        for group, values in zip(self._optimizer.param_groups, own, strict=True):
            group.update(values)


@torch.no_grad()
def accuracy_of(
    network: Network,
    task: Task,
    batches: Iterable[Batch],
    gates: Sequence[Gates] | None = None,
    workers: Workers | None = None,
) -> float:
    """Accuracy (0 to 1) of a network over batches, of which workers have their parts; it is left in evaluation mode.

    Raises:
        NonFiniteLoss: some output was infinite or not a number.
    """
    network.eval()
    device = next(network.parameters()).device
    hits, examples = torch.zeros((), device=device), 0
    finite = torch.ones((), dtype=torch.bool, device=device)
    for inputs, targets in batches:
        outputs = network(inputs, gates)
        hits += task.correct(outputs, targets)
        finite &= outputs.isfinite().all()
        examples += len(targets)
    if workers is not None:
        hits, all_examples, infinite = workers.sum(hits, torch.tensor(examples, device=device), ~finite)
        examples, finite = int(all_examples), infinite == 0
    if not finite:
        raise NonFiniteLoss("the network's outputs are not finite")
    return float(hits) / max(examples, 1)


def learning_rate(settings: TrainingSettings, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch, counted from 0: a linear warm-up, then the schedule down to its minimum."""
    start, end = settings.learning_rate, settings.learning_rate_min
    if epoch < settings.warmup_epochs:
        return start * (epoch + 1) / settings.warmup_epochs
    done = (epoch - settings.warmup_epochs) / max(epochs - settings.warmup_epochs, 1)
    match settings.schedule:
        case "cosine" | "cosine_restarts":
            if settings.schedule == "cosine_restarts":
                done = _since_restart(epoch - settings.warmup_epochs, settings.restart_epochs)
            return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
        case "linear":
            return start + (end - start) * done
        case "constant":
            return start


def _since_restart(epoch: int, period: int) -> float:
    """Share that has passed of the period an epoch is in; periods double."""
    while epoch >= period:
        epoch -= period
        period *= 2
    return epoch / period


@torch.no_grad()
def recalibrate(network: nn.Module, run: Iterable[Batch], gates: Sequence[Gates] | None) -> None:
    """Replace the running statistics of every batch normalisation by the plain averages over some batches."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    network.train()
    for inputs, _ in run:
        network(inputs, gates)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
