"""GOLD-NAS.

K. Bi, L. Xie, X. Chen, L. Wei, Q. Tian, "GOLD-NAS: Gradual, One-Level, Differentiable", arXiv:2007.03331; settings
of sunsmarterjie/GOLD_NAS, which calls itself unofficial. Every (edge, operation) of every cell has a sigmoid gate
of its own; weights and gates are trained on the same batches with a resource penalty whose strength grows while
little is pruned and falls while much is. One search passes through a series of ever smaller architectures, and gives
each at which it rested. methods.md 3.2 to 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.gates import Gates, architecture_of, candidate_mask, strongest_on_edges
from nasray.methods.method import CostKnob, EpochEnd, Learner, Problem, SearchMethod, joint_step
from nasray.networks import Batch
from nasray.settings import Range, Schedule, TrainingSettings, knob, setting
from nasray.spaces import Architecture, CellSpace

STOP_SHARE = 240 / 777.025152
"""Of the largest network's multiply-adds, below which a search ends by default: on CIFAR-10, 240 M of the released
code."""


class GoldNAS(SearchMethod):
    """Sigmoid gates, one level, gradual pruning."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings of the released code; its AutoAugment is not among the augmentations yet."""

        epochs: int = setting(200, low=1)
        """Most epochs (our choice: the released search has no limit); it ends earlier once below ``stop_macs``."""
        batch_size: int = setting(96, low=2)
        learning_rate: float = setting(0.01, low=0.0)
        schedule: Schedule = "constant"
        auxiliary_weight: float = setting(0.4, low=0.0)
        augmentation: str = "cutout"
        architecture_learning_rate: float = setting(1.0, low=0.0)
        """Learning rate of SGD with momentum 0.9."""
        lambda0: float = knob(1e-5, 1e-7, 1.0, log=True)
        """The increment of the penalty's strength starts here, and returns here after an epoch that pruned enough."""
        growth: float = setting(2.0, low=1.0)
        """c0: the increment's factor after an epoch that pruned little, the strength's divisor after another."""
        prune_per_epoch: int = setting(4, low=1)
        """n0: rounds of pruning in an epoch, and how many pruned operations are enough for one."""
        share_min: float = setting(0.01, low=0.0, high=1.0)
        """eta_min: operations with at most this share of their node are pruned at once."""
        share_max: float = setting(0.05, low=0.0, high=1.0)
        """eta_max: one operation a round is pruned up to this share."""
        uniform: float = setting(1.0, low=0.0)
        """reg: weight of the penalty's part that counts operations."""
        mu: float = knob(0.0, 0.0, 1e3)
        """Weight of the penalty's part in an operation's multiply-adds (M)."""
        stable_epochs: int = setting(3, low=0)
        """An architecture is recorded when pruning resumes after more than this many epochs without any."""
        stop_macs: float | None = knob(None, 0.0, 1e5, unit="M")
        """The search ends once its architecture has fewer multiply-adds (M) at the evaluation size. None is 30.9 % of
        the largest architecture's: the released code's 240 M for CIFAR-10, at any size."""

    shrunk_by = ("lambda0", "mu", "epochs")
    cost_knob = CostKnob("lambda0", Range(low=1e-5, high=1.0, log=True), falls=True)
    """Our choice: the released code fixes it at 1e-5, where short searches prune next to nothing. ``mu`` moves the cost
    only where ``lambda0`` prunes, and less. Nothing ends much below ``stop_macs``."""
    config: Config
    replayable = True
    kept_CEO: Tensor
    _node_E: Tensor
    _price_CEO: Tensor

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        layout = problem.layout
        names = list(dict.fromkeys(layout))
        self._graph = graph = problem.space.graph(names[0])  # all have its edges and operations
        self._positions = [names.index(name) for name in layout]
        self._incoming = list(graph.incoming.values())
        self.alpha_CEO = nn.Parameter(torch.zeros(len(names), len(graph.edges), len(graph.operations)))
        """Parameters of every cell that has a choice of its own: sigmoid(0) = 0.5."""
        masks = [candidate_mask(problem.space.graph(name)) for name in names]
        self.register_buffer("kept_CEO", torch.from_numpy(np.stack(masks)))
        self._kept = np.stack(masks)  # the same on the host
        node = torch.empty(len(graph.edges), dtype=torch.int64)
        for index, edges in enumerate(self._incoming):
            node[list(edges)] = index
        self.register_buffer("_node_E", node, persistent=False)
        macs_PEO = torch.from_numpy(np.stack(problem.costs.macs_EO) / 1e6)
        macs_CEO = torch.zeros(self.alpha_CEO.shape, dtype=macs_PEO.dtype)
        macs_CEO.index_add_(0, torch.tensor(self._positions), macs_PEO)
        repeats = torch.bincount(torch.tensor(self._positions)).view(-1, 1, 1)
        # Summed over the positions that share a cell: the price of one operation, as often as it is bought.
        self.register_buffer("_price_CEO", (config.uniform * repeats + config.mu * macs_CEO).float(), persistent=False)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=config.architecture_learning_rate, momentum=0.9)
        largest = problem.evaluation_costs.largest_macs
        self._stop_macs = STOP_SHARE * largest if config.stop_macs is None else config.stop_macs
        if self._stop_macs >= largest:
            raise InvalidInput(
                f"stop_macs {self._stop_macs:g}: expected a value below {largest:.4g} M, the multiply-adds of the "
                f"largest architecture of {problem.space.name!r} at the evaluation size"
            )
        if problem.budget is not None:  # pruning goes on until it is met
            self._stop_macs = min(self._stop_macs, problem.budget)
        most = max(int(self._kept[0, list(edges)].sum()) for edges in self._incoming)
        if max(config.share_min, config.share_max) + (most - 1) * config.share_min >= 1:
            raise InvalidInput(
                f"share_min {config.share_min:g} and share_max {config.share_max:g}: expected values with "
                f"share_max + {most - 1} * share_min below 1, or a node could lose all of its operations"
            )
        self._strength = 0.0
        self._increment = config.lambda0
        self._rest = 0

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """Cells need equal graphs; a node with 20 candidates or more would be pruned at the start."""
        reason = super().unsupported(space)
        if reason is not None:
            return reason
        graphs = list(space.cells.values())
        if any((g.edges, g.operations) != (graphs[0].edges, graphs[0].operations) for g in graphs):
            return "its kinds of cell have different edges or operations"
        candidates = candidate_mask(graphs[0])
        most = max(int(candidates[list(edges)].sum()) for edges in graphs[0].incoming.values())
        if most >= 20:
            return f"a node has {most} candidates, and the method needs fewer than 20: it prunes below a share of 1/20"
        return None

    def _shares(self, sigma_CEO: Tensor) -> Tensor:
        """w: the share of every operation in the gates of its node."""
        per_edge = sigma_CEO.sum(dim=2)
        per_node = per_edge.new_zeros(len(per_edge), len(self._incoming))
        per_node = per_node.index_add(1, self._node_E, per_edge)
        return sigma_CEO / per_node[:, self._node_E, None]

    def _sigma(self) -> Tensor:
        return torch.sigmoid(self.alpha_CEO) * self.kept_CEO

    def gates(self) -> list[Gates]:
        """sigmoid(alpha) of the operations whose share exceeds ``share_min``, zero for the others and the pruned."""
        sigma = self._sigma()
        active = self._shares(sigma.detach()) > self.config.share_min
        values = (sigma * active).unbind()
        return [Gates(values[c], self._kept[c]) for c in self._positions]

    def penalty(self, gates: Sequence[Gates]) -> Tensor | float:
        """lambda * sum of ln(1 + n_j w) * (reg + mu F) over the active operations (methods.md 3.3).

        n_j, the number of active operations of a node, is a constant to the gradient; F is an operation's exact
        multiply-adds (M) at the size of the supernet.
        """
        if self._strength == 0.0:
            return 0.0
        shares = self._shares(self._sigma())
        active = (shares.detach() > self.config.share_min).to(shares.dtype)
        counts = active.new_zeros(len(active), len(self._incoming)).index_add(1, self._node_E, active.sum(dim=2))
        terms = torch.log1p(counts[:, self._node_E, None] * shares) * self._price_CEO
        return self._strength * (terms * active).sum()

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """Both from one backward pass."""
        joint_step(self, learner, batch)

    def end_epoch(self, epoch: int) -> EpochEnd:
        """Prune, and let the penalty's strength follow how much was pruned (methods.md 3.4)."""
        config = self.config
        pruned = self._prune()
        if pruned >= config.prune_per_epoch:
            self._increment = config.lambda0
            self._strength /= config.growth
        else:
            self._increment *= config.growth
            self._strength += self._increment
        current = self.architecture()
        cost = macs(self.problem.space, current, self.problem.evaluation_size)
        rested = self._rest > config.stable_epochs and pruned > 0
        self._rest = 0 if pruned else self._rest + 1
        return EpochEnd(finished=cost < self._stop_macs, architectures=(current,) if rested else ())

    def _prune(self) -> int:
        pruned = 0
        with torch.no_grad():
            sigma = torch.sigmoid(self.alpha_CEO.double()).cpu().numpy()
        for _ in range(self.config.prune_per_epoch):
            shares = self._host_shares(sigma * self._kept)
            # The released code leaves out shares below 1e-8, its mark of what is pruned; here the mask says that.
            negligible = self._kept & (shares <= self.config.share_min)
            pruned += int(negligible.sum())
            self._kept = self._kept & ~negligible
            shares[shares <= self.config.share_min] = np.inf
            weakest = np.unravel_index(shares.argmin(), shares.shape)
            if shares[weakest] <= self.config.share_max:
                self._kept[weakest] = False
                pruned += 1
        self.kept_CEO.copy_(torch.from_numpy(self._kept))
        return pruned

    def _host_shares(self, sigma_CEO: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shares = np.empty_like(sigma_CEO)
        for edges in self._incoming:
            of_node = sigma_CEO[:, list(edges)]
            shares[:, list(edges)] = of_node / of_node.sum(axis=(1, 2), keepdims=True)
        return shares

    def architecture(self) -> Architecture:
        """Every operation that is not pruned; the strongest of them on an edge that takes one (our choice)."""
        masks = list(self._kept)
        if self._graph.one_per_edge:
            with torch.no_grad():
                sigma_CEO = torch.sigmoid(self.alpha_CEO.double()).cpu().numpy()
            masks = [strongest_on_edges(self._graph, s, k) for s, k in zip(sigma_CEO, self._kept, strict=True)]
        return architecture_of(self.problem.space, [masks[c] for c in self._positions])

    def metrics(self) -> dict[str, float]:
        """The penalty's strength."""
        return {"lambda": self._strength}

    def get_extra_state(self) -> dict[str, Any]:
        """Strength, increment and epochs of rest."""
        return {"strength": self._strength, "increment": self._increment, "rest": self._rest}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore them; the host's mask follows the buffer."""
        self._strength, self._increment, self._rest = state["strength"], state["increment"], state["rest"]

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch; the host's mask follows the buffer."""
        result = super().load_state_dict(*args, **kwargs)
        self._kept = self.kept_CEO.cpu().numpy().copy()
        return result
