"""Augmentation and normalisation of whole batches of images, on the device that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nasray.errors import InvalidInput
from nasray.training.image_files import Reading


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """Random crop, flip, normalisation and cutout, in this order, each drawn for every image of its own.

    The usual recipe for small images: zero padding and crop of the raw image, horizontal flip, normalisation,
    then cutout (DeVries & Taylor 2017, arXiv:1708.04552), whose squares are therefore the mean colour and not
    black. Without crop, flip and cutout nothing is drawn and no generator is needed.

    Raises:
        InvalidInput: a field is out of range.
    """

    mean: tuple[float, ...]
    """For each channel, as a fraction of 255."""

    std: tuple[float, ...]
    """For each channel, as a fraction of 255."""

    crop_padding: int = 0
    """Pixels of zeros on every side, out of which an image of the original size is cropped."""

    flip: bool = False
    """Whether each image is mirrored, left to right, with probability 1/2."""

    cutout: int = 0
    """Side of the square in pixels. Its centre is any pixel, so at the border a part of it falls outside."""

    reading: Reading | None = None
    """How an image that is streamed from its file is taken from it, before all else; None takes it whole."""

    def __post_init__(self) -> None:
        """Check the fields."""
        if len(self.mean) != len(self.std) or not self.mean:
            raise InvalidInput(f"mean {self.mean}, std {self.std}: expected one of each for every channel")
        if not all(std > 0 for std in self.std):
            raise InvalidInput(f"std {self.std}: expected a number above 0")
        for name in ("crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} {getattr(self, name)}: expected a number of pixels from 0")

    def __call__(self, x_NCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Network inputs for a raw batch.

        Args:
            x_NCHW: uint8 images.
            generator: what all randomness is drawn from; on the device of the images.

        Returns:
            float32, of the same shape, in channels_last memory format.

        Raises:
            InvalidInput: the images are not what this transform is for, or it draws and has no generator.
        """
        return self.of_part(x_NCHW, len(x_NCHW), slice(None), generator)

    def of_part(self, x_NCHW: Tensor, of: int, part: slice, generator: torch.Generator | None = None) -> Tensor:
        """Network inputs for a part of a raw batch: the same as that part of those for the whole batch.

        Args:
            x_NCHW: uint8 images, of the part alone.
            of: images of the whole batch, for all of which is drawn.
            part: which of them these are.
            generator: as for a whole batch.

        Raises:
            InvalidInput: as for a whole batch.
        """
        if x_NCHW.dtype != torch.uint8 or x_NCHW.ndim != 4 or x_NCHW.shape[1] != len(self.mean):
            raise InvalidInput(
                f"images of type {x_NCHW.dtype} and shape {tuple(x_NCHW.shape)}: "
                f"expected torch.uint8 images of shape N x {len(self.mean)} x H x W"
            )
        if self.crop_padding or self.flip:
            draws = Draws(of, part, _given(generator), x_NCHW.device)
            x_NCHW = _crop_and_flip(x_NCHW, self.crop_padding, self.flip, draws)
        shift_C11, scale_C11 = _moments(self.mean, self.std, x_NCHW.device)
        y_NCHW = x_NCHW.to(torch.float32, memory_format=torch.channels_last)
        y_NCHW = y_NCHW.sub_(shift_C11).div_(scale_C11)
        if self.cutout:
            draws = Draws(of, part, _given(generator), x_NCHW.device)
            y_NCHW.masked_fill_(_squares(y_NCHW, self.cutout, draws), 0.0)
        return y_NCHW


class Draws(NamedTuple):
    """What is drawn for a whole batch, of which a part is looked at."""

    of: int
    part: slice
    generator: torch.Generator
    device: torch.device

    def below(self, high: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Whole numbers from 0, one for each image of the part: (n, 1)."""
        drawn = torch.randint(0, high, (self.of, 1), generator=self.generator, device=self.device, dtype=dtype)
        return drawn[self.part]


def _given(generator: torch.Generator | None) -> torch.Generator:
    # The global generator would work too, and quietly make a run depend on whatever else drew from it.
    if generator is None:
        raise InvalidInput("generator None with random augmentation: expected a torch.Generator")
    return generator


@lru_cache
def _moments(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    # Cached because making a tensor of Python numbers on a GPU waits for the GPU, at every batch. The values
    # outlive the caller, who may be in inference mode, whose tensors autograd refuses.
    with torch.inference_mode(False):
        shift_C11, scale_C11 = (
            255 * torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std)
        )
        return shift_C11.to(device, torch.float32), scale_C11.to(device, torch.float32)


def _crop_and_flip(x_NCHW: Tensor, padding: int, flip: bool, draws: Draws) -> Tensor:
    """Every image's window of the padded batch, mirrored or not, in one gather."""
    n, channels, height, width = x_NCHW.shape
    device = x_NCHW.device
    rows_NH = torch.arange(height, device=device).expand(n, -1)
    cols_NW = torch.arange(width, device=device).expand(n, -1)
    if flip:
        mirrored_N1 = draws.below(2, torch.bool)
        cols_NW = torch.where(mirrored_N1, cols_NW.flip(1), cols_NW)
    if padding:
        rows_NH, cols_NW = rows_NH + draws.below(2 * padding + 1), cols_NW + draws.below(2 * padding + 1)
        x_NCHW = F.pad(x_NCHW, (padding, padding, padding, padding))
    pixels_NHW = rows_NH[:, :, None] * x_NCHW.shape[3] + cols_NW[:, None, :]
    pixels_NCP = pixels_NHW.view(n, 1, height * width).expand(-1, channels, -1)
    return x_NCHW.flatten(2).gather(2, pixels_NCP).view(n, channels, height, width)


def _squares(x_NCHW: Tensor, side: int, draws: Draws) -> Tensor:
    """True inside one square an image: bool, N x 1 x H x W."""
    height, width = x_NCHW.shape[-2:]

    def inside(size: int) -> Tensor:
        centre_N1 = draws.below(size)
        from_start_NS = torch.arange(size, device=x_NCHW.device) - (centre_N1 - side // 2)
        return (from_start_NS >= 0) & (from_start_NS < side)

    rows_NH, cols_NW = inside(height), inside(width)
    return (rows_NH[:, :, None] & cols_NW[:, None, :])[:, None]
