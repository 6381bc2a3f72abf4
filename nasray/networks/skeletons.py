"""What surrounds the cells of an image network: stems, auxiliary heads (methods.md 0.4), and what comes last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.spaces import NetworkSize

AUTO = "auto"
"""Name of the skeleton that follows from the input."""
LARGE = 128
"""Pixels of the shorter side from which on images are large."""


class Stem(nn.Module):
    """What comes before the cells: gives both inputs of the first one."""

    channels: tuple[int, int]
    """Channels of the two inputs."""


class CifarStem(Stem):
    """Small images: one 3x3 convolution, to 3C channels for cells that concatenate; both inputs of the first cell are
    its output."""

    def __init__(self, size: NetworkSize, widening: int = 3) -> None:
        super().__init__()
        channels = widening * size.channels
        self.layers = nn.Sequential(
            nn.Conv2d(size.input_shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.channels = (channels, channels)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Both inputs of the first cell, at the resolution of x."""
        x = self.layers(x_NCHW)
        return x, x


class ImageNetStem(Stem):
    """224x224: three 3x3 convolutions of stride 2; the first cell sees the outputs of the last two."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        channels, half = size.channels, max(size.channels // 2, 1)
        self.first = nn.Sequential(
            nn.Conv2d(size.input_shape[0], half, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.second = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.channels = (channels, channels)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs of the first cell at a quarter and at an eighth of the resolution of x."""
        first = self.first(x_NCHW)
        return first, self.second(first)


class AuxiliaryHead(nn.Module):
    """A second classifier after the second reduction, in training only."""

    def __init__(self, channels: int, classes: int, stride: int, second_norm: bool) -> None:
        super().__init__()
        self.stride = stride
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768) if second_norm else nn.Identity(),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Logits (N, classes). On maps of less than 5 + stride pixels, for which the published 5x5 pooling
        leaves less than the 2x2 that follow, an adaptive pooling to 2x2 takes its place (our choice)."""
        x = F.relu(x_NCHW)
        if min(x.shape[-2:]) >= 5 + self.stride:
            x = F.avg_pool2d(x, 5, stride=self.stride, count_include_pad=False)
        else:
            x = F.adaptive_avg_pool2d(x, 2)
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True)
class Skeleton:
    """How a kind of network begins, and how its auxiliary head looks."""

    stem: Callable[[NetworkSize], Stem]
    after_reduction: bool
    """Whether the stem counts as a reduction: its first output has twice the resolution of its second, or the
    first block after it begins a stage."""
    auxiliary: Callable[[int, int], nn.Module]
    """(channels, classes) to an auxiliary head."""
    final: Callable[[int], nn.Module] = lambda channels: nn.Identity()
    """(channels) to what stands between the last cell and the pooling before the classifier."""


def final_norm(channels: int) -> nn.Module:
    """Batch normalisation and ReLU, after cells that end in neither."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def _cifar_head(channels: int, classes: int) -> nn.Module:
    return AuxiliaryHead(channels, classes, 3, True)


SKELETONS = {
    "cifar": Skeleton(CifarStem, False, _cifar_head),
    # The released ImageNet head has no second normalisation, kept so on purpose by its authors.
    "imagenet": Skeleton(ImageNetStem, True, lambda channels, classes: AuxiliaryHead(channels, classes, 2, False)),
}


# Around cells that give a sum (NAS-Bench-201). The auxiliary head is DARTS's (our choice: none is published).
SUM_SKELETONS = {"cifar": Skeleton(lambda size: CifarStem(size, widening=1), False, _cifar_head, final_norm)}


def skeleton(size: NetworkSize, skeletons: Mapping[str, Skeleton] = SKELETONS) -> Skeleton:
    """The skeleton of a size, among those of a kind of network.

    Raises:
        InvalidInput: there is no such skeleton, or the input is no image.
    """
    if size.skeleton not in (AUTO, *skeletons):
        raise InvalidInput(f"skeleton {size.skeleton!r}: expected one of {', '.join((AUTO, *skeletons))}")
    if len(size.input_shape) != 3:
        raise InvalidInput(
            f"input shape {size.input_shape} for skeleton {size.skeleton!r}: expected (channels, height, width)"
        )
    return skeletons[skeleton_name(size, skeletons)]


def skeleton_name(size: NetworkSize, skeletons: Mapping[str, Skeleton] = SKELETONS) -> str:
    """The name of a size's skeleton: its own, or the one that follows from the input (our choice: 128 pixels are four
    times the field's small images, and what three halvings leave is still reduced twice by the cells)."""
    if size.skeleton != AUTO:
        return size.skeleton
    large = "imagenet" in skeletons and min(size.input_shape[1:]) >= LARGE
    return "imagenet" if large else next(iter(skeletons))
