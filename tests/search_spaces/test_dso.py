"""The DSO-NAS space against the counts of methods.md 5.1 and 5.4."""

from __future__ import annotations

from itertools import groupby

import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.gates import architecture_masks
from nasray.spaces import Architecture, CellSpace
from search_spaces.architectures.dso import BLOCK, DSO, DSO_FULL, DSO_IMAGENET, DSO_IMAGENET_FULL, REDUCTION

SPACES = [DSO, DSO_FULL, DSO_IMAGENET, DSO_IMAGENET_FULL]


def test_a_block_has_124_scaled_connections_and_a_reduction_two() -> None:
    def scaled(graph: object) -> list[tuple[int, int]]:
        assert graph in (BLOCK, REDUCTION)
        return [edge for edge in graph.edges if len(graph.incoming[edge[1]]) > 1]  # type: ignore[attr-defined]

    assert len(scaled(BLOCK)) == 16 + sum(4 * (4 * level + 1) for level in (1, 2, 3)) == 124
    assert len(scaled(REDUCTION)) == 2


def test_levels_take_the_input_and_every_operation_before_them() -> None:
    for target in range(1, 17):
        level = (target - 1) // 4
        sources = sorted(source for source, to in BLOCK.edges if to == target)
        assert sources == list(range(1 + 4 * level))
    assert BLOCK.node_operations[4:8] == ("sep_3x3", "sep_5x5", "max_pool_3x3", "avg_pool_3x3")


@pytest.mark.parametrize(("space", "stages"), [(DSO, [8, 8, 8]), (DSO_FULL, [8, 8, 8]), (DSO_IMAGENET, [2, 2, 13, 6])])
def test_the_published_size_has_the_published_stages(space: CellSpace, stages: list[int]) -> None:
    runs = [(kind, len(list(run))) for kind, run in groupby(space.kinds(space.search_cells))]
    assert [length for kind, length in runs if kind == "normal"] == stages
    assert sum(length for kind, length in runs if kind != "normal") == len(stages) - 1


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_any_size_has_a_block_in_every_stage(space: CellSpace) -> None:
    least = 2 * len(space.stages) - 1
    for cells in range(least, 40):
        kinds = space.kinds(cells)
        assert len(kinds) == cells
        runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
        assert [kind == "normal" for kind, _ in runs] == [i % 2 == 0 for i in range(least)]
        assert all(length == 1 for kind, length in runs if kind != "normal")
    with pytest.raises(InvalidInput, match=f"expected {least} and more"):
        space.kinds(least - 1)


def test_share_makes_one_choice_for_blocks_and_one_for_each_reduction() -> None:
    assert set(DSO.layout(26)) == {"normal", "reduce_1", "reduce_2"}
    assert len(set(DSO_FULL.layout(26))) == 26
    assert DSO_FULL.layout(26)[8] == "reduce_8"


REDUCTIONS = {name: [(0, 1, "connect"), (1, 3, "connect")] for name in ("reduce_1", "reduce_2")}
PATH = [(0, 1, "connect"), (1, 5, "connect"), (5, 17, "connect")]


def test_nodes_may_be_left_out_and_a_whole_block_too() -> None:
    small = Architecture.of(DSO, {"normal": PATH, **REDUCTIONS})
    assert Architecture.from_json(DSO, small.to_json()) == small
    nothing = Architecture.of(DSO, {"normal": [], **REDUCTIONS})
    assert nothing.id != small.id
    assert not architecture_masks(DSO, nothing, 5)[0].any()


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ({"normal": [*PATH, (0, 2, "connect")], **REDUCTIONS}, r"connection \(0, 2\) in cell 'normal'.*on no path"),
        ({"normal": PATH[1:], **REDUCTIONS}, r"connection \(1, 5\).*on no path"),
        ({"normal": PATH, **REDUCTIONS, "reduce_2": []}, "nothing enters node 3 in cell 'reduce_2'"),
        ({"normal": [*PATH, (1, 2, "connect")], **REDUCTIONS}, "edge 1 to 2 in cell 'normal'"),
    ],
)
def test_architectures_that_cannot_be_are_named(cells: dict[str, list[tuple[int, int, str]]], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Architecture.of(DSO, cells)


def test_the_entry_point_gives_the_space() -> None:
    assert registry.find("space", "dso") is DSO
