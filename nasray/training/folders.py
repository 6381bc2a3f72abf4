"""A dataset from a folder of images: one folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_low
from typing import Any

import torch
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.training.dataset import Dataset
from nasray.training.image_cache import cached_pixels, cached_size
from nasray.training.image_files import ENDINGS, ImageFiles, Size, headers
from nasray.training.image_size import HeightWidth, split_size
from nasray.training.recipes import augmentations_of
from nasray.training.splits import split

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Names of folders that are parts, and the parts that they are."""
TEST_FRACTION, TEST_SEED = 0.2, 0
"""Of each class, where a folder has no part for testing: fixed, for accuracies compare only on the same images."""
IN_MEMORY_BYTES = 2 * 2**30
"""Decoded images of up to so many bytes are kept in memory, on the device that trains; more are streamed."""
MOST_SIDE = 224
"""Images of different sizes are brought to their median size, of at most so many pixels a side."""
LEAST_SIDE = 4
"""Pixels a side below which nothing can be trained."""
MOMENTS_FROM = 10_000
"""Training images from which mean and standard deviation are taken, evenly spread."""


def folder(argument: str, root: Path | None = None) -> Dataset:
    """The images in a folder: ``PATH``, or ``PATH?size=HxW``.

    In PATH lie either one folder for each class, of which one image in five is kept for testing; or the parts
    ``train``, ``val`` and ``test``, each with one folder for each class. Without ``test`` the part ``val`` is tested
    on, and validation images are split from the training's, as published results on ImageNet have it.

    Images of other sizes are resized; without a size all get the one that they have in common, or their median one.
    They have one channel where all are grey, else three.

    Args:
        argument: the path, and options.
        root: folder that a relative path is in; None is this process's.

    Raises:
        InvalidInput: no such folder, no images in a class, a class that only some parts have, or damaged files.
    """
    path, size = _understood(argument, root)
    parts = _files(path)
    names = sorted(parts["train"])
    for part, classes in parts.items():
        if unknown := sorted(classes.keys() - set(names)):
            raise InvalidInput(
                f"{path}/{part} has class {unknown[0]!r}, which {path}/train has not. Remove one of them."
            )
    files = {
        part: [(file, names.index(name)) for name in sorted(of) for file in of[name]] for part, of in parts.items()
    }
    everything = [file for pairs in files.values() for file, _ in pairs]
    chosen = _size(everything, size, path)

    trained = [*files["train"], *(files.get("val", []) if "test" in files else [])]
    tested = files.get("test", files.get("val"))
    validation: Tensor | None = None
    if tested is None:
        targets = torch.tensor([label for _, label in trained])
        apart = split(targets, validation_fraction=TEST_FRACTION, architecture_fraction=0.0, seed=TEST_SEED)
        tested = [trained[i] for i in apart.validation.sort().values.tolist()]
        trained = [trained[i] for i in apart.train.sort().values.tolist()]
        for pairs, does in ((trained, "trains"), (tested, "tests")):
            if few := sorted(set(range(len(names))) - {label for _, label in pairs}):
                raise InvalidInput(
                    f"class folder {path}/{names[few[0]]} has so few images that none {does}: give it five or more."
                )
    elif "test" in files and "val" in files:
        validation = torch.arange(len(files["train"]), len(trained))

    train, test = (_part(pairs, chosen, path, len(everything)) for pairs in (trained, tested))
    shape = (chosen.channels, chosen.height, chosen.width)
    spread = torch.linspace(0, len(trained) - 1, min(MOMENTS_FROM, len(trained))).long()
    return Dataset(
        name=f"folder:{path.name}",
        task="classification",
        classes=len(names),
        class_names=tuple(names),
        input_shape=shape,
        train=train,
        test=test,
        validation=validation,
        augmentations=augmentations_of(train[0][spread]),
    )


def _understood(argument: str, root: Path | None) -> tuple[Path, HeightWidth | None]:
    """Path and size of an argument."""
    text, size = split_size(argument)
    path = Path(text).expanduser()
    path = path if path.is_absolute() or root is None else root / path
    if not text or not path.is_dir():
        raise InvalidInput(
            f"dataset 'folder:{text}': there is no folder {str(path) if text else 'named'}. Give one with a folder of "
            "images for each class."
        )
    return path, size


def _files(path: Path) -> dict[str, dict[str, list[Path]]]:
    """Files by class by part."""
    folders = _folders(path)
    parts = [one for one in folders if one.name.lower() in PARTS]
    named = {PARTS[one.name.lower()]: one for one in parts}
    if "train" not in named:
        if apart := [one for one in parts if _folders(one)]:  # a class has images
            raise InvalidInput(f"{path} has a part {apart[0].name!r}, and no part 'train'. Name one so.")
        return {"train": class_files(path)}
    if len(named) < len(parts):
        raise InvalidInput(f"{path} has several parts for validation. Leave one of them.")
    return {part: class_files(where) for part, where in named.items()}


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))


def class_files(path: Path) -> dict[str, list[Path]]:
    """Files of each class, by the name of its folder.

    Raises:
        InvalidInput: fewer than two folders, or one without images.
    """
    folders = _folders(path)
    if len(folders) < 2:
        raise InvalidInput(
            f"{path} has {len(folders)} folders: expected one folder of images for each class, two or more."
        )
    found = {}
    for one in folders:
        files = sorted(file for file in _inside(one) if file.suffix.lower() in ENDINGS)
        if not files:
            endings = ", ".join(sorted(ENDINGS))
            raise InvalidInput(f"class folder {one} holds no images ({endings}). Remove it, or put images there.")
        found[one.name] = files
    return found


def _inside(folder: Path) -> Iterator[Path]:
    """Files in a folder and those below it, through links too; hidden ones, which other systems leave, are none."""
    seen = set[str]()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            yield from (Path(where, name) for name in files if not name.startswith("."))
        seen.add(real)


def _size(files: Sequence[Path], asked: HeightWidth | None, root: Path) -> Size:
    """The size that all images are brought to."""
    height, width, channels = cached_size(files, root, lambda: _common(files))
    if asked is not None:
        return Size(*asked, channels)
    scale = min(1.0, MOST_SIDE / max(height, width))
    found = Size(max(1, round(height * scale)), max(1, round(width * scale)), channels)
    if min(found.height, found.width) < LEAST_SIDE:
        raise InvalidInput(
            f"{root} has images of {found.height}x{found.width} pixels: expected {LEAST_SIDE} or more a side. Resize "
            f"them: folder:{root}?size=HxW, or --image-size HxW."
        )
    return found


def _common(files: Sequence[Path]) -> tuple[int, int, int]:
    """Height and width that images have in common, or their medians, and their channels."""
    found = headers(files, "reading images' sizes")
    channels = 1 if all(grey for *_, grey in found) else 3
    height, width = (median_low([sizes[side] for sizes in found]) for side in (0, 1))
    return height, width, channels


def _part(pairs: Sequence[tuple[Path, int]], size: Size, root: Path, total: int) -> tuple[Any, Tensor]:
    """Inputs and targets of a part."""
    files = [file for file, _ in pairs]
    targets_N = torch.tensor([label for _, label in pairs], dtype=torch.int64)
    if total * size.bytes > IN_MEMORY_BYTES:
        return ImageFiles(files, size), targets_N
    return cached_pixels(files, size, root), targets_N
