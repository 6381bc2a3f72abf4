from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasray.gates import Gates, Mask, candidate_mask
from nasray.networks import Needs
from nasray.networks.cell import Cell, drop_path, operation_key
from nasray.spaces import CellGraph, CellSpace
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD
from tests.executed import executed

CASES = [(space, kind, after) for space in (DARTS, GOLD) for kind in space.cells for after in (False, True)]
IDS = [f"{space.name}-{kind}-{'after' if after else 'before'}" for space, kind, after in CASES]


def make(space: CellSpace, kind: str, after_reduction: bool, mask: Mask | None = None) -> Cell:
    graph = space.cells[kind]
    mask = candidate_mask(graph) if mask is None else mask
    return Cell(graph, mask, 4, (6, 5), after_reduction, space.search_normalisation, Needs()).double()


def inputs(after_reduction: bool, size: int = 6) -> tuple[Tensor, Tensor]:
    first = 2 * size if after_reduction else size
    return torch.randn(3, 6, first, first).double(), torch.randn(3, 5, size, size).double()


def slow_cell(cell: Cell, graph: CellGraph, x: tuple[Tensor, Tensor], values_EO: Tensor) -> Tensor:
    """Node after node, edge after edge, operation after operation."""
    states = [cell.preprocess[0](x[0]), cell.preprocess[1](x[1])]
    for node in graph.targets:
        total = torch.zeros(())
        for edge, (source, target) in enumerate(graph.edges):
            for index, name in enumerate(graph.operations):
                if target == node and values_EO[edge, index] != 0 and name != graph.none:
                    operation = cell.operations[operation_key(source, target, name)]
                    before = torch.relu(states[source]) if operation.activated else states[source]
                    total = total + values_EO[edge, index] * operation(before)
        states.append(total)
    return torch.cat(states[2:], dim=1)


@pytest.mark.parametrize(("space", "kind", "after"), CASES, ids=IDS)
def test_nodes_sum_gated_operations(space: CellSpace, kind: str, after: bool, random_masks: Any):
    torch.manual_seed(0)
    graph = space.cells[kind]
    cell = make(space, kind, after)
    x = inputs(after)
    mask = random_masks(space, 3, np.random.default_rng(0))[0 if kind == "normal" else 1]
    values = torch.where(torch.from_numpy(mask), torch.rand(mask.shape).double() + 0.1, 0.0)
    y = cell(x, Gates(values, mask))
    assert y.shape == (3, 4 * 4, 6 // graph.stride, 6 // graph.stride)
    torch.testing.assert_close(y, slow_cell(cell, graph, x, values))


@pytest.mark.parametrize(("space", "kind", "after"), CASES, ids=IDS)
def test_a_target_cell_sums_plainly(space: CellSpace, kind: str, after: bool, random_masks: Any):
    mask = random_masks(space, 3, np.random.default_rng(1))[0 if kind == "normal" else 1]
    cell = make(space, kind, after, mask)
    assert len(cell.operations) == mask.sum()
    x = inputs(after)
    torch.testing.assert_close(cell(x), slow_cell(cell, space.cells[kind], x, torch.from_numpy(mask).double()))


@pytest.mark.parametrize(("space", "kind", "after"), CASES, ids=IDS)
def test_zero_gates_are_not_executed_and_get_no_gradient(space: CellSpace, kind: str, after: bool, random_masks: Any):
    graph = space.cells[kind]
    cell = make(space, kind, after)
    mask = random_masks(space, 3, np.random.default_rng(2))[0 if kind == "normal" else 1]
    values = torch.from_numpy(mask).double().requires_grad_()
    with executed(cell) as computed:
        cell(inputs(after), Gates(values, mask)).square().sum().backward()
    ran = [key for one in computed for key, operation in cell.operations.items() if operation is one]
    chosen = {operation_key(*graph.edges[e], graph.operations[o]) for e, o in np.argwhere(mask)}
    assert sorted(ran) == sorted(chosen)
    for key, operation in cell.operations.items():
        assert all((parameter.grad is not None) == (key in chosen) for parameter in operation.parameters()), key
        for norm in operation.modules():
            if isinstance(norm, nn.BatchNorm2d):
                assert int(norm.num_batches_tracked) == (key in chosen)
    assert values.grad is not None
    assert not values.grad[~torch.from_numpy(mask)].any()


@pytest.mark.parametrize("kind", ["normal", "reduce"])
@pytest.mark.parametrize("size", [6, 7])
def test_a_node_without_operations_is_zero(kind: str, size: int):
    cell = make(GOLD, kind, False)
    mask = np.zeros((14, 2), dtype=bool)
    mask[:2] = True  # node 2 alone
    y = cell(inputs(False, size), Gates(torch.from_numpy(mask).double(), mask))
    rows = -(-size // cell.graph.stride)
    assert y.shape == (3, 16, rows, rows)
    assert y[:, :4].any()
    assert not y[:, 4:].any()


def test_drop_path_drops_whole_examples_and_keeps_the_mean():
    torch.manual_seed(0)
    n, p = 20_000, 0.3
    y = drop_path(torch.ones(n, 2, 3, 1), p)
    flat = y.flatten(1)
    assert (flat == flat[:, :1]).all()
    kept = flat[:, 0] != 0
    torch.testing.assert_close(flat[kept], torch.full_like(flat[kept], 1 / (1 - p)))
    # Binomial: five standard deviations.
    assert abs(int(kept.sum()) - n * (1 - p)) < 5 * (n * p * (1 - p)) ** 0.5


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_drop_path_spares_the_identity_alone(space: CellSpace):
    torch.manual_seed(0)
    for kind in space.cells:
        graph = space.cells[kind]
        for index, name in enumerate(graph.operations):
            if name == graph.none:
                continue
            mask = np.zeros((14, len(graph.operations)), dtype=bool)
            mask[graph.edge_index[0, 2], index] = True  # one operation into node 2, nothing else
            cell = make(space, kind, False)
            x = tuple(torch.randn(64, *part.shape[1:]).double() for part in inputs(False))
            gates = Gates(torch.from_numpy(mask).double(), mask)
            kept = cell((x[0], x[1]), gates, 0.0)[:, :4]
            dropped = cell((x[0], x[1]), gates, 0.5)[:, :4]
            lost = int((dropped.flatten(1) == 0).all(dim=1).sum())
            if name == "skip_connect" and graph.stride == 1:
                torch.testing.assert_close(dropped, kept)
            else:
                assert 12 < lost < 52, (kind, name)  # of 64 with probability 1/2
                alive = ~(dropped.flatten(1) == 0).all(dim=1)
                torch.testing.assert_close(dropped[alive], 2 * kept[alive])
            torch.testing.assert_close(cell.eval()((x[0], x[1]), gates, 0.5), cell((x[0], x[1]), gates), rtol=0, atol=0)
