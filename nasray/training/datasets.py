"""The image datasets that nasray knows: digits, CIFAR-10 and Fashion-MNIST."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import io
import os
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasray.errors import InvalidInput, message
from nasray.training.dataset import Dataset
from nasray.training.images import ImageTransform
from nasray.training.recipes import with_policies
from nasray.training.splits import split

ANSWER_SECONDS = 8.0
"""How long a server may take to answer at all before there is no network."""

STALL_SECONDS = 30.0
"""How long a download may stand still."""

UNREADABLE = (RuntimeError, ValueError, AssertionError, LookupError, OSError, EOFError, http.client.HTTPException)
"""What torchvision raises on files or answers that are absent, cut off or something else altogether."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""As its meta file (batches.meta) has them: torchvision gives them to an opened dataset alone."""

DIGITS_TEST_FRACTION = 0.2
DIGITS_TEST_SEED = 1797
"""Fixed: accuracies on digits compare only where the test split is the same."""


def digits(root: Path | None = None) -> Dataset:
    """scikit-learn's 1,797 grey 8x8 images of digits, with values from 0 to 16; needs no root and no network.

    One in five of every class is apart as test split. Crop padding 1 and cutout 2 are choices of ours; there
    is no flip, as mirrored digits are not digits.
    """
    table = torch.from_numpy(_table_of_digits())
    images_NCHW = table[:, :64].reshape(-1, 1, 8, 8).to(torch.uint8)
    targets_N = table[:, 64].to(torch.int64)
    parts = split(targets_N, validation_fraction=DIGITS_TEST_FRACTION, architecture_fraction=0.0, seed=DIGITS_TEST_SEED)
    train, test = parts.train.sort().values, parts.validation.sort().values
    fractions = images_NCHW[train].double() / 255
    return _images(
        "digits",
        (images_NCHW[train], targets_N[train]),
        (images_NCHW[test], targets_N[test]),
        ImageTransform(
            mean=(fractions.mean().item(),),
            std=(fractions.std(correction=0).item(),),
            crop_padding=1,
            cutout=2,
        ),
        tuple(str(digit) for digit in range(10)),
    )


def _table_of_digits() -> npt.NDArray[np.float64]:
    """(1797, 65): pixels and class of each image.

    Read from scikit-learn's file, for to import it takes a second in every process.
    """
    found = importlib.util.find_spec("sklearn")
    for place in (found and found.submodule_search_locations) or ():
        file = Path(place, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    return np.column_stack([pixels, targets])


def cifar10(root: Path | None = None) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images, 32x32, with the recipe of DARTS.

    Args:
        root: Folder that holds ``cifar-10-batches-py/``, or that it is downloaded to. None is the folder that
            the environment variable NASRAY_DATA names, else ``~/.cache/nasray``.

    Raises:
        InvalidInput: the images are not there, or damaged, and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10

    train, test = (
        (images_NHWC.permute(0, 3, 1, 2).contiguous(), targets_N)
        for images_NHWC, targets_N in _load("cifar10", CIFAR10, CIFAR10.base_folder, CIFAR10.url, root)
    )
    recipe = ImageTransform(
        mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616), crop_padding=4, flip=True, cutout=16
    )
    return _images("cifar10", train, test, recipe, CIFAR10_CLASSES)


def fashion_mnist(root: Path | None = None) -> Dataset:
    """Fashion-MNIST (Xiao 2017, arXiv:1708.07747): 60,000 + 10,000 grey images of clothes, 28x28.

    Crop padding 2 and cutout 8 are choices of ours: there is no common recipe.

    Args:
        root: As for ``cifar10``, with ``FashionMNIST/raw/`` in it.

    Raises:
        InvalidInput: the images are not there, or damaged, and cannot be downloaded.
    """
    from torchvision.datasets import FashionMNIST

    url = FashionMNIST.mirrors[0] + FashionMNIST.resources[0][0]
    train, test = (
        (images_NHW[:, None], targets_N)
        for images_NHW, targets_N in _load("fashion_mnist", FashionMNIST, "FashionMNIST/raw", url, root)
    )
    recipe = ImageTransform(mean=(0.2860,), std=(0.3530,), crop_padding=2, flip=True, cutout=8)
    return _images("fashion_mnist", train, test, recipe, tuple(FashionMNIST.classes))


def _images(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    recipe: ImageTransform,
    class_names: tuple[str, ...],
) -> Dataset:
    """A dataset of images, whose augmentations are the recipe and the lesser forms of it."""
    _, channels, height, width = train[0].shape
    return Dataset(
        name=name,
        task="classification",
        classes=len(class_names),
        class_names=class_names,
        input_shape=(channels, height, width),
        train=train,
        test=test,
        augmentations=with_policies(recipe, min(height, width)),
    )


def _load(name: str, source: Any, folder: str, url: str, root: Path | None) -> list[tuple[Tensor, Tensor]]:
    """Images and int64 targets of the train and the test part, as torchvision holds them."""
    root = Path(root or os.environ.get("NASRAY_DATA") or "~/.cache/nasray").expanduser()
    try:
        return _read(source, root)
    except UNREADABLE:
        pass
    try:
        _download(source, folder, url, root)
        return _read(source, root)
    except UNREADABLE as error:
        raise InvalidInput(
            f"{name}: no intact data in {root}, and none could be downloaded ({message(error)}); expected a "
            f"folder with {folder}/ in it, as --data-root or in NASRAY_DATA, or a network"
        ) from error


def _read(source: Any, root: Path) -> list[tuple[Tensor, Tensor]]:
    parts = [source(root, train=train, download=False) for train in (True, False)]
    return [(torch.as_tensor(p.data), torch.as_tensor(p.targets, dtype=torch.int64)) for p in parts]


def _download(source: Any, folder: str, url: str, root: Path) -> None:
    """Files appear under the root whole and checked, or not at all, also where several processes download."""
    _wait_for_answer(url)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-", ignore_cleanup_errors=True) as staging:
        with _quietly():
            source(staging, download=True)
        (root / folder).mkdir(parents=True, exist_ok=True)
        for path in Path(staging, folder).iterdir():
            if path.suffix != ".gz":
                path.replace(root / folder / path.name)


def _wait_for_answer(url: str) -> None:
    """Raise unless the server answers soon, before anything is written for a download."""
    answer: list[Exception | None] = []

    def ask() -> None:
        try:
            # torchvision asks this first, too; urllib knows the proxies that the environment names.
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=ANSWER_SECONDS).close()
            answer.append(None)
        except (OSError, http.client.HTTPException) as error:
            answer.append(error)

    # A thread, as a name look-up takes as long as it likes, whatever the timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    error = answer[0] if answer else TimeoutError(f"no answer in {ANSWER_SECONDS:g} seconds")
    if error is not None:
        raise error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without progress bars, and with a limit on how long a connection may stand still."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
