"""What lies between input and output, against the transitive closure and the paper's clean-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.spaces import CellGraph, live


def block(nodes: int) -> CellGraph:
    """Complete, with the last of the nodes as output."""
    return CellGraph(
        inputs=1, nodes=nodes, operations=("connect",), node_operations=("op",) * (nodes - 1), output="residual"
    )


def closure(graph: CellGraph, chosen_E: np.ndarray) -> np.ndarray:
    """(node, node): whether any path leads from one to the other, by powers of the adjacency matrix."""
    size = graph.inputs + graph.nodes
    adjacency = np.eye(size)
    for (source, target), chosen in zip(graph.edges, chosen_E, strict=True):
        adjacency[source, target] += chosen
    return np.linalg.matrix_power(adjacency, size) > 0


def cleaned_up(graph: CellGraph, chosen_E: np.ndarray) -> np.ndarray:
    """The released procedure: drop whatever touches a node without inputs or without uses, until nothing changes."""
    chosen = chosen_E.copy()
    output = graph.inputs + graph.nodes - 1
    while True:
        before = chosen.copy()
        for node in range(graph.inputs, output):
            into = [e for e, (_, target) in enumerate(graph.edges) if target == node]
            out_of = [e for e, (source, _) in enumerate(graph.edges) if source == node]
            if not chosen[into].any() or not chosen[out_of].any():
                chosen[into + out_of] = False
        if (chosen == before).all():
            return chosen


@given(st.integers(2, 9), st.floats(0.05, 0.9), st.integers(0, 2**32 - 1))
def test_live_connections_are_those_on_a_path(nodes: int, density: float, seed: int) -> None:
    graph = block(nodes)
    chosen = np.random.default_rng(seed).random(len(graph.edges)) < density
    reach = closure(graph, chosen)
    expected = [
        bool(c and reach[0, source] and reach[target, nodes])
        for (source, target), c in zip(graph.edges, chosen, strict=True)
    ]
    found = live(graph, chosen[:, None])
    assert found[:, 0].tolist() == expected
    assert found[:, 0].tolist() == cleaned_up(graph, chosen).tolist()


def test_cells_of_plain_sums_are_all_live() -> None:
    graph = CellGraph(inputs=2, nodes=3, operations=("a", "b"))
    mask = np.random.default_rng(0).random((len(graph.edges), 2)) < 0.3
    assert (live(graph, mask) == mask).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"node_operations": ("op",)}, "1 node operations.*expected 2"),
        ({"output": "concatenation"}, "expected sum or residual"),
        ({"node_operations": (), "output": "residual"}, "concatenation elsewhere"),
        ({"node_operations": (), "inputs": 2}, "2 inputs and stride 1 whose output is a sum.*one input and stride 1"),
        ({"node_operations": (), "stride": 2}, "1 inputs and stride 2 whose output is a sum"),
        ({"one_per_edge": True}, "one operation an edge in a block"),
        ({"operations": ("a", "b")}, "block with 1 inputs and 2 operations"),
    ],
)
def test_blocks_that_cannot_be_are_named(changes: dict[str, object], named: str) -> None:
    fields = {"inputs": 1, "nodes": 3, "operations": ("connect",), "node_operations": ("op",) * 2, "output": "sum"}
    with pytest.raises(InvalidInput, match=named):
        CellGraph(**{**fields, **changes})  # type: ignore[arg-type]
