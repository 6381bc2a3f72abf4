"""Budgets: the width that they allow, and the smallest network against all architectures of small spaces."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from nasray import registry
from nasray.costs import Budget, cost_table, macs, smallest_macs, smallest_masks
from nasray.errors import InvalidInput
from nasray.gates import architecture_of, candidate_mask
from nasray.spaces import CellGraph, CellSpace, NetworkSize, from_genotype, live

DARTS, DSO, NAS_BENCH_201 = (registry.find("space", name) for name in ("darts", "dso", "nas_bench_201"))
SMALL = NetworkSize(channels=4, cells=5, input_shape=(1, 8, 8), classes=10)


@pytest.mark.parametrize("space", [DSO, DARTS], ids=["dso", "darts"])
def test_the_widest_network_meets_the_budget_and_the_next_one_breaks_it(space: CellSpace) -> None:
    if space is DSO:
        chosen = architecture_of(space, smallest_masks(space, SMALL))
    else:
        chosen = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype)
    least = macs(space, chosen, SMALL.replace(channels=1))
    for most in (least, 1.01 * least, 1.0):
        budget = Budget(most)
        width = budget.widest(space, chosen, SMALL).channels
        assert macs(space, chosen, SMALL.replace(channels=width)) <= most
        assert macs(space, chosen, SMALL.replace(channels=width + 1)) > most
        # What obeys it is left as it is; what does not becomes as wide as it may.
        assert budget.fit(space, chosen, SMALL).channels == min(width, SMALL.channels)
    with pytest.raises(InvalidInput, match="M even with one channel"):
        Budget(0.99 * least).widest(space, chosen, SMALL)


def cell(**changes: object) -> CellGraph:
    # Operations without weights are in the way of nothing here: every candidate costs something.
    return CellGraph(**{"inputs": 2, "nodes": 2, "operations": ("nor_conv_3x3", "nor_conv_1x1"), **changes})


def space_of(graph: CellGraph, **changes: object) -> CellSpace:
    return dataclasses.replace(NAS_BENCH_201, name="mine", cells={"normal": graph}, stages=(), **changes)


SPACES = {
    "every node": space_of(cell()),
    "every node, by position": space_of(cell(), cell_per_position=True),
    "every edge": space_of(cell(inputs=1, nodes=2, output="sum", one_per_edge=True)),
    "none on every edge": space_of(
        cell(inputs=1, nodes=2, output="sum", one_per_edge=True, operations=("none", "nor_conv_1x1"), none="none")
    ),
    "the last node": space_of(cell(inputs=1, nodes=3, output="sum", operations=("nor_conv_3x3",))),
    "the last node, no way around": space_of(
        cell(inputs=1, nodes=3, output="sum", operations=("nor_conv_1x1",), edges=((0, 1), (0, 2), (1, 3), (2, 3)))
    ),
    "block": space_of(
        cell(
            inputs=1, nodes=3, output="sum", operations=("connect",), node_operations=("sep_5x5", "conv_1x1"),
            edges=((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)),
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_no_architecture_is_smaller_than_the_smallest(name: str) -> None:
    space = SPACES[name]
    size = NetworkSize(channels=2, cells=2 if space.cell_per_position else 1, input_shape=(1, 8, 8), classes=4)
    (graph,) = space.cells.values()
    table = cost_table(space, size)
    candidates = np.argwhere(candidate_mask(graph))
    found = []
    for chosen in itertools.product((False, True), repeat=len(candidates)):
        mask = np.zeros((len(graph.edges), len(graph.operations)), dtype=bool)
        mask[tuple(candidates[list(chosen)].T)] = True
        masks = [live(graph, mask)] * size.cells
        try:
            architecture_of(space, masks)
        except InvalidInput:
            continue
        found.append(table.macs(masks))
    assert len(found) > 1
    assert smallest_macs(space, size) == pytest.approx(min(found))
    architecture_of(space, smallest_masks(space, size))  # it is an architecture of the space


@pytest.mark.parametrize("name", registry.names("space"))
def test_the_smallest_of_every_space_is_an_architecture_that_its_budget_just_allows(name: str) -> None:
    space: CellSpace = registry.find("space", name)
    size = NetworkSize(channels=4, cells=7, input_shape=(3, 32, 32), classes=10)
    architecture = architecture_of(space, smallest_masks(space, size))
    least = smallest_macs(space, size)
    assert macs(space, architecture, size) == least
    Budget(least).check_possible(space, size, narrower=False)
    Budget(0.99 * least).check_possible(space, size)  # as a narrower network
    with pytest.raises(InvalidInput, match=r"no network of space .* is that small") as caught:
        Budget(0.99 * least).check_possible(space, size, narrower=False)
    # What the refusal tells to type is not refused again.
    said = str(caught.value).partition("--budget ")[2].split()[0]
    Budget(float(said)).check_possible(space, size, narrower=False)
    assert float(said) == pytest.approx(least, rel=0.01)
