"""The network of NAS-Bench-201, against its computation written out with torch's functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import architecture_masks, binary_gates
from nasray.networks import supernet, target_network
from nasray.networks.residual import ResidualReduction
from nasray.spaces import Architecture, NetworkSize, from_string
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201, OPERATIONS

SIZE = NetworkSize(channels=3, cells=4, input_shape=(3, 8, 8), classes=7)


def random_cell(generator: np.random.Generator) -> Architecture:
    return from_string(NAS_BENCH_201, "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*generator.choice(OPERATIONS, 6)))


def written_out(x: Tensor, architecture: Architecture, weights: dict[str, Tensor]) -> Tensor:
    """Logits as published, in evaluation mode, from the weights in the order in which they are used."""
    of = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}

    def norm(x: Tensor, name: str) -> Tensor:
        parts = [of.pop(f"{name}.{part}") for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = of.pop(f"{name}.weight")
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    chosen = {(source, target): operation for source, target, operation in architecture.cells["normal"]}
    x = norm(conv(x, "stem.layers.0"), "stem.layers.1")
    for position, first_of_stage in enumerate([False, False, True, True]):
        if first_of_stage:
            name = f"reductions.{position}"
            y = norm(conv(x.relu(), f"{name}.layers.0.1", stride=2), f"{name}.layers.0.2")
            y = norm(conv(y.relu(), f"{name}.layers.1.1"), f"{name}.layers.1.2")
            x = y + conv(F.avg_pool2d(x, 2, 2), f"{name}.shortcut.1")
        nodes = [x]
        for target in (1, 2, 3):
            total = torch.zeros_like(x)
            for source in range(target):
                operation = chosen.get((source, target), "none")
                name = f"cells.{position}.operations.{source}_{target}_{operation}"
                if operation == "skip_connect":
                    total = total + nodes[source]
                elif operation == "avg_pool_3x3":
                    total = total + F.avg_pool2d(nodes[source], 3, 1, padding=1, count_include_pad=False)
                elif operation != "none":
                    total = total + norm(conv(nodes[source].relu(), f"{name}.0"), f"{name}.1")
            nodes.append(total)
        x = nodes[3]
    x = norm(x, "final.0").relu().mean(dim=(2, 3))
    logits = F.linear(x, of.pop("classifier.weight"), of.pop("classifier.bias"))
    assert not of, "every weight is used once"
    return logits


def test_the_target_network_is_the_published_one() -> None:
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    for _ in range(12):
        architecture = random_cell(generator)
        network = target_network(NAS_BENCH_201, architecture, SIZE).double().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.weight, module.bias):
                    assert tensor is not None
                    nn.init.normal_(tensor)
                assert module.running_var is not None
                nn.init.uniform_(module.running_var, 0.5, 2.0)
        x = torch.randn(2, *SIZE.input_shape, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(
                network(x), written_out(x, architecture, network.state_dict()), rtol=1e-10, atol=1e-10
            )


@pytest.mark.parametrize("auxiliary", [False, True])
def test_a_supernet_under_binary_gates_is_the_target_network_with_its_weights(auxiliary: bool) -> None:
    torch.manual_seed(0)
    space = replace(NAS_BENCH_201, evaluation_normalisation=NAS_BENCH_201.search_normalisation)
    whole = supernet(space, SIZE, auxiliary).double()
    x = torch.randn(4, *SIZE.input_shape, dtype=torch.float64)
    generator = np.random.default_rng(1)
    for _ in range(6):
        architecture = random_cell(generator)
        target = target_network(space, architecture, SIZE, auxiliary).double()
        weights = whole.state_dict()
        target.load_state_dict({name: weights[name] for name in target.state_dict()})
        gates = binary_gates(architecture_masks(space, architecture, SIZE.cells))
        for mode in (True, False):
            whole.train(mode)
            target.train(mode)
            for ours, theirs in zip(
                whole.forward_with_auxiliary(x, gates), target.forward_with_auxiliary(x), strict=True
            ):
                assert (ours is None) == (theirs is None)
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_reductions_and_normalisations_around_cells_are_affine_in_searches_too() -> None:
    network = supernet(NAS_BENCH_201, SIZE)
    assert set(network.reductions) == {"2", "3"}
    for part, affine in (
        (network.stem, True),
        (network.reductions, True),
        (network.final, True),
        (network.cells, False),
    ):
        norms = [module for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms
        assert all(norm.affine == affine for norm in norms)


@pytest.mark.parametrize("shape", [(9, 9), (1, 1), (7, 4)])
def test_odd_resolutions_are_rounded_up(shape: tuple[int, int]) -> None:
    height, width = shape
    reduced = ResidualReduction(3, 6)(torch.randn(2, 3, *shape))
    assert reduced.shape == (2, 6, -(-height // 2), -(-width // 2))


def test_the_stem_of_imagenet_is_not_published() -> None:
    with pytest.raises(InvalidInput, match=r"^skeleton 'imagenet': expected one of auto, cifar$"):
        supernet(NAS_BENCH_201, SIZE.replace(skeleton="imagenet"))
