from __future__ import annotations

import math

import pytest

from nasray.errors import InvalidInput
from nasray.spaces import CellGraph, CellSpace, NetworkSize, Normalisation
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

PLAIN = Normalisation(affine=True, after_pool=False, after_identity=False)


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_cells_have_the_fourteen_edges_of_darts_in_the_fields_order(space: CellSpace):
    for kind, stride in (("normal", 1), ("reduce", 2)):
        graph = space.cells[kind]
        # Node by node, at offsets 0, 2, 5 and 9 (methods.md 0.1).
        assert graph.edges == (
            *((0, 2), (1, 2)),
            *((0, 3), (1, 3), (2, 3)),
            *((0, 4), (1, 4), (2, 4), (3, 4)),
            *((0, 5), (1, 5), (2, 5), (3, 5), (4, 5)),
        )
        strided = [i for i, edge in enumerate(graph.edges) if graph.edge_stride(edge) == 2]
        assert strided == ([0, 1, 2, 3, 5, 6, 9, 10] if stride == 2 else [])


def test_the_operations_are_the_published_ones_in_the_published_order():
    assert DARTS.cells["normal"].operations == (
        *("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"),
        *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    )
    assert GOLD.cells["normal"].operations == ("skip_connect", "sep_conv_3x3")


@pytest.mark.parametrize(("cells", "printed"), [(14, 117), (20, 160)])
def test_gold_has_as_many_architectures_as_its_abstracts_say(cells: int, printed: int):
    graph = GOLD.cells["normal"]
    each = sum(math.log10(2 ** (2 * len(edges)) - 1) for edges in graph.incoming.values())
    assert each == pytest.approx(8.39, abs=0.01)
    assert cells * each > printed


@pytest.mark.parametrize(("cells", "reductions"), [(3, [1, 2]), (8, [2, 5]), (14, [4, 9]), (20, [6, 13])])
def test_reductions_stand_at_one_and_two_thirds(cells: int, reductions: list[int]):
    assert [i for i, kind in enumerate(DARTS.kinds(cells)) if kind == "reduce"] == reductions
    assert DARTS.layout(cells) == DARTS.kinds(cells)
    assert [name for name in GOLD.layout(cells) if "reduce" in name] == [f"reduce_{i}" for i in reductions]
    assert len(set(GOLD.layout(cells))) == cells


def test_a_space_without_reductions_has_one_kind_everywhere():
    graph = CellGraph(inputs=2, nodes=1, operations=("skip_connect",))
    space = CellSpace(
        name="flat",
        cells={"normal": graph},
        search_channels=1,
        search_cells=1,
        evaluation_channels=1,
        evaluation_cells=1,
        search_normalisation=PLAIN,
        evaluation_normalisation=PLAIN,
    )
    assert space.kinds(5) == ("normal",) * 5


@pytest.mark.parametrize("edge", [(3, 2), (2, 2), (0, 1), (0, 6), (-1, 2)])
def test_edges_run_from_earlier_to_later_nodes(edge: tuple[int, int]):
    with pytest.raises(InvalidInput, match=r"expected an edge from an earlier node to one of the nodes 2 to 5"):
        CellGraph(inputs=2, nodes=4, operations=("skip_connect",), edges=(edge,))


@pytest.mark.parametrize(
    "change", [{"channels": 0}, {"cells": -1}, {"classes": 0}, {"input_shape": (3, 0, 8)}, {"input_shape": ()}]
)
def test_sizes_are_at_least_one(change: dict[str, object]):
    size = NetworkSize(channels=4, cells=3, input_shape=(3, 8, 8), classes=10)
    with pytest.raises(InvalidInput, match=r"expected (a whole number|whole numbers) from 1 to"):
        size.replace(**change)


@pytest.mark.parametrize(("space", "name"), [(DARTS, "normal_0"), (GOLD, "normal"), (GOLD, "normal_x"), (GOLD, "a_0")])
def test_unknown_cells_are_named(space: CellSpace, name: str):
    with pytest.raises(InvalidInput, match=rf"^cell '{name}' of space '{space.name}': expected .*normal or reduce"):
        space.graph(name)
