"""A few examples taken through a dataset before anything runs: does what comes out agree with what it declares?

Costs are counted from the declaration alone, so a wrong one would give wrong costs, and nobody would see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from nasray.errors import InvalidInput, reason
from nasray.training.batches import transform_of
from nasray.training.dataset import Dataset

EXAMPLES = 8
"""Taken from each part, evenly spread over it."""

PARTS = ("train", "test")

_checked: WeakKeyDictionary[Dataset, set[tuple[str, str, str]]] = WeakKeyDictionary()
"""(augmentation, part, kind of device) that have been checked in this process."""


def check_batch(
    dataset: Dataset,
    augmentations: Iterable[str] = (),
    *,
    parts: Sequence[str] = PARTS,
    device: str | torch.device = "cpu",
) -> None:
    """Compare what a dataset gives with its declaration: shape, type and finiteness of inputs, range of targets.

    Training examples go through the augmentations and through ``none``, with which they are validated; test examples
    through ``none``. Each is checked once in a process. The caller's random state is left alone.

    Args:
        dataset: what is checked.
        augmentations: those that searches and trainings name.
        parts: of the dataset; a search sees ``train`` alone.
        device: on which they run.

    Raises:
        InvalidInput: naming what differs and what to do.
    """
    device = torch.device(device)
    done = _checked.setdefault(dataset, set())
    for name in dict.fromkeys(("none", *augmentations)):
        for part in parts if name == "none" else ("train",):
            if (name, part, device.type) not in done:
                with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                    _check(dataset, name, part, device)
                done.add((name, part, device.type))


def _check(dataset: Dataset, name: str, part: str, device: torch.device) -> None:
    transform = transform_of(dataset, name)
    inputs, targets = dataset.train if part == "train" else dataset.test
    called = f"dataset {dataset.name}: augmentation {name!r}"
    chosen = torch.linspace(0, len(inputs) - 1, min(EXAMPLES, len(inputs))).long()
    _check_targets(dataset, part, len(inputs), targets)
    raw = inputs[chosen].to(device)

    def given() -> Any:
        # As in trials: validation and testing have no generator, for `none` draws nothing.
        generator = None if name == "none" else torch.Generator(device).manual_seed(0)
        try:
            return transform(raw.clone(), generator)
        except InvalidInput:
            raise
        except Exception as error:
            raise InvalidInput(
                f"{called} fails on {part} examples of shape {_shape(raw)} and type {raw.dtype}: {reason(error)}"
            ) from error

    x = given()
    if not isinstance(x, Tensor):
        raise InvalidInput(f"{called} gives a {type(x).__name__}: return a tensor of network inputs")
    if x.ndim == 0 or len(x) != len(raw):
        raise InvalidInput(f"{called} gives shape {tuple(x.shape)} for {len(raw)} examples: return one input for each")
    if tuple(x.shape[1:]) != tuple(dataset.input_shape):
        raise InvalidInput(
            f"{called} gives {part} inputs of shape {tuple(x.shape[1:])}, input_shape declares "
            f"{tuple(dataset.input_shape)}: correct input_shape, or what gives the inputs"
        )
    if dataset.task == "classification" and x.dtype != torch.float32:
        raise InvalidInput(f"{called} gives {x.dtype}: return torch.float32, as with .float()")
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise InvalidInput(
            f"{called} gives {part} inputs that are infinite or not a number: correct its scaling, or the data"
        )
    if name == "none" and not torch.allclose(x, given(), rtol=1e-3, atol=1e-3):  # but for what a GPU rounds
        raise InvalidInput(f"{called} gives other inputs at each call: it must not be random, validation uses it")


def _check_targets(dataset: Dataset, part: str, examples: int, targets: Tensor) -> None:
    # The declaration is checked where it is made; a dataset's tensors may have been changed since.
    if len(targets) != examples:
        raise InvalidInput(
            f"dataset {dataset.name}: {part} has {examples} inputs, {len(targets)} targets: give one each"
        )
    low, high = int(targets.min()), int(targets.max())
    if dataset.task == "classification" and not 0 <= low <= high < dataset.classes:
        raise InvalidInput(
            f"dataset {dataset.name}: {part} has targets from {low} to {high}, classes declares {dataset.classes}: "
            "number them from 0, or correct classes"
        )


def _shape(batch: Tensor) -> str:
    return "x".join(map(str, batch.shape))
