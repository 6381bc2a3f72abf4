"""Every classification dataset of images that torchvision has, by its class's name."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import inspect
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from nasray.errors import InvalidInput, message
from nasray.training.dataset import Dataset
from nasray.training.image_cache import keep, kept
from nasray.training.image_files import GREY, Size, decoding, values_of
from nasray.training.image_size import HeightWidth, split_size
from nasray.training.recipes import augmentations_of
from nasray.training.splits import split

TEST_FRACTION, TEST_SEED = 0.2, 0
"""Of each class, where torchvision has no part for testing: fixed, for accuracies compare only on the same images."""
SIDE = 64
"""Images of different sizes are brought to so many pixels a side, unless a size is asked for."""
LOOKED_AT = 32
"""Images that tell whether all have one size."""
MOMENTS_FROM = 10_000
"""Training images from which mean and standard deviation are taken, evenly spread."""

Wanted = dict[str, Any]
_TRAIN: tuple[Wanted, Wanted] = {"train": True}, {"train": False}
_TEST: tuple[Wanted, Wanted] = {"split": "train"}, {"split": "test"}
_VAL: tuple[Wanted, Wanted] = {"split": "train"}, {"split": "val"}
_TRAINVAL: tuple[Wanted, Wanted] = {"split": "trainval"}, {"split": "test"}
PARTS: dict[str, tuple[Wanted, Wanted] | tuple[Wanted]] = {
    **dict.fromkeys(("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"), _TRAIN),
    **dict.fromkeys(
        (
            "Country211",
            "DTD",
            "FER2013",
            "Flowers102",
            "Food101",
            "GTSRB",
            "PCAM",
            "RenderedSST2",
            "STL10",
            "SVHN",
            "StanfordCars",
        ),
        _TEST,
    ),
    **dict.fromkeys(("CLEVRClassification", "Imagenette"), _VAL),
    **dict.fromkeys(("FGVCAircraft", "OxfordIIITPet"), _TRAINVAL),
    **dict.fromkeys(("Caltech101", "Caltech256", "EuroSAT", "SEMEION", "SUN397"), ({},)),
    "EMNIST": ({"split": "balanced", "train": True}, {"split": "balanced", "train": False}),
}
"""What a dataset's class takes for its training and its test part, or for the one part that it has."""


ELSEWHERE = {
    "ImageNet": "did you mean 'imagenet'? ",
    "Places365": "too large for memory; give folder:PATH, which is streamed. Here ",
    "INaturalist": "too large for memory; give folder:PATH, which is streamed. Here ",
}
"""What to do in place of a dataset that is too large to hold."""


def named(argument: str, root: Path | None = None) -> Dataset:
    """A classification dataset of torchvision's: ``NAME``, or ``NAME?size=HxW``, where NAME is that of its class, such
    as CIFAR100, SVHN, EMNIST, STL10 or Flowers102.

    Without a size, images of different sizes are resized to 64x64. Where torchvision has no part for testing, one
    image in five of each class is kept for it. Images that lie in files are decoded once, as a folder's are.

    Args:
        argument: name and size.
        root: folder that holds the data, or that they are downloaded to. None is the folder that the environment
            variable NASRAY_DATA names, else ``~/.cache/nasray``.

    Raises:
        InvalidInput: no such dataset, or its data are not there and cannot be downloaded.
    """
    from torchvision import datasets

    name, size = split_size(argument)
    if name not in PARTS:
        close = difflib.get_close_matches(name, PARTS, n=1)
        hint = ELSEWHERE.get(name) or (f"did you mean {close[0]!r}? " if close else "")
        raise InvalidInput(f"unknown dataset 'torchvision:{name}': {hint}expected one of {', '.join(sorted(PARTS))}")
    folder = Path(root or os.environ.get("NASRAY_DATA") or "~/.cache/nasray").expanduser()
    parts = [_opened(getattr(datasets, name), folder, name, wanted) for wanted in PARTS[name]]
    names = tuple(map(str, getattr(parts[0], "classes", ())))
    shape = _shape(parts[0], size)
    pixels = [_contents(name, number, part, shape, folder) for number, part in enumerate(parts)]
    if len(pixels) == 1:
        ((images, targets),) = pixels
        apart = split(targets, validation_fraction=TEST_FRACTION, architecture_fraction=0.0, seed=TEST_SEED)
        chosen = apart.train.sort().values, apart.validation.sort().values
        pixels = [(images[indices], targets[indices]) for indices in chosen]
    train, test = pixels
    classes = int(max(train[1].max(), test[1].max())) + 1
    spread = torch.linspace(0, len(train[0]) - 1, min(MOMENTS_FROM, len(train[0]))).long()
    return Dataset(
        name=f"torchvision:{name}",
        task="classification",
        classes=classes,
        class_names=names if len(names) == classes else (),
        input_shape=tuple(train[0].shape[1:]),
        train=train,
        test=test,
        augmentations=augmentations_of(train[0][spread]),
    )


def _opened(make: Callable[..., Any], root: Path, name: str, wanted: Wanted) -> Any:
    """A part of a dataset, downloaded where it is not there."""
    attempts: list[Wanted] = [{}]
    if "download" in inspect.signature(make).parameters:
        attempts.append({"download": True})
    said = ""
    for attempt in attempts:
        try:
            if attempt:
                root.mkdir(parents=True, exist_ok=True)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                return make(root, **wanted, **attempt)
        except ImportError as error:
            raise InvalidInput(
                f"dataset 'torchvision:{name}' needs a package ({message(error)}). Install it."
            ) from None
        except (RuntimeError, ValueError, AssertionError, LookupError, OSError, EOFError) as error:
            said = message(error)
    raise InvalidInput(
        f"dataset 'torchvision:{name}': no intact data in {root}, and none to download ({said}). Put them there "
        "as torchvision has them, or give --data-root."
    )


def _shape(part: Any, asked: HeightWidth | None) -> Size:
    """What all images are brought to: the size that the first ones have in common, and one channel where they are
    grey."""
    first = [part[i][0] for i in range(min(LOOKED_AT, len(part)))]
    channels = 1 if all(image.mode in GREY for image in first) else 3
    sizes = {(image.height, image.width) for image in first}
    height, width = asked or (sizes.pop() if len(sizes) == 1 else (SIDE, SIDE))
    return Size(height, width, channels)


def _contents(name: str, number: int, part: Any, size: Size, root: Path) -> tuple[Tensor, Tensor]:
    """All images (N, C, H, W), uint8, and their targets."""
    whole = _whole(part, size)
    if whole is not None:
        return whole
    shape = (len(part), size.channels, size.height, size.width)
    told = hashlib.sha256(f"{root.resolve()} {name} {number} {shape}".encode()).hexdigest()[:16]
    pixels, targets = kept(f"{told}-images", shape, np.uint8), kept(f"{told}-targets", shape[:1], np.int64)
    if pixels is None or targets is None:
        pixels, targets = _decoded(part, size, f"reading {name}")
        keep(f"{told}-targets", targets)
        keep(f"{told}-images", pixels)
    return torch.from_numpy(pixels), torch.from_numpy(targets)


def _whole(part: Any, size: Size) -> tuple[Tensor, Tensor] | None:
    """The array that a dataset holds, where it has one; its images are compared with those that the dataset gives."""
    targets = getattr(part, "targets", getattr(part, "labels", None))
    if targets is None or not isinstance(getattr(part, "data", None), np.ndarray | Tensor):
        return None
    pixels = torch.as_tensor(part.data)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[-1] == 3:
        pixels = pixels.movedim(-1, 1)
    targets_N = torch.as_tensor(targets, dtype=torch.int64)
    wanted = (len(part), size.channels, size.height, size.width)
    if pixels.dtype != torch.uint8 or pixels.shape != wanted or targets_N.shape != wanted[:1]:
        return None
    for i in range(0, len(part), max(1, len(part) // LOOKED_AT)):
        image, target = part[i]
        if int(target) != targets_N[i] or not np.array_equal(values_of(image, size), pixels[i].numpy()):
            return None
    return pixels.contiguous(), targets_N


def _decoded(part: Any, size: Size, progress: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """What a dataset gives, one by one; files are decoded in parallel."""
    pixels_NCHW = np.empty((len(part), size.channels, size.height, size.width), dtype=np.uint8)
    targets_N = np.empty(len(part), dtype=np.int64)

    def place(number: int) -> None:
        image, target = part[number]
        pixels_NCHW[number] = values_of(image, size)
        targets_N[number] = int(target)

    done = decoding().map(place, range(len(part)))
    for _ in tqdm(done, desc=progress, total=len(part), unit=" images", leave=False, disable=None, delay=2):
        pass
    return pixels_NCHW, targets_N
