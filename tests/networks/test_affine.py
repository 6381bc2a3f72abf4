"""Absorbing gates into normalisations, and switching their gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from nasray import registry
from nasray.gates import Gates
from nasray.networks import Needs, Network, supernet, target_network
from nasray.networks.affine import absorb, cannot_absorb, train_affine
from nasray.spaces import Architecture, CellGraph, CellSpace, NetworkSize, Normalisation

NORMALISATION = Normalisation(affine=True, after_pool=True, after_identity=True)
SIZE = NetworkSize(channels=4, cells=4, input_shape=(3, 8, 8), classes=10)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Networks this small are slower on two.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def gated(space: CellSpace) -> tuple[Network, list[Gates]]:
    """A supernet with weights, scales, shifts and statistics of all sizes, and gates of either sign."""
    torch.manual_seed(0)
    network = supernet(space, SIZE, auxiliary=True, needs=Needs(normalisation=NORMALISATION))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 1.5)
    generator = np.random.default_rng(0)
    gates, by_name = [], {}
    for name in space.layout(SIZE.cells):
        graph = space.graph(name)
        if name not in by_name:
            active = np.zeros((len(graph.edges), len(graph.operations)), dtype=bool)
            for edges in graph.incoming.values():
                for edge in generator.choice(edges, size=2):
                    active[edge, generator.integers(graph.none is not None, len(graph.operations))] = True
            values = np.where(active, generator.normal(size=active.shape), 0.0)
            by_name[name] = Gates(torch.from_numpy(values).float(), active)
        gates.append(by_name[name])
    return network.eval(), gates


@pytest.mark.parametrize("name", ["darts", "gold"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_logits_stay_and_gates_go(name: str, dtype: torch.dtype, tolerance: float) -> None:
    space = registry.find("space", name)
    network, gates = gated(space)
    network = network.to(dtype)
    gates = [Gates(position.values_EO.to(dtype), position.active_EO) for position in gates]
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    random_state = torch.get_rng_state()
    absorbed = absorb(network, space, SIZE, gates, NORMALISATION)
    assert torch.equal(torch.get_rng_state(), random_state)

    x = torch.randn(8, 3, 8, 8, dtype=dtype)
    for mode in (False, True):  # with the running statistics, and with those of the batch
        network.train(mode)
        absorbed.train(mode)
        with torch.no_grad():
            wanted, found = network(x, gates), absorbed(x)
        assert wanted.std() > 0.01
        torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)
        if not mode:  # the gates do matter, and the supernet is as it was
            assert not torch.allclose(network(x, [Gates(g.values_EO.sign(), g.active_EO) for g in gates]), wanted)
            assert all(torch.equal(value, kept[key]) for key, value in network.state_dict().items())

    cells: dict[str, list[tuple[int, int, str]]] = {}
    for cell, position in zip(space.layout(SIZE.cells), gates, strict=True):
        graph = space.graph(cell)
        cells[cell] = [(*graph.edges[e], graph.operations[o]) for e, o in np.argwhere(position.active_EO)]
    plain = target_network(space, Architecture.of(space, cells), SIZE, normalisation=NORMALISATION)
    assert absorbed.state_dict().keys() == plain.state_dict().keys()
    assert all(parameter.requires_grad for parameter in absorbed.parameters())


def test_what_is_absorbed_is_a_copy() -> None:
    space = registry.find("space", "darts")
    network, gates = gated(space)
    absorbed = absorb(network, space, SIZE, gates, NORMALISATION)
    kept = {key: value.clone() for key, value in absorbed.state_dict().items()}
    with torch.no_grad():
        for value in network.state_dict().values():
            value.zero_()
    assert all(torch.equal(value, kept[key]) for key, value in absorbed.state_dict().items())


def test_only_the_named_operations_train_their_normalisations() -> None:
    space = registry.find("space", "darts")
    network, _ = gated(space)
    masks = []
    for kind in space.kinds(SIZE.cells):
        mask = np.zeros((14, 8), dtype=bool)
        mask[0 if kind == "normal" else 3] = True  # edges 0 to 2 and 1 to 3
        masks.append(mask)
    train_affine(network, masks)
    for position, (cell, kind) in enumerate(zip(network.cells, space.kinds(SIZE.cells), strict=True)):
        prefix = "0_2_" if kind == "normal" else "1_3_"
        for key, operation in cell.operations.items():
            norms = [m for m in operation.modules() if isinstance(m, nn.BatchNorm2d)]
            assert norms, (position, key)
            assert all(p.requires_grad == key.startswith(prefix) for norm in norms for p in norm.parameters())
            others = [m for m in operation.modules() if isinstance(m, nn.Conv2d)]
            assert all(p.requires_grad for conv in others for p in conv.parameters())
        assert all(p.requires_grad for p in cell.preprocess.parameters())
    train_affine(network, [np.ones((14, 8), dtype=bool)] * SIZE.cells)
    assert all(p.requires_grad for p in network.parameters())


def test_operations_that_end_in_no_affine_normalisation_are_named() -> None:
    graph = registry.find("space", "darts").cells["reduce"]
    assert cannot_absorb(graph, NORMALISATION) == []
    pools = ["max_pool_3x3", "avg_pool_3x3"]
    assert cannot_absorb(graph, Normalisation(affine=True, after_pool=False, after_identity=True)) == pools
    assert cannot_absorb(graph, Normalisation(affine=True, after_pool=True, after_identity=False)) == ["skip_connect"]
    strided = CellGraph(inputs=2, nodes=1, operations=("skip_connect",), stride=2)  # where it is a convolution
    assert cannot_absorb(strided, Normalisation(affine=True, after_pool=True, after_identity=False)) == []
    not_affine = Normalisation(affine=False, after_pool=True, after_identity=True)
    assert len(cannot_absorb(graph, not_affine)) == 7
