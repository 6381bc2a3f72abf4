"""Decoded images on disk: decoded once, then mapped into the memory of each process that trains on them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor

from nasray import __version__
from nasray.training.image_files import Size, decode

SMALL_BYTES = 16 * 2**20
"""Images of fewer bytes in all are decoded anew by each process: it takes no longer."""
MANY_FILES = 2_000
"""Files from which on their common size is kept."""

Shape = tuple[int, int, int]
"""Height, width and channels."""


def cached_pixels(files: Sequence[Path], size: Size, root: Path) -> Tensor:
    """Pixels of images: uint8 (len(files), C, H, W).

    What is decoded lies in ``$XDG_CACHE_HOME/nasray/images`` (``~/.cache`` by default), by the names, sizes and times
    of the files, and what decoded them; it may be deleted at any time.

    Args:
        files: of the images.
        size: to which each is resized.
        root: folder below which their names count.

    Raises:
        InvalidInput: files that are no images, or damaged; names them.
    """
    if len(files) * size.bytes < SMALL_BYTES:
        return decode(files, size)
    name = f"{_state(files, root)}-{size.height}x{size.width}x{size.channels}"
    shape = (len(files), size.channels, size.height, size.width)
    found = kept(name, shape, np.uint8)
    if found is None:
        found = keep(name, decode(files, size, progress="decoding images").numpy())
    return torch.from_numpy(found)


def kept(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any] | None:
    """An array that was kept, mapped; writing to it changes no file. None where there is none of this shape and
    type."""
    with contextlib.suppress(OSError, ValueError):  # there is none, or a damaged one
        array = np.load(_folder() / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        if array.shape == shape and array.dtype == dtype:
            return array  # type: ignore[no-any-return]
    return None


def keep(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Keep an array for other processes. Where there is no room, or no right to, each finds its own."""
    _keep(_folder() / f"{name}.npy", lambda file: np.save(file, array, allow_pickle=False))
    return array


def cached_size(files: Sequence[Path], root: Path, find: Callable[[], Shape]) -> Shape:
    """Height, width and channels that ``find`` finds of some files, kept where pixels are: a million files are not
    opened by every process that trains on them."""
    if len(files) < MANY_FILES:
        return find()
    path = _folder() / f"{_state(files, root)}.json"
    with contextlib.suppress(OSError, ValueError):  # there is none, or a damaged one
        match json.loads(path.read_text()):
            case [int(height), int(width), int(channels)] if min(height, width) > 0 and channels in (1, 3):
                return height, width, channels
    found = find()
    _keep(path, lambda file: file.write(json.dumps(found).encode()))
    return found


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nasray" / "images"


def _keep(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole, or not at all."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _state(files: Sequence[Path], root: Path) -> str:
    """Digest of what tells whether files have changed. The time at which a file's data or name were last changed here
    differs also between copies that an archive gave the same time."""
    told: list[Any] = [PIL.__version__, __version__]
    for file in files:
        stat = file.stat()
        told.append((file.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
