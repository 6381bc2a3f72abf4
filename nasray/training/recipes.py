"""The augmentations that every dataset of images has, by the size of its images and the moments of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from nasray.training.dataset import Transform
from nasray.training.image_files import Reading
from nasray.training.images import ImageTransform

Policy = Literal["autoaugment", "randaugment"]


def augmentations_of(pixels_NCHW: Tensor) -> Mapping[str, Transform]:
    """The augmentations of a dataset of images, normalised by the moments of some of its training images.

    A crop out of an eighth of padding, a flip, and a cutout of half a side: CIFAR-10's recipe (4 pixels and 16 of 32)
    at other sizes, which is a choice of ours.
    """
    height, width = pixels_NCHW.shape[-2:]
    mean, std = _moments(pixels_NCHW)
    side = min(height, width)
    return with_policies(
        ImageTransform(mean=mean, std=std, crop_padding=max(1, round(side / 8)), flip=True, cutout=max(1, side // 2)),
        side,
    )


def with_policies(recipe: ImageTransform, side: int, none: ImageTransform | None = None) -> Mapping[str, Transform]:
    """A recipe (``cutout``), the lesser forms of it (``none``, ``standard``), and learned policies before the standard.

    Args:
        recipe: crop, flip, normalisation and cutout.
        side: the smaller one of the images, in pixels.
        none: for validation and testing; None is the recipe without crop, flip and cutout.
    """
    standard = replace(recipe, cutout=0)
    return {
        "none": none or replace(standard, crop_padding=0, flip=False),
        "standard": standard,
        "cutout": recipe,
        "autoaugment": PolicyTransform(policy="autoaugment", then=standard, small=side < 96),
        "randaugment": PolicyTransform(policy="randaugment", then=standard),
    }


@dataclass(frozen=True, kw_only=True)
class PolicyTransform:
    """AutoAugment (Cubuk et al. 2019, arXiv:1805.09501) or RandAugment (Cubuk et al. 2020, arXiv:1909.13719), as
    torchvision has them, drawn for every image of its own; then crop, flip and normalisation."""

    policy: Policy
    then: ImageTransform
    small: bool = True
    """Whether AutoAugment's policy is the one learned on CIFAR-10, else on ImageNet."""

    @property
    def reading(self) -> Reading | None:
        """How an image that is streamed is taken from its file."""
        return self.then.reading

    def __call__(self, x_NCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Network inputs for a raw batch of uint8 images (N, C, H, W), in channels_last memory format.

        Raises:
            InvalidInput: there is no generator.
        """
        if generator is not None:
            # torchvision draws from the global generators, on the CPU: theirs are put back. On a GPU the seed is one
            # wait for the device a batch.
            device = x_NCHW.device
            seed = int(torch.randint(2**62, (), generator=generator, device=device))
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(seed)
                change = _policy(self.policy, self.small)
                x_NCHW = torch.stack([change(image) for image in x_NCHW])
        return self.then(x_NCHW, generator)


@lru_cache
def _policy(policy: Policy, small: bool) -> Callable[[Any], Tensor]:
    from torchvision.transforms import v2

    made: Callable[[Any], Tensor]
    if policy == "autoaugment":
        made = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10 if small else v2.AutoAugmentPolicy.IMAGENET)
    else:
        made = v2.RandAugment()
    return made


def _moments(pixels_NCHW: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, as fractions of 255. A channel without any spread has 1."""
    values = pixels_NCHW.double() / 255
    mean, std = values.mean(dim=(0, 2, 3)), values.std(dim=(0, 2, 3), correction=0)
    return tuple(mean.tolist()), tuple(one if one > 1e-6 else 1.0 for one in std.tolist())
