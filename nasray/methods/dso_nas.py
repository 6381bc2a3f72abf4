"""DSO-NAS.

X. Zhang, Z. Huang, N. Wang, "You Only Search Once: Single Shot Neural Architecture Search via Direct Sparse
Optimization", arXiv:1811.01567 (later in TPAMI as "DSO-NAS"); settings of XinbangZhang/DSO-NAS. methods.md 5.

In a completely connected block every connection carries a scaling factor lambda. The weights W are trained first with
all factors at 1; then factors and weights solve

    min over W, lambda of   loss + delta ||W||^2 + gamma ||lambda||_1                                      (eq. 5)

alternately, each on its own half of the training data: W by Nesterov's momentum, lambda by an accelerated proximal
step (eqs. 6 to 8, proximal.py) that leaves exact zeros. What is not zero at the end is the architecture.

As released: factors are never negative, their gradients are clipped, and every few epochs the connections at zero,
with all that they leave dead, are removed for good. The first level's operations take the block's input unscaled: a
connection that is all that can enter an operation has no factor (batch normalisation would undo it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask, architecture_of
from nasray.methods.method import (
    CostKnob,
    EpochEnd,
    Learner,
    Problem,
    SearchMethod,
    architecture_loss,
    gradients,
    weight_step,
)
from nasray.methods.proximal import apg_nag_step
from nasray.networks import Batch
from nasray.settings import Range, Schedule, TrainingSettings, knob, setting
from nasray.spaces import Architecture, CellSpace, live

MEMORY_ACCESS = {"sep_3x3": 0.986, "sep_5x5": 1.0, "max_pool_3x3": 0.447, "avg_pool_3x3": 0.447}
"""Memory access cost of the operation that a connection enters, relative to the largest, as released. Another stored
version of the released code has 0.985, 1, 0.488 and 0.488."""
OUTPUT_MEMORY_ACCESS = 0.448
"""Of a connection's 1x1 convolution at the output of a block; 0.459 in that other version."""


class DSONAS(SearchMethod):
    """Scaling factors on connections, driven to exact zero."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings of the paper on CIFAR-10."""

        epochs: int = setting(240, low=1)
        """Epochs of pretraining and search together."""
        pretraining: float = setting(0.5, low=0.0, high=0.99)
        """Share of the epochs in which only the weights are trained, on all of the training data: 120 of 240."""
        batch_size: int = setting(128, low=2)
        learning_rate: float = setting(0.1, low=0.0)
        """Initial learning rate of weights and factors."""
        schedule: Schedule = "constant"
        nesterov: bool = True
        weight_decay: float = setting(1e-4, low=0.0)
        decay_normalisations: bool = False
        gradient_clip: float = setting(5.0, low=0.0)
        """Largest norm of the weights' gradient (our choice, that of the other methods: the released code clips every
        entry at 2)."""
        gamma: float = knob(1e-3, 1e-5, 10.0, log=True)
        """Weight of the factors' L1 norm. The released value for CIFAR-10; for ImageNet it is 0.01."""
        regularisation: Literal["plain", "flops", "mac"] = "flops"
        """What gamma is multiplied by: 1 (``plain``), the share of a block's costly operations that are left
        (``flops``, the paper's on CIFAR-10), or the memory access cost of what the connection enters (``mac``).
        Where blocks share their factors, ``flops`` counts the one shared block (our choice: the released code has it
        for factors of their own only)."""
        factor_clip: float = setting(2.0, low=0.0)
        """Largest absolute entry of the factors' gradient."""
        weight_steps: int = setting(1, low=1)
        """Steps of the weights to one of the factors: 1 on CIFAR-10, 4 on ImageNet."""
        rebuild_epochs: int = setting(5, low=1)
        """Epochs of search between two rebuilds of the network without its zeros."""

    shrunk_by = ("gamma", "epochs")
    cost_knob = CostKnob("gamma", Range(low=1e-4, high=10.0, log=True), falls=True)
    """The paper's strength of sparsity. The range is our choice: from a tenth of the released value for CIFAR-10 to
    where searches of a few epochs prune all that can be."""
    config: Config
    architecture_fraction = 0.5
    kept_K: Tensor
    velocity_K: Tensor
    _learned_K: Tensor
    _last_K: Tensor
    _cell_K: Tensor
    _unit_K: Tensor
    _cell_U: Tensor
    _relative_K: Tensor

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self._names = list(dict.fromkeys(problem.layout))
        self._sizes = [len(problem.space.graph(name).edges) for name in self._names]
        # All connections of all cells that have a choice of their own, one after the other: K of them.
        count = sum(self._sizes)
        self.lambda_K = nn.Parameter(torch.ones(count))
        self.register_buffer("velocity_K", torch.zeros(count))
        self.register_buffer("kept_K", torch.ones(count, dtype=torch.bool))
        self._masks = self._host_masks(np.ones(count, dtype=bool))
        self._describe_connections()
        self._pretraining_epochs = int(config.pretraining * config.epochs)
        self._searching = False
        self._steps = 0

    def _describe_connections(self) -> None:
        """What is constant of every connection: whether it has a factor, and what its gamma depends on."""
        learned, last, unit, relative, unit_cells = [], [], [], [], [len(self._names)]
        for cell, name in enumerate(self._names):
            graph = self.problem.space.graph(name)
            macs_N = self.problem.costs.macs_N[self.problem.layout.index(name)]
            residual = graph.output == "residual"
            units: dict[tuple[int, ...], int] = {}
            for edge, (_, target) in enumerate(graph.edges):
                index = graph.targets.index(target)
                at_output = target in graph.outputs
                learned.append(len(graph.incoming[target]) > 1)
                last.append(at_output and not residual)
                relative.append(self._memory_access(graph.node_operations, index, at_output) if residual else 1.0)
                # A costly unit of a block: an operation with multiply-adds, or one convolution at the output.
                # Unit 0 gathers everything else.
                if residual and (at_output or macs_N[index] > 0):
                    key = (target, edge) if at_output else (target,)
                    unit.append(units.setdefault(key, len(unit_cells) + len(units)))
                else:
                    unit.append(0)
            unit_cells += [cell] * len(units)
        for label, values in (("learned", learned), ("last", last), ("unit", unit), ("relative", relative)):
            self.register_buffer(f"_{label}_K", torch.tensor(values), persistent=False)
        self.register_buffer("_cell_U", torch.tensor(unit_cells), persistent=False)
        cells = torch.arange(len(self._names)).repeat_interleave(torch.tensor(self._sizes))
        self.register_buffer("_cell_K", cells, persistent=False)

    def _memory_access(self, node_operations: tuple[str, ...], index: int, at_output: bool) -> float:
        if self.config.regularisation != "mac":
            return 1.0
        if at_output:
            return OUTPUT_MEMORY_ACCESS
        if node_operations[index] not in MEMORY_ACCESS:
            raise InvalidInput(
                f"regularisation 'mac' with operation {node_operations[index]!r}: expected "
                f"one of {', '.join(MEMORY_ACCESS)}"
            )
        return MEMORY_ACCESS[node_operations[index]]

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """Its operations must sit on nodes."""
        if not all(graph.node_operations for graph in space.cells.values()):
            return "its operations are on edges, and the method scales bare connections between operations"
        return None

    def start_epoch(self, epoch: int) -> None:
        """Pretraining or search."""
        self._searching = epoch >= self._pretraining_epochs
        self._steps = 0

    def gates(self) -> list[Gates]:
        """The factors, of what the last rebuilding left."""
        values = torch.split(self.lambda_K, self._sizes)
        by_name = {
            name: Gates(values_E[:, None], mask)
            for name, values_E, mask in zip(self._names, values, self._masks, strict=True)
        }
        return [by_name[name] for name in self.problem.layout]

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """Weights, then factors. Pretraining trains the weights on both batches."""
        assert architecture_batch is not None
        weight_step(self, learner, batch)
        if not self._searching:
            weight_step(self, learner, architecture_batch)
            return
        self._steps += 1
        if self._steps % self.config.weight_steps == 0:
            (gradient,) = gradients(self, architecture_loss(learner, architecture_batch, self.gates()))
            assert gradient is not None
            self._factor_step(gradient, learner.learning_rate)

    @torch.no_grad()
    def _factor_step(self, gradient: Tensor, learning_rate: float) -> None:
        clip = self.config.factor_clip
        factors, velocity = apg_nag_step(
            self.lambda_K,
            self.velocity_K,
            gradient.clamp(-clip, clip),
            learning_rate=learning_rate,
            strength=self._strength_K(),
            momentum=self.config.momentum,
        )
        factors = factors.clamp(min=0.0)
        # Nothing passes by a reduction block: its last connection stays as it is (our choice, for the paper does not
        # say what becomes of one without any).
        cut = (self._largest_C(factors) == 0)[self._cell_K]
        stays = self._last_K & cut & (self.lambda_K == self._largest_C(self.lambda_K)[self._cell_K])
        moves = self._learned_K & self.kept_K & ~stays
        self.lambda_K.copy_(torch.where(moves, factors, self.lambda_K))
        self.velocity_K.copy_(torch.where(moves, velocity, 0.0))

    def _largest_C(self, factors_K: Tensor) -> Tensor:
        """The largest factor at the output of every cell without a shortcut."""
        nothing_C = factors_K.new_zeros(len(self._names))
        return nothing_C.scatter_reduce(0, self._cell_K, factors_K * self._last_K, "amax")

    def _strength_K(self) -> Tensor:
        """gamma of every connection (methods.md 5.3); that of a reduction block's is plain."""
        strength_K = self.config.gamma * self._relative_K
        if self.config.regularisation == "flops":
            left_C = self._units_left_C(self.lambda_K)
            all_C = self._units_left_C(torch.ones_like(self.lambda_K))
            strength_K = strength_K * ((1 + left_C) / (1 + all_C))[self._cell_K]
        return strength_K

    def _units_left_C(self, factors_K: Tensor) -> Tensor:
        """How many costly units of every cell have an input left: 24 in a complete block.

        As released: the first level's two separable convolutions count to the end.
        """
        left_K = ((factors_K > 0) | ~self._learned_K).float()
        left_U = left_K.new_zeros(len(self._cell_U)).index_add(0, self._unit_K, left_K) > 0
        left_C = left_K.new_zeros(len(self._names) + 1).index_add(0, self._cell_U, left_U.float())
        return left_C[:-1]

    def end_epoch(self, epoch: int) -> EpochEnd:
        """Rebuild where it is time to."""
        searched = epoch + 1 - self._pretraining_epochs
        if searched > 0 and searched % self.config.rebuild_epochs == 0:
            self._rebuild()
        return EpochEnd()

    @torch.no_grad()
    def _rebuild(self) -> None:
        """Remove zeros and what they leave dead: from here on they are neither computed nor can they return."""
        kept = self._clean()
        self.kept_K.copy_(torch.from_numpy(kept))
        self.lambda_K.mul_(self.kept_K)
        self.velocity_K.mul_(self.kept_K)
        self._masks = self._host_masks(kept)

    def _clean(self) -> np.ndarray:
        """The connections that are left, read on the host: at the end of an epoch, never in a step."""
        positive = (self.lambda_K.detach() > 0).cpu().numpy()
        masks = self._host_masks(positive)
        return np.concatenate(
            [live(self.problem.space.graph(name), mask)[:, 0] for name, mask in zip(self._names, masks, strict=True)]
        )

    def _host_masks(self, chosen_K: np.ndarray) -> list[Mask]:
        return [mask[:, None] for mask in np.split(chosen_K, np.cumsum(self._sizes)[:-1])]

    def architecture(self) -> Architecture:
        """Every connection with a positive factor that lies between input and output."""
        by_name = dict(zip(self._names, self._host_masks(self._clean()), strict=True))
        return architecture_of(self.problem.space, [by_name[name] for name in self.problem.layout])

    def metrics(self) -> dict[str, float]:
        """Share of the connections that are left, and the sum of the factors."""
        return {
            "connections": float(self._clean().mean()),
            "lambda_l1": float(self.lambda_K.detach().sum()),
        }

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch; the host's masks follow the buffer."""
        result = super().load_state_dict(*args, **kwargs)
        self._masks = self._host_masks(self.kept_K.cpu().numpy().copy())
        return result
