from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import architecture_of, binary_gates, candidate_mask
from nasray.networks import supernet, target_network
from nasray.networks.skeletons import AuxiliaryHead, CifarStem, ImageNetStem
from nasray.spaces import CellSpace, NetworkSize, from_genotype
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

SMALL = NetworkSize(channels=4, cells=4, input_shape=(3, 9, 9), classes=7)


@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_a_supernet_under_binary_gates_is_the_target_network_with_its_weights(
    space: CellSpace, auxiliary: bool, random_masks: Any
):
    torch.manual_seed(0)
    # Normalised alike: the papers normalise search and evaluation differently.
    space = replace(space, evaluation_normalisation=space.search_normalisation)
    whole = supernet(space, SMALL, auxiliary).double()
    x = torch.randn(4, 3, 9, 9, dtype=torch.float64)
    for seed in range(3):
        masks = random_masks(space, SMALL.cells, np.random.default_rng(seed))
        target = target_network(space, architecture_of(space, masks), SMALL, auxiliary).double()
        weights = whole.state_dict()
        assert set(target.state_dict()) <= set(weights)
        target.load_state_dict({name: weights[name] for name in target.state_dict()})
        gates = binary_gates(masks)
        for mode in (True, False):
            whole.train(mode)
            target.train(mode)
            logits, side = whole.forward_with_auxiliary(x, gates)
            same_logits, same_side = target.forward_with_auxiliary(x)
            torch.testing.assert_close(logits, same_logits, rtol=1e-10, atol=1e-10)
            assert (side is None) == (same_side is None) == (not auxiliary)
            if side is not None:
                torch.testing.assert_close(side, same_side, rtol=1e-10, atol=1e-10)
            if not mode:
                torch.testing.assert_close(whole(x, gates), logits)


@pytest.mark.parametrize(
    ("size", "resolutions", "channels"),
    [
        # L/3 and 2L/3 halve the resolution and double the channels; every cell gives four nodes (methods.md 0.1).
        (
            NetworkSize(channels=4, cells=6, input_shape=(3, 32, 32), classes=10),
            [32, 32, 16, 16, 8, 8],
            [1, 1, 2, 2, 4, 4],
        ),
        (
            NetworkSize(channels=4, cells=6, input_shape=(3, 224, 224), classes=10, skeleton="imagenet"),
            [28, 28, 14, 14, 7, 7],
            [1, 1, 2, 2, 4, 4],
        ),
    ],
    ids=["cifar", "imagenet"],
)
def test_cells_are_wired_to_the_two_before_them(size: NetworkSize, resolutions: list[int], channels: list[int]):
    architecture = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype)
    network = target_network(DARTS, architecture, size, auxiliary=True).eval()
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    stem: list[tuple[Tensor, Tensor]] = []
    head: list[Tensor] = []
    classified: list[Tensor] = []
    network.stem.register_forward_hook(lambda _m, _x, y: stem.append(y))
    for cell in network.cells:
        cell.register_forward_hook(lambda _m, x, y: seen.append((*x[0], y)))
    assert network.auxiliary is not None
    network.auxiliary.register_forward_hook(lambda _m, x, _y: head.append(x[0]))
    network.classifier.register_forward_hook(lambda _m, x, _y: classified.append(x[0]))
    with torch.no_grad():
        network.forward_with_auxiliary(torch.randn(1, *size.input_shape))
        assert len(head) == 1
        network(torch.randn(1, *size.input_shape))
        assert len(head) == 1, "the head is for training"
    outputs = [*stem[0], *(y for *_, y in seen[:6])]
    for position in range(6):
        assert seen[position][0] is outputs[position]
        assert seen[position][1] is outputs[position + 1]
        assert outputs[position + 2].shape == (1, 16 * channels[position], *[resolutions[position]] * 2)
    assert head[0] is outputs[2 + 2 * size.cells // 3]
    torch.testing.assert_close(classified[0], outputs[-1].flatten(2).mean(dim=2))
    if size.skeleton == "imagenet":
        assert [s.shape[-1] for s in stem[0]] == [56, 28]
    else:
        assert stem[0][0] is stem[0][1]


def copied(ours: nn.Module, published: nn.Module) -> None:
    assert [p.shape for p in ours.parameters()] == [p.shape for p in published.parameters()]
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), published.parameters(), strict=True):
            mine.copy_(nn.init.normal_(theirs))


def test_the_stem_of_small_images():
    ours = CifarStem(SMALL)
    published = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12))
    copied(ours, published)
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(ours(x)[0], published(x))


@pytest.mark.parametrize(
    ("shape", "skeleton", "stem"),
    [
        ((3, 127, 500), "auto", CifarStem),
        ((3, 128, 500), "auto", ImageNetStem),
        ((3, 224, 224), "cifar", CifarStem),
        ((3, 32, 32), "imagenet", ImageNetStem),
    ],
)
def test_the_skeleton_follows_the_input_unless_it_is_given(shape: tuple[int, ...], skeleton: str, stem: type) -> None:
    # The field prints 574 M for DARTS_V2 with the stem of ImageNet, and some 45,000 M come of the other one.
    with torch.device("meta"):
        network = supernet(DARTS, SMALL.replace(input_shape=shape, skeleton=skeleton))
    assert type(network.stem) is stem


def test_the_stem_of_imagenet():
    ours = ImageNetStem(SMALL.replace(channels=6))
    stem0 = nn.Sequential(
        nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
    )
    stem1 = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6))
    copied(ours, nn.ModuleList([stem0, stem1]))
    x = torch.randn(2, 3, 32, 32)
    first, second = ours(x)
    torch.testing.assert_close(first, stem0(x))
    torch.testing.assert_close(second, stem1(first))


@pytest.mark.parametrize(("stride", "pixels"), [(3, 8), (2, 7)], ids=["cifar", "imagenet"])
def test_the_auxiliary_head_is_the_published_one(stride: int, pixels: int):
    ours = AuxiliaryHead(12, 10, stride, second_norm=stride == 3)
    features = [
        *(nn.ReLU(), nn.AvgPool2d(5, stride=stride, padding=0, count_include_pad=False)),
        *(nn.Conv2d(12, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU()),
        nn.Conv2d(128, 768, 2, bias=False),
        *([nn.BatchNorm2d(768)] if stride == 3 else []),
        nn.ReLU(),
    ]
    published = nn.Sequential(*features, nn.Flatten(), nn.Linear(768, 10))
    copied(ours, published)
    x = torch.randn(3, 12, pixels, pixels)
    torch.testing.assert_close(ours(x), published(x), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("pixels", [1, 2, 3, 5, 6, 11])
def test_the_auxiliary_head_takes_maps_of_any_size(pixels: int):
    assert AuxiliaryHead(4, 10, 3, True)(torch.randn(2, 4, pixels, pixels)).shape == (2, 10)


def test_search_and_evaluation_normalise_as_published():
    architecture = from_genotype(DARTS, DARTS.references["PC_DARTS_cifar"].genotype)
    for network, affine in ((supernet(DARTS, SMALL), False), (target_network(DARTS, architecture, SMALL), True)):
        assert all(m.affine == affine for m in network.cells.modules() if isinstance(m, nn.BatchNorm2d))
        assert all(m.affine for m in network.stem.modules() if isinstance(m, nn.BatchNorm2d))
        pools = [o for c in network.cells for k, o in c.operations.items() if "pool" in k]
        assert pools
        assert all(len(pool) == (1 if affine else 2) for pool in pools)
    for network in (supernet(GOLD, SMALL),):
        assert not any(m.affine for m in network.cells.modules() if isinstance(m, nn.BatchNorm2d))
        identities = [o for c in network.cells for o in c.operations.values() if o.is_identity]
        assert identities
        assert all([type(m) for m in o] == [nn.BatchNorm2d] for o in identities)


def test_networks_hold_channels_last_tensors():
    network = supernet(DARTS, SMALL)
    weight = network.cells[0].preprocess[1][1].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_another_number_of_cells():
    architecture = from_genotype(GOLD, GOLD.references["GOLD_s1"].genotype)
    with pytest.raises(InvalidInput, match=r"^4 cells .* expected 14$"):
        target_network(GOLD, architecture, SMALL)


def test_seconds_fall_as_gates_empty():
    size = NetworkSize(channels=8, cells=4, input_shape=(3, 16, 16), classes=10)
    network = supernet(GOLD, size)
    x = torch.randn(16, 3, 16, 16)
    full = [candidate_mask(GOLD.cells[kind]) for kind in GOLD.kinds(4)]
    thin = []
    for mask in full:
        thin.append(np.zeros_like(mask))
        thin[-1][[0, 2, 5, 9], 1] = True  # 4 of 28 operations

    def fastest(masks: list[Any]) -> float:
        gates = binary_gates(masks)
        times = []
        for _ in range(10):
            began = time.perf_counter()
            network(x, gates).square().sum().backward()
            times.append(time.perf_counter() - began)
        return min(times)

    assert fastest(thin) < 0.6 * fastest(full)
