"""DARTS.

H. Liu, K. Simonyan, Y. Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, arXiv:1806.09055. The
operations of an edge are mixed by a softmax (eq. 2); architecture parameters and weights are trained alternately on
two halves of the training data (eqs. 3 and 4), to first or second order (eqs. 5 to 8). methods.md 0.3 and 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nasray.gates import Gates, Mask, architecture_of, candidate_mask, strongest_on_edges
from nasray.methods.method import (
    CostKnob,
    Learner,
    Problem,
    SearchMethod,
    architecture_loss,
    first_order_step,
    gradients,
    update_architecture,
    weight_step,
)
from nasray.networks import Batch
from nasray.settings import Range, TrainingSettings, knob, setting
from nasray.spaces import Architecture, CellGraph


class DARTS(SearchMethod):
    """One table of architecture parameters for each cell of the space, a softmax over each edge's operations."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings of the released code."""

        architecture_learning_rate: float = setting(3e-4, low=0.0)
        """Learning rate of Adam, with betas (0.5, 0.999)."""
        architecture_weight_decay: float = setting(1e-3, low=0.0)
        second_order: bool = False
        """Whether the architecture gradient looks one weight step ahead."""
        edges_per_node: int = knob(2, 1, 8, integer=True)
        """Edges kept at each node when deriving. The paper's value is 2; others trade accuracy for cost (ours). Without
        effect where the space gives every edge one operation."""

    cost_knob = CostKnob("edges_per_node", Range(low=1, high=8, integer=True), falls=False)
    """Our choice: the papers keep 2. It moves nothing where the space gives every edge one operation."""
    config: Config
    architecture_fraction = 0.5
    replayable = True

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self.alphas = nn.ParameterDict()
        for name in dict.fromkeys(problem.layout):
            graph = problem.space.graph(name)
            # The paper's start: near zero, so that all operations begin equal.
            self.alphas[name] = nn.Parameter(1e-3 * torch.randn(len(graph.edges), len(graph.operations)))
        self._masks = {name: candidate_mask(problem.space.graph(name)) for name in self.alphas}
        self.optimizer = torch.optim.Adam(
            self.parameters(),
            lr=config.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=config.architecture_weight_decay,
        )

    def gates(self) -> list[Gates]:
        """Softmax over each edge's operations, ``none`` among them (eq. 2)."""
        by_name = {name: Gates(torch.softmax(alpha, dim=1), self._masks[name]) for name, alpha in self.alphas.items()}
        return [by_name[name] for name in self.problem.layout]

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """First the architecture parameters, then the weights (algorithm 1)."""
        assert architecture_batch is not None
        if self.config.second_order:
            update_architecture(self, self._unrolled_gradients(learner, batch, architecture_batch))
            weight_step(self, learner, batch)
        else:
            first_order_step(self, learner, batch, architecture_batch)

    def _unrolled_gradients(self, learner: Learner, batch: Batch, architecture_batch: Batch) -> Sequence[Tensor | None]:
        """Eq. 7, with the Hessian product of eq. 8 by central differences at eps = 0.01 / |dL_val/dw'|."""
        weights, alphas = learner.weights, list(self.parameters())
        kept = [w.detach().clone() for w in weights]
        train_loss = learner.loss(batch, self.gates())
        ahead = learner.lookahead(torch.autograd.grad(train_loss, weights, allow_unused=True))
        _assign(weights, ahead)
        loss = learner.loss(architecture_batch, self.gates())
        found = torch.autograd.grad(loss, [*alphas, *weights], allow_unused=True)
        direct, by_weights = found[: len(alphas)], found[len(alphas) :]
        norm = torch.sqrt(sum((g.square().sum() for g in by_weights if g is not None), torch.zeros(())))
        epsilon = 0.01 / norm
        sides = []
        for sign in (1, -1):
            _assign(
                weights, [w if g is None else w + sign * epsilon * g for w, g in zip(kept, by_weights, strict=True)]
            )
            sides.append(gradients(self, architecture_loss(learner, batch, self.gates())))
        _assign(weights, kept)
        return [
            d if d is None or p is None or m is None else d - learner.learning_rate * (p - m) / (2 * epsilon)
            for d, p, m in zip(direct, *sides, strict=True)
        ]

    def architecture(self) -> Architecture:
        """At each node the edges with the strongest operation, and on each edge that operation (methods.md 0.3)."""
        masks = {}
        for name, alpha in self.alphas.items():
            strengths = torch.softmax(alpha.detach(), dim=1).double().cpu().numpy()
            masks[name] = derive(self.problem.space.graph(name), strengths, self.config.edges_per_node)
        return architecture_of(self.problem.space, [masks[name] for name in self.problem.layout])


def derive(graph: CellGraph, strengths_EO: np.ndarray, edges_per_node: int) -> Mask:
    """The strongest operation, ``none`` aside, of each of a node's ``edges_per_node`` strongest edges.

    Where every edge takes one operation, the strongest of each edge, ``none`` among them, as in the published searches
    of NAS-Bench-201.
    """
    if graph.one_per_edge:
        return strongest_on_edges(graph, strengths_EO)
    strengths = np.where(candidate_mask(graph), strengths_EO, -np.inf)
    best = strengths.argmax(axis=1)
    mask = np.zeros(strengths.shape, dtype=bool)
    for edges in graph.incoming.values():
        kept = sorted(edges, key=lambda e: -strengths[e, best[e]])[:edges_per_node]
        mask[kept, best[kept]] = True
    return mask


@torch.no_grad()
def _assign(weights: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
