"""Images in files: what they are, and their pixels at one size, decoded in parallel."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from nasray.errors import InvalidInput, message

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"})
"""Of files that are taken for images."""
GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F"})
"""Pillow's modes without colour."""
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError, Image.DecompressionBombError)
_MOST_NAMED = 5
"""Files that a message names."""
_SAMPLED_FILES, _SAMPLED_BYTES = 64, 2**20


@dataclass(frozen=True)
class Size:
    """Height, width and channels of images."""

    height: int
    width: int
    channels: int

    @property
    def bytes(self) -> int:
        """Of one image, a byte a value."""
        return self.height * self.width * self.channels


Reading = Callable[[Image.Image, Size, np.random.Generator | None], Image.Image]
"""An image as it lies in its file, the size that it is brought to, and what is drawn from -> the image, cropped."""


class ImageFiles:
    """Images that stay in their files: pixels of those that are asked for, all at one size.

    Args:
        paths: of the files.
        size: to which each is resized, with antialiasing, where it has another one; grey where it has one channel.
    """

    def __init__(self, paths: Sequence[Path], size: Size) -> None:
        self.paths = tuple(paths)
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all images (N, C, H, W)."""
        return (len(self.paths), self.size.channels, self.size.height, self.size.width)

    @property
    def dtype(self) -> torch.dtype:
        """A byte a value."""
        return torch.uint8

    @cached_property
    def fingerprint(self) -> str:
        """Digest of their names, sizes and a fixed sample of their contents."""
        root = os.path.commonpath(self.paths)
        names = [os.path.relpath(path, root) for path in self.paths]
        whole = hashlib.sha256(
            json.dumps([(n, p.stat().st_size) for n, p in zip(names, self.paths, strict=True)]).encode()
        )
        sample = sorted(range(len(names)), key=lambda number: hashlib.sha256(names[number].encode()).digest())
        for number in sample[:_SAMPLED_FILES]:
            with self.paths[number].open("rb") as file:
                whole.update(file.read(_SAMPLED_BYTES))
        return whole.hexdigest()

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Pixels of some images: uint8 (len(indices), C, H, W), on the CPU.

        Raises:
            InvalidInput: files that are no images, or damaged; names them.
        """
        return self.read(indices)

    def read(self, indices: Tensor, reading: Reading | None = None, seeds: Tensor | None = None) -> Tensor:
        """Pixels of some images, as an augmentation reads them: uint8 (len(indices), C, H, W), on the CPU.

        Args:
            indices: of the images.
            reading: crops each before it is resized; None takes it whole.
            seeds: for each, of what the reading draws, int64; None where it draws nothing.

        Raises:
            InvalidInput: files that are no images, or damaged; names them.
        """
        paths = [self.paths[i] for i in indices.tolist()]
        return decode(paths, self.size, reading=reading, seeds=None if seeds is None else seeds.tolist())


def decode(
    paths: Sequence[Path],
    size: Size,
    progress: str | None = None,
    reading: Reading | None = None,
    seeds: Sequence[int] | None = None,
) -> Tensor:
    """Pixels of images, decoded in parallel: uint8 (len(paths), C, H, W).

    Args:
        paths: of the files.
        size: to which each is resized.
        progress: what a progress bar is called; None shows none.
        reading: crops each before it is resized; None takes it whole.
        seeds: for each, of what the reading draws.

    Raises:
        InvalidInput: files that are no images, or damaged; names them.
    """
    pixels_NCHW = torch.empty(len(paths), size.channels, size.height, size.width, dtype=torch.uint8)
    into = pixels_NCHW.numpy()

    def place(number: int) -> None:
        drawn = None if seeds is None else np.random.default_rng(seeds[number])
        with Image.open(paths[number]) as image:
            into[number] = values_of(image, size, reading, drawn)

    _each(place, paths, progress)
    return pixels_NCHW


def headers(paths: Sequence[Path], progress: str | None = None) -> list[tuple[int, int, bool]]:
    """Height, width and whether it is grey, of each image, without its pixels.

    Raises:
        InvalidInput: files that are no images; names them.
    """
    found: list[tuple[int, int, bool]] = [(0, 0, True)] * len(paths)

    def look(number: int) -> None:
        with Image.open(paths[number]) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = (image.height, image.width) if turned else (image.width, image.height)
            found[number] = height, width, image.mode in GREY

    _each(look, paths, progress)
    return found


@cache
def decoding() -> ThreadPoolExecutor:
    """Threads that decode, one for each core, kept for the next batch: Pillow leaves Python's lock while it does."""
    return ThreadPoolExecutor(max(1, int(joblib.cpu_count())), thread_name_prefix="decoding")


def values_of(
    image: Image.Image, size: Size, reading: Reading | None = None, drawn: np.random.Generator | None = None
) -> npt.NDArray[np.uint8]:
    """Pixels of an image at a size: (C, H, W). It is turned upright, and laid on white where it is transparent."""
    turned = ImageOps.exif_transpose(image)  # cameras write down how they were held
    image = image if turned is None else turned
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _in_bytes(image)
    if "transparency" in image.info or image.mode in ("LA", "RGBA", "PA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if size.channels == 1 else "RGB")
    if reading is not None:
        image = reading(image, size, drawn)
    if image.size != (size.width, size.height):
        image = image.resize((size.width, size.height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    values = np.asarray(image, dtype=np.uint8)
    return values[None] if size.channels == 1 else values.transpose(2, 0, 1)


def _in_bytes(image: Image.Image) -> Image.Image:
    """An image of more than a byte a pixel, in bytes: 16 bits by their upper 8, others from least to most."""
    values = np.asarray(image, dtype=np.float64)
    low, high = (0.0, 65535.0) if image.mode.startswith("I") else (float(values.min()), float(values.max()))
    return Image.fromarray(np.round((values - low) * (255.0 / max(high - low, 1.0))).clip(0, 255).astype(np.uint8))


def _each(act: Callable[[int], None], paths: Sequence[Path], progress: str | None) -> None:
    """Act on each file, in threads; what cannot be read is named once all have been tried."""
    damaged: dict[int, str] = {}

    def tried(number: int) -> None:
        try:
            act(number)
        except _UNREADABLE as error:
            damaged[number] = message(error)

    done: Iterator[Any] = decoding().map(tried, range(len(paths)))
    if progress is not None:
        done = iter(tqdm(done, desc=progress, total=len(paths), unit=" images", leave=False, disable=None))
    for _ in done:
        pass
    if damaged:
        first = sorted(damaged)[:_MOST_NAMED]
        named = ", ".join(f"{paths[number]} ({damaged[number]})" for number in first)
        more = f" and {len(damaged) - len(first)} more" if len(damaged) > len(first) else ""
        raise InvalidInput(
            f"{len(damaged)} of {len(paths)} images cannot be read: {named}{more}. Repair or remove them."
        )
