"""Blocks: what is computed, and that a supernet under 0/1 gates is the target network."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasray.gates import Gates, Mask, architecture_of, binary_gates
from nasray.networks import Network, supernet, target_network
from nasray.spaces import Architecture, CellSpace, NetworkSize, live
from search_spaces.architectures.dso import DSO, DSO_FULL, DSO_IMAGENET

SIZE = NetworkSize(channels=4, cells=6, input_shape=(3, 9, 9), classes=5)


def random_architecture(space: CellSpace, cells: int, density: float, seed: int) -> Architecture:
    generator = np.random.default_rng(seed)
    by_name = {}
    for name in space.layout(cells):
        graph = space.graph(name)
        mask = generator.random((len(graph.edges), 1)) < density
        if graph.output == "sum":
            mask[:] = [[True], [False], [True], [False]] if density < 0.3 else True
        by_name[name] = live(graph, mask)
    return architecture_of(space, [by_name[name] for name in space.layout(cells)])


def masks_of(space: CellSpace, architecture: Architecture, cells: int) -> list[Mask]:
    found = []
    for name in space.layout(cells):
        graph = space.graph(name)
        chosen = {choice[:2] for choice in architecture.cells[name]}
        found.append(np.array([[edge in chosen] for edge in graph.edges]))
    return found


@pytest.mark.parametrize("space", [DSO, DSO_FULL], ids=lambda space: space.name)
@pytest.mark.parametrize("density", [0.05, 0.3])
def test_the_supernet_under_an_architecture_is_its_target_network(space: CellSpace, density: float) -> None:
    torch.manual_seed(0)
    architecture = random_architecture(space, SIZE.cells, density, seed=1)
    whole = supernet(space, SIZE, auxiliary=True).double()
    for name, parameter in whole.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    target = target_network(space, architecture, SIZE, auxiliary=True).double()
    weights = whole.state_dict()
    target.load_state_dict({name: weights[name] for name in target.state_dict()})
    gates = binary_gates(masks_of(space, architecture, SIZE.cells))
    x = torch.randn(3, *SIZE.input_shape, dtype=torch.float64)
    for train in (True, False):
        for network in (whole, target):
            network.train(train)
        for one, other in zip(whole.forward_with_auxiliary(x, gates), target.forward_with_auxiliary(x), strict=True):
            assert one is not None
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_factor_scales_what_its_connection_carries() -> None:
    # By hand: input -> separable 3x3 (node 1) -> average pooling (node 8) -> output, with factors 0.5 and 2.
    torch.manual_seed(0)
    block = supernet(DSO, SIZE).double().cells[0]
    graph = DSO.cells["normal"]
    values = torch.zeros(len(graph.edges), 1, dtype=torch.float64)
    for edge, factor in (((0, 1), 1.0), ((1, 8), 0.5), ((8, 17), 2.0)):
        values[graph.edge_index[edge]] = factor
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    found = block((x, x), Gates(values, values.numpy() > 0))
    y = block.operations["8"](0.5 * block.operations["1"](x))
    expected = block.shortcut(x) + torch.relu(block.norm(block.projections["8"](2.0 * y)))
    torch.testing.assert_close(found, expected)


def executed(network: Network, x: Tensor, gates: list[Gates] | None = None) -> Counter[str]:
    """How often operations of nodes, and convolutions at outputs, ran in one forward pass."""
    ran: Counter[str] = Counter()
    hooks = [
        module.register_forward_hook(lambda _module, _x, _y, kind=kind: ran.update([kind]))
        for cell in network.cells
        for kind, modules in (("operation", cell.operations), ("projection", cell.projections))
        for module in modules.values()
    ]
    network(x, gates)
    for hook in hooks:
        hook.remove()
    return ran


@pytest.mark.parametrize("seed", range(3))
def test_only_what_is_alive_is_computed(seed: int) -> None:
    # The masks are not cleaned up: what is dead in them must not run either.
    generator = np.random.default_rng(seed)
    expected: Counter[str] = Counter()
    masks = []
    for name in DSO_FULL.layout(SIZE.cells):
        graph = DSO_FULL.graph(name)
        chosen = generator.random(len(graph.edges)) < 0.25
        nodes = graph.nodes + 1
        adjacency = np.eye(nodes)
        for (source, target), one in zip(graph.edges, chosen, strict=True):
            adjacency[source, target] += one
        reach = np.linalg.matrix_power(adjacency, nodes) > 0
        alive = [node for node in range(1, nodes - 1) if reach[0, node] and reach[node, nodes - 1]]
        expected["operation"] += len(alive)
        if graph.output == "residual":
            expected["projection"] += sum(chosen[graph.edge_index[node, nodes - 1]] for node in alive)
        masks.append(chosen[:, None])
    network = supernet(DSO_FULL, SIZE)
    gates = [Gates(torch.from_numpy(mask).float(), mask) for mask in masks]
    assert executed(network, torch.randn(2, *SIZE.input_shape), gates) == expected
    assert 0 < expected["operation"] < 16 * 4 + 4


def test_a_wholly_pruned_block_is_its_shortcut() -> None:
    choices = {"normal": [], **{f"reduce_{s}": [(0, 1, "connect"), (1, 3, "connect")] for s in (1, 2)}}
    network = target_network(DSO, Architecture.of(DSO, choices), SIZE)
    x = torch.randn(2, 4, 6, 6)
    first, second = network.cells[0], network.cells[1]
    assert second.shortcut is None
    assert not list(second.parameters())
    assert second((x, x)) is x
    torch.testing.assert_close(first((x, x)), first.shortcut(x))


def test_the_scale_is_fixed_in_searched_operations_and_learned_at_evaluation() -> None:
    def scales(network: Network) -> dict[str, bool]:
        norms = {name: m for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        assert all(isinstance(m.bias, nn.Parameter) for m in norms.values())
        return {name: isinstance(m.weight, nn.Parameter) for name, m in norms.items()}

    searched = scales(supernet(DSO, SIZE))
    inside = {name for name in searched if ".operations." in name or ".shortcut." in name}
    assert len(inside) == 16 * 4 + 2 * 2 + 3
    assert {name for name, learned in searched.items() if not learned} == inside
    whole = random_architecture(DSO, SIZE.cells, 0.9, seed=0)
    assert all(scales(target_network(DSO, whole, SIZE)).values())


def test_drop_path_spares_single_connections_and_grows_with_depth() -> None:
    torch.manual_seed(0)
    graph = DSO.cells["normal"]
    only = Architecture.of(
        DSO,
        {
            "normal": [(0, 1, "connect"), (1, 17, "connect")],
            **{f"reduce_{s}": [(0, 1, "connect"), (1, 3, "connect")] for s in (1, 2)},
        },
    )
    network = target_network(DSO, only, SIZE.replace(cells=26))
    assert graph.output == "residual"
    dropped = []
    for position in (0, 25):
        block = network.cells[position].train()
        x = torch.randn(4000, block.channels_out, 1, 1)
        seen: list[Tensor] = []
        hook = block.norm.register_forward_hook(lambda _m, given, _y, seen=seen: seen.append(given[0]))
        block((x, x), None, 0.5)
        hook.remove()
        dropped.append(float((seen[0] == 0).all(dim=1).float().mean()))
    assert dropped[0] == pytest.approx(0.5 / 26, abs=0.01)
    assert dropped[1] == pytest.approx(0.5, abs=0.04)


def test_the_auxiliary_head_stands_after_the_last_reduction() -> None:
    size = NetworkSize(channels=2, cells=26, input_shape=(3, 64, 64), classes=3, skeleton="imagenet")
    network = supernet(DSO_IMAGENET, size, auxiliary=True)
    seen: list[torch.Size] = []
    assert network.auxiliary is not None
    network.auxiliary.register_forward_hook(lambda _module, given, _y: seen.append(given[0].shape))
    empty = [np.zeros((len(DSO_IMAGENET.cells[k].edges), 1), dtype=bool) for k in DSO_IMAGENET.kinds(26)]
    main, auxiliary = network.forward_with_auxiliary(torch.randn(2, 3, 64, 64), binary_gates(empty))
    assert main.shape == (2, 3)
    assert auxiliary is not None
    assert seen == [torch.Size((2, 16, 2, 2))]  # three reductions after a stem of two
