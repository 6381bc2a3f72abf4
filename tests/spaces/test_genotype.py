from __future__ import annotations

import pytest

from nasray.spaces import CellSpace, from_genotype, to_genotype
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

PUBLISHED = [(space, name) for space in (DARTS, GOLD) for name in space.references]


def test_darts_v2_is_what_its_authors_printed():
    choices = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype).cells
    # Pairs 2i and 2i+1 feed node i; sources count from c_{k-2} = 0.
    assert set(choices["normal"]) == {
        *((0, 2, "sep_conv_3x3"), (1, 2, "sep_conv_3x3")),
        *((0, 3, "sep_conv_3x3"), (1, 3, "sep_conv_3x3")),
        *((1, 4, "sep_conv_3x3"), (0, 4, "skip_connect")),
        *((0, 5, "skip_connect"), (2, 5, "dil_conv_3x3")),
    }
    assert set(choices["reduce"]) == {
        *((0, 2, "max_pool_3x3"), (1, 2, "max_pool_3x3")),
        *((2, 3, "skip_connect"), (1, 3, "max_pool_3x3")),
        *((0, 4, "max_pool_3x3"), (2, 4, "skip_connect")),
        *((2, 5, "skip_connect"), (1, 5, "max_pool_3x3")),
    }


def test_gold_s1_has_its_172_operations_in_14_cells():
    cells = from_genotype(GOLD, GOLD.references["GOLD_s1"].genotype).cells
    assert list(cells) == list(GOLD.layout(14))
    assert sum(map(len, cells.values())) == 172


@pytest.mark.parametrize(("space", "name"), PUBLISHED, ids=lambda v: getattr(v, "name", v))
def test_published_genotypes_come_back(space: CellSpace, name: str):
    genotype = space.references[name].genotype
    again = to_genotype(space, from_genotype(space, genotype))
    for key in space.cells if not space.cell_per_position else ("cells",):
        assert len(again[key]) == len(genotype[key])
        if space.cell_per_position:
            assert [sorted(map(tuple, c)) for c in again[key]] == [sorted(map(tuple, c)) for c in genotype[key]]
        else:  # the order within a node's pair carries no meaning
            for i in range(0, 8, 2):
                assert sorted(map(tuple, again[key][i : i + 2])) == sorted(map(tuple, genotype[key][i : i + 2]))


def test_one_list_for_each_node_says_what_pairs_say():
    flat = DARTS.references["DARTS_V1"].genotype
    by_node = {kind: [flat[kind][i : i + 2] for i in range(0, 8, 2)] for kind in ("normal", "reduce")}
    assert from_genotype(DARTS, by_node) == from_genotype(DARTS, flat)


def test_lists_of_any_length_are_read_and_written_for_each_node():
    uneven = [
        [["skip_connect", 0]],
        [["skip_connect", 0], ["sep_conv_3x3", 0], ["max_pool_3x3", 2]],
        [["dil_conv_3x3", 1], ["dil_conv_3x3", 3]],
        [["avg_pool_3x3", 4]],
    ]
    architecture = from_genotype(DARTS, {"normal": uneven, "reduce": uneven})
    assert (0, 3, "sep_conv_3x3") in architecture.cells["normal"]
    assert (4, 5, "avg_pool_3x3") in architecture.cells["reduce"]
    written = to_genotype(DARTS, architecture)
    assert [sorted(map(tuple, node)) for node in written["normal"]] == [sorted(map(tuple, node)) for node in uneven]
    assert written["normal_concat"] == [2, 3, 4, 5]
