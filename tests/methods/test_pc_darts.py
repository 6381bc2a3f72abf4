"""PC-DARTS, against its formulas and its released code's schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nasray.methods import Batch, Problem
from nasray.methods.pc_darts import PCDARTS
from nasray.spaces import CellSpace, NetworkSize
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=5)


def made(space: CellSpace = DARTS, **settings: float) -> PCDARTS:
    torch.manual_seed(0)
    return PCDARTS(PCDARTS.Config(**settings), Problem(space, SIZE, SIZE, seed=0))  # type: ignore[arg-type]


def randomise(method: PCDARTS) -> None:
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.normal_()


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda space: space.name)
def test_a_gate_is_the_product_of_both_softmaxes(space: CellSpace) -> None:
    method = made(space)
    randomise(method)
    for name, gates in zip(method.problem.layout, method.gates(), strict=True):
        graph = space.graph(name)
        values_EO = gates.values_EO.detach().double().numpy()
        alpha = method.alphas[name].detach().double().numpy()
        beta = method.betas[name].detach().double().numpy()
        for node in graph.targets:
            edges = graph.incoming[node]
            among_edges = sum(math.exp(beta[e]) for e in edges)
            for e in edges:
                among_operations = sum(math.exp(a) for a in alpha[e])
                for o in range(len(graph.operations)):
                    expected = math.exp(alpha[e, o]) / among_operations * math.exp(beta[e]) / among_edges
                    assert values_EO[e, o] == pytest.approx(expected, rel=1e-5)
        active = np.array([operation != "none" for operation in graph.operations])
        assert (gates.active_EO == active).all()


def test_derivation_ranks_the_product_and_never_none() -> None:
    method = made()
    graph = DARTS.cells["normal"]
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
        alpha, beta = method.alphas["normal"], method.betas["normal"]
        alpha[:, graph.operation_index["none"]] = 3.0
        for node in graph.targets:
            # By alpha alone edges 0 and 1 would be kept, by beta alone the last two.
            for source in range(node):
                alpha[graph.edge_index[source, node], graph.operation_index["sep_conv_5x5"]] = 3.0 - source
                beta[graph.edge_index[source, node]] = 4.0 * (source > 0) + 0.1 * source
    kept = {(source, target) for source, target, _ in method.architecture().cells["normal"]}
    assert {operation for *_, operation in method.architecture().cells["normal"]} == {"sep_conv_5x5"}
    weights = {
        (s, t): (np.exp(3.0 - s) / (np.exp(3.0) + np.exp(3.0 - s) + 6)) * np.exp(4.0 * (s > 0) + 0.1 * s)
        for s, t in graph.edges
    }
    expected = set()
    for node in graph.targets:
        expected |= set(sorted(((s, node) for s in range(node)), key=lambda edge: -weights[edge])[:2])
    assert kept == expected
    assert expected != {(s, node) for node in graph.targets for s in (0, 1)}
    assert expected != {(s, node) for node in graph.targets for s in (node - 2, node - 1)}


class RecordingLearner:
    """A loss that every gate takes part in, and the order of what is asked."""

    def __init__(self, weight: torch.nn.Parameter) -> None:
        self.weights = [weight]
        self.learning_rate = 0.0
        self.batches: list[float] = []

    def loss(self, batch: Batch, gates: list) -> torch.Tensor:  # type: ignore[type-arg]
        self.batches.append(float(batch[0]))
        return self.weights[0] * sum((g.values_EO.square().sum() for g in gates), torch.zeros(()))

    def update(self) -> None:
        pass

    def lookahead(self, gradients: object) -> list[torch.Tensor]:
        raise NotImplementedError


def test_architecture_parameters_are_frozen_for_15_of_50_epochs() -> None:
    method = made()
    learner = RecordingLearner(torch.nn.Parameter(torch.ones(())))
    weight_batch, architecture_batch = ((torch.tensor(float(i)), torch.zeros(())) for i in range(2))
    for epoch, moves in ((0, False), (14, False), (15, True), (49, True)):
        method.start_epoch(epoch)
        before = [parameter.detach().clone() for parameter in method.parameters()]
        learner.batches.clear()
        method.step(learner, weight_batch, architecture_batch)
        moved = [not torch.equal(b, p) for b, p in zip(before, method.parameters(), strict=True)]
        assert moved == [moves] * len(moved)
        assert learner.batches == ([1.0, 0.0] if moves else [0.0])


def test_channel_fraction_is_asked_of_the_supernet() -> None:
    assert made().needs.channel_fraction == 4
    assert made(channel_fraction=2).needs.channel_fraction == 2
