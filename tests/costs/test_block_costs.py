"""Costs of blocks against torch's FLOP counter and built networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nasray.costs import cost_table, expected_macs, macs, params
from nasray.gates import Gates, Mask, architecture_of
from nasray.networks import target_network
from nasray.spaces import Architecture, CellSpace, NetworkSize, live
from search_spaces.architectures.dso import DSO, DSO_FULL, DSO_IMAGENET

SMALL = NetworkSize(channels=6, cells=5, input_shape=(3, 9, 9), classes=5)


def random_masks(space: CellSpace, cells: int, density: float, seed: int) -> list[Mask]:
    generator = np.random.default_rng(seed)
    masks = {}
    for name in space.layout(cells):
        graph = space.graph(name)
        masks[name] = generator.random((len(graph.edges), 1)) < density
        if graph.output == "sum":
            masks[name][:] = [[True], [True], [True], [bool(seed % 2)]]
    return [masks[name] for name in space.layout(cells)]


def architecture(space: CellSpace, masks: list[Mask]) -> Architecture:
    names = space.layout(len(masks))
    return architecture_of(space, [live(space.graph(name), mask) for name, mask in zip(names, masks, strict=True)])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("space", "size"),
    [
        (DSO, SMALL),
        (DSO_FULL, SMALL),
        (DSO_IMAGENET, NetworkSize(channels=4, cells=7, input_shape=(3, 32, 32), classes=7, skeleton="imagenet")),
    ],
    ids=["share", "full", "imagenet"],
)
def test_costs_are_those_of_the_built_network(space: CellSpace, size: NetworkSize, seed: int) -> None:
    masks = random_masks(space, size.cells, (0.03, 0.2, 1.0)[seed], seed)
    chosen = architecture(space, masks)
    network = target_network(space, chosen, size).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.randn(1, *size.input_shape))
    assert macs(space, chosen, size) * 1e6 == pytest.approx(counter.get_total_flops() / 2, abs=0.5)
    assert params(space, chosen, size) * 1e6 == pytest.approx(sum(p.numel() for p in network.parameters()), abs=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_expected_is_exact_at_zero_and_one_with_dead_connections_too(seed: int) -> None:
    masks = random_masks(DSO_FULL, SMALL.cells, (0.03, 0.2, 1.0)[seed], seed)
    gates = [Gates(torch.from_numpy(mask).double(), mask) for mask in masks]
    exact = macs(DSO_FULL, architecture(DSO_FULL, masks), SMALL)
    assert float(expected_macs(DSO_FULL, gates, SMALL)) == pytest.approx(exact, rel=1e-12)
    assert cost_table(DSO_FULL, SMALL).macs(masks) == pytest.approx(exact, rel=1e-12)


def test_the_expectation_is_that_of_independent_connections_where_paths_do_not_meet() -> None:
    # Two connections p and q in a row: the operation and its convolution are paid with the probability p q.
    masks = [np.zeros((len(DSO.cells[kind].edges), 1), dtype=bool) for kind in DSO.kinds(5)]
    graph = DSO.cells["normal"]
    first, last = graph.edge_index[0, 1], graph.edge_index[1, 17]
    table = cost_table(DSO, SMALL)
    values = [torch.zeros(mask.shape, dtype=torch.float64) for mask in masks]
    values[0][first], values[0][last] = 0.7, 0.4
    values[0].requires_grad_()
    found = expected_macs(DSO, [Gates(v, m) for v, m in zip(values, masks, strict=True)], SMALL)
    block = (table.macs_N[0][0] + table.macs_EO[0][last, 0]) / 1e6
    assert float(found.detach()) == pytest.approx(table.base_macs / 1e6 + 0.28 * block)
    (gradient,) = torch.autograd.grad(found, values[0])
    assert float(gradient[first]) == pytest.approx(0.4 * block)
    assert float(gradient[last]) == pytest.approx(0.7 * block)
