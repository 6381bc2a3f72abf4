"""Random search's architectures, the baseline of every method.

L. Li, A. Talwalkar, "Random Search and Reproducibility for Neural Architecture Search", UAI 2019, arXiv:1902.07638:
an architecture drawn uniformly. Its weights are trained as long as another method's supernet, so that it yields
candidates of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nasray.gates import Gates, Mask, architecture_of, candidate_mask, strongest_on_edges
from nasray.methods.method import CostKnob, Learner, Problem, SearchMethod, weight_step
from nasray.networks import Batch
from nasray.settings import Range, TrainingSettings, knob
from nasray.spaces import Architecture, CellGraph, CellSpace, live


class Random(SearchMethod):
    """Gates of 0 and 1, drawn once."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings: those of DARTS's weights."""

        operations_per_node: int = knob(2, 1, 16, integer=True)
        """Operations drawn for each node: first one on each of as many edges, then second ones (our choice). With 2
        it is the random baseline of DARTS. In a block, connections drawn for each node; those that lead nowhere are
        left out. Without effect where the space gives every edge one operation."""

    cost_knob = CostKnob("operations_per_node", Range(low=1, high=16, integer=True), falls=False)
    """Our choice. It moves nothing where the space gives every edge one operation."""
    config: Config
    replayable = True

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        generator = np.random.default_rng(problem.seed)
        self._masks = {
            name: random_mask(problem.space.graph(name), config.operations_per_node, generator)
            for name in dict.fromkeys(problem.layout)
        }
        for name, mask in self._masks.items():
            self.register_buffer(f"gates_{name}", torch.from_numpy(mask).float(), persistent=False)

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """Every space can be drawn from."""
        return None

    def gates(self) -> list[Gates]:
        """The drawn gates."""
        by_name = {name: Gates(self.get_buffer(f"gates_{name}"), mask) for name, mask in self._masks.items()}
        return [by_name[name] for name in self.problem.layout]

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """One step of the weights."""
        weight_step(self, learner, batch)

    def architecture(self) -> Architecture:
        """The drawn architecture."""
        return architecture_of(self.problem.space, [self._masks[name] for name in self.problem.layout])


def random_mask(graph: CellGraph, operations_per_node: int, generator: np.random.Generator) -> Mask:
    """(edges, operations): for each node a uniform choice of edges, and of an operation on each.

    Where more operations are asked for than a node has edges, its edges are gone through again with the operations
    that are left on each. In a block only what lies between input and output is given. Where every edge takes one
    operation, a uniform choice of it on each edge, ``none`` among them: all architectures are then equally likely.
    """
    candidates = candidate_mask(graph)
    if graph.one_per_edge:
        return strongest_on_edges(graph, generator.random(candidates.shape))
    mask = np.zeros_like(candidates)
    for edges in graph.incoming.values():
        orders = {edge: generator.permutation(np.flatnonzero(candidates[edge])) for edge in edges}
        drawn = [
            (edge, orders[edge][turn])
            for turn in range(candidates.shape[1])
            for edge in generator.permutation(edges)
            if turn < len(orders[edge])
        ]
        for edge, operation in drawn[:operations_per_node]:
            mask[edge, operation] = True
    return live(graph, mask)
