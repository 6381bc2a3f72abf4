from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from nasray.methods import Problem
from nasray.methods.random import Random, random_mask
from nasray.spaces import CellGraph, NetworkSize
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
SMALL = CellGraph(inputs=2, nodes=2, operations=("none", "skip_connect", "sep_conv_3x3"), none="none")


def test_two_operations_a_node_are_drawn_uniformly():
    generator = np.random.default_rng(0)
    counts = Counter(random_mask(SMALL, 2, generator).tobytes() for _ in range(9600))
    # Node 2 keeps both of its edges, node 3 two of three; each kept edge has one of two operations.
    assert len(counts) == 4 * 12
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_more_operations_than_edges_are_drawn_uniformly():
    generator = np.random.default_rng(0)
    counts = Counter(random_mask(SMALL, 3, generator)[:2].tobytes() for _ in range(4000))
    # Node 2 has two edges of two operations: three of the four are present.
    assert len(counts) == 4
    assert chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("asked", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_each_node_gets_as_many_as_asked_for_or_all(space: object, asked: int):
    graph = (DARTS if space is DARTS else GOLD).cells["normal"]
    mask = random_mask(graph, asked, np.random.default_rng(0))
    operations = len(graph.operations) - (graph.none is not None)
    for edges in graph.incoming.values():
        rows = mask[list(edges)]
        assert rows.sum() == min(asked, operations * len(edges))
        assert rows.any(axis=1).sum() == min(asked, len(edges)), "one on each edge before a second on any"
    if graph.none is not None:
        assert not mask[:, graph.operation_index[graph.none]].any()


def test_the_same_seed_draws_the_same_architecture():
    def drawn(seed: int) -> str:
        method = Random(Random.Config(), Problem(DARTS, SIZE, SIZE, seed))
        for gates, name in zip(method.gates(), DARTS.layout(3), strict=True):
            assert ((gates.values_EO.numpy() == 1) == gates.active_EO).all()
            assert len(method.architecture().cells[name]) == gates.active_EO.sum()
        return method.architecture().id

    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in range(50)}) == 50
