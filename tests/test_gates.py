from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nasray.errors import InvalidInput
from nasray.gates import architecture_masks, architecture_of, binary_gates, candidate_mask
from nasray.spaces import CellSpace, from_genotype
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD


@pytest.mark.parametrize(("space", "candidates"), [(DARTS, 14 * 7), (GOLD, 14 * 2)], ids=["darts", "gold"])
def test_every_operation_but_none_is_a_candidate(space: CellSpace, candidates: int):
    for graph in space.cells.values():
        mask = candidate_mask(graph)
        assert mask.sum() == candidates
        if graph.none is not None:
            assert not mask[:, graph.operations.index(graph.none)].any()


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_masks_and_architectures_say_the_same(space: CellSpace, random_masks: Any):
    generator = np.random.default_rng(0)
    for cells in (3, 5, 8):
        masks = random_masks(space, cells, generator)
        architecture = architecture_of(space, masks)
        for name, mask in zip(space.layout(cells), masks, strict=True):
            graph = space.graph(name)
            listed = {
                (s, t, o) for i, (s, t) in enumerate(graph.edges) for j, o in enumerate(graph.operations) if mask[i, j]
            }
            assert set(architecture.cells[name]) == listed
        again = architecture_masks(space, architecture, cells)
        assert all((a == b).all() for a, b in zip(masks, again, strict=True))


def test_binary_gates_are_the_masks(random_masks: Any):
    masks = random_masks(DARTS, 6, np.random.default_rng(0))
    for mask, gates in zip(masks, binary_gates(masks), strict=True):
        assert gates.active_EO is mask
        assert torch.equal(gates.values_EO, torch.from_numpy(mask).float())


def test_a_node_that_receives_nothing_is_no_architecture():
    masks = [candidate_mask(GOLD.cells[kind]) for kind in GOLD.kinds(3)]
    masks[1][[5, 6, 7, 8]] = False
    with pytest.raises(InvalidInput, match=r"^nothing enters node 4 in cell 'reduce_1' of 'gold'"):
        architecture_of(GOLD, masks)


def test_masks_of_another_number_of_cells():
    architecture = from_genotype(GOLD, GOLD.references["GOLD_s1"].genotype)
    with pytest.raises(InvalidInput, match=r"expected 14$"):
        architecture_masks(GOLD, architecture, 8)
