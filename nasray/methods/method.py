"""What a search method is: it owns the architecture parameters and turns them into gates.

A method knows no module of the supernet, and the supernet no method: between them stand gates, and the
:class:`Learner` that gives the loss of a batch under gates and updates the weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from nasray.costs import CostTable, cost_table
from nasray.gates import Gates, Mask
from nasray.networks import Batch, Needs
from nasray.networks.eager import step
from nasray.settings import Range, TrainingSettings
from nasray.spaces import Architecture, CellSpace, NetworkSize


@dataclass(frozen=True)
class Problem:
    """What a method searches in."""

    space: CellSpace
    size: NetworkSize
    """Size of the supernet."""
    evaluation_size: NetworkSize
    """Size of the networks whose cost counts."""
    seed: int
    budget: float | None = None
    """Most multiply-adds (M) at the evaluation size that what is found should have, for methods that can aim at it;
    what others find is made narrower."""

    @property
    def layout(self) -> tuple[str, ...]:
        """Cell name at every position of the supernet."""
        return self.space.layout(self.size.cells)

    @property
    def costs(self) -> CostTable:
        """Costs at the size of the supernet."""
        return cost_table(self.space, self.size)

    @property
    def evaluation_costs(self) -> CostTable:
        """Costs at the size at which architectures are evaluated."""
        return cost_table(self.space, self.evaluation_size)


class Learner(Protocol):
    """The weights' side of a search step."""

    @property
    def weights(self) -> list[nn.Parameter]:
        """The supernet's weights."""

    def loss(self, batch: Batch, gates: Sequence[Gates]) -> Tensor:
        """Task loss of a batch, a scalar, the auxiliary head's included."""

    def update(self) -> None:
        """Clip the weights' gradients, make one optimiser step with them and clear them."""

    def lookahead(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """What the weights would be after a step with these gradients."""

    @property
    def learning_rate(self) -> float:
        """Learning rate of the weights in this epoch."""


@dataclass(frozen=True)
class CostKnob:
    """The one setting by which a method is made to find cheaper or dearer architectures, where a front is filled."""

    name: str
    within: Range
    """Values that it is given: from nothing pruned to all that can be, also of searches shorter than published."""
    falls: bool
    """Whether the cost falls as the setting rises."""


@dataclass(frozen=True)
class EpochEnd:
    """What a method says after an epoch."""

    finished: bool = False
    architectures: tuple[Architecture, ...] = ()
    """Architectures that it gives at this moment; the last one of a search is added at the end."""


class SearchMethod(nn.Module, ABC):
    """One paper.

    Architecture parameters are ``nn.Parameter`` and other tensors are buffers, so they are saved with the search;
    anything else that changes goes into ``get_extra_state`` as plain values.
    """

    Config: ClassVar[type[TrainingSettings]]
    """The settings of a search by this method, with the paper's values as defaults."""
    architecture_fraction: ClassVar[float] = 0.0
    """Share of the training examples kept for the architecture parameters; 0 where one level uses all for both."""
    shrunk_by: ClassVar[tuple[str, ...]] = ()
    """Settings that, raised, give smaller architectures, of a method that may also prune nothing at all."""

    replayable: ClassVar[bool] = False
    """Whether the steps of an epoch launch the same on a GPU, whatever the numbers: then they are replayed. They wait
    for no number and change nothing but tensors, in place; what is before and after an epoch's steps may."""

    cost_knob: ClassVar[CostKnob | None] = None
    """What moves the cost of its final architecture; None where nothing of its own does."""

    def __init__(self, config: TrainingSettings, problem: Problem) -> None:
        super().__init__()
        self.config = config
        self.problem = problem
        self.optimizer: torch.optim.Optimizer | None = None
        """Optimizer of the architecture parameters; saved with the search."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not {"step", "gates", "penalty"}.isdisjoint(vars(cls)) and "replayable" not in vars(cls):
            cls.replayable = False  # what its base class says does not hold for steps of its own

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """Why the method cannot search a space; None where it can."""
        if any(graph.node_operations for graph in space.cells.values()):
            return "its nodes carry operations, and the method chooses those of edges"
        return None

    @property
    def needs(self) -> Needs:
        """What the method asks of the supernet."""
        return Needs()

    @abstractmethod
    def gates(self) -> list[Gates]:
        """The gates of every cell position, differentiable in the architecture parameters."""

    def penalty(self, gates: Sequence[Gates]) -> Tensor | float:
        """What is added to the loss of the architecture parameters."""
        return 0.0

    @abstractmethod
    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """One update of weights and architecture parameters.

        Args:
            learner: gives losses, updates weights.
            batch: for the weights.
            architecture_batch: for the architecture parameters; None for methods of one level.
        """

    def start_epoch(self, epoch: int) -> None:
        """Called before the steps of an epoch, which count from 0."""

    def schedule_epoch(self, epoch: int) -> tuple[int, int]:
        """Where an epoch stands in the schedule of learning rate and drop path: (epoch, of how many)."""
        return epoch, self.config.epochs

    def trainable_affine(self) -> list[Mask] | None:
        """For every cell position the (edges, operations) whose affine normalisations are trained in this epoch.

        None is all of them, always.
        """
        return None

    @classmethod
    def trained_epochs(cls, config: TrainingSettings) -> int:
        """For how many epochs the supernet is trained as the target network that, under the last gates, it is.

        Then an architecture inherits the gates with the weights, and they are absorbed into its normalisations at the
        end. 0: it inherits the weights alone, and is trained from scratch.
        """
        return 0

    def end_epoch(self, epoch: int) -> EpochEnd:
        """Called after the steps of an epoch; here the architecture is pruned, projected, recovered."""
        return EpochEnd()

    @abstractmethod
    def architecture(self) -> Architecture:
        """The architecture that would be derived now."""

    def metrics(self) -> dict[str, float]:
        """Figures of the method's own to report after an epoch."""
        return {}

    def get_extra_state(self) -> dict[str, Any]:
        """Plain values to save with the search."""
        return {}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`get_extra_state` gave."""


def joint_step(method: SearchMethod, learner: Learner, batch: Batch) -> None:
    """One level: weights and architecture parameters from the same backward pass."""
    assert method.optimizer is not None
    gates = method.gates()
    loss = learner.loss(batch, gates) + method.penalty(gates)
    method.optimizer.zero_grad()
    torch.autograd.backward(loss)
    step(method.optimizer)
    learner.update()


def first_order_step(method: SearchMethod, learner: Learner, batch: Batch, architecture_batch: Batch) -> None:
    """Two levels: architecture parameters on their batch with the weights as they are, then the weights."""
    gates = method.gates()
    loss = architecture_loss(learner, architecture_batch, gates) + method.penalty(gates)
    update_architecture(method, gradients(method, loss))
    weight_step(method, learner, batch)


def architecture_loss(learner: Learner, batch: Batch, gates: Sequence[Gates]) -> Tensor:
    """The loss of a batch as a function of the gates alone: nothing is kept for the gradients of the weights."""
    trained = [weight for weight in learner.weights if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        return learner.loss(batch, gates)
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def gradients(method: SearchMethod, loss: Tensor) -> list[Tensor | None]:
    """Gradients of a loss in the architecture parameters alone: the weights' share is not computed."""
    return list(torch.autograd.grad(loss, list(method.parameters()), allow_unused=True))


def update_architecture(method: SearchMethod, gradients: Sequence[Tensor | None]) -> None:
    """One optimiser step of the architecture parameters with given gradients."""
    assert method.optimizer is not None
    for parameter, gradient in zip(method.parameters(), gradients, strict=True):
        parameter.grad = gradient
    step(method.optimizer)
    method.optimizer.zero_grad()


def weight_step(method: SearchMethod, learner: Learner, batch: Batch) -> None:
    """One step of the weights under the method's gates."""
    with torch.no_grad():
        gates = method.gates()
    torch.autograd.backward(learner.loss(batch, gates))
    learner.update()
