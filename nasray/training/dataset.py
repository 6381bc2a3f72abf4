"""What a dataset is, whatever its task: whole tensors, and what turns a raw batch into network inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from nasray import registry
from nasray.errors import InvalidInput, reason, shown
from nasray.training.image_files import ImageFiles

Transform = Callable[[Tensor, torch.Generator | None], Tensor]
"""Raw batch on the training device, generator there for all that is drawn -> network inputs."""


Inputs = Tensor | ImageFiles
"""Raw inputs of examples: in memory, or in files that are streamed."""


# Compared by identity: the generated == would compare tensors, and raise.
@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A dataset in memory as it was published: nothing is normalised or augmented before it is asked for.

    Raises:
        InvalidInput: the fields contradict each other.
    """

    name: str

    task: str
    """``classification``, or the name of any other task that a search space may ask for."""

    classes: int
    """How many values a target may take."""

    input_shape: tuple[int, ...]
    """Shape of one network input, after the transform and without the batch: (3, 32, 32) for CIFAR-10."""

    train: tuple[Inputs, Tensor]
    """Raw inputs and targets of equal first dimension. Raw images are uint8 NCHW, class targets int64 N."""

    test: tuple[Inputs, Tensor]
    """The same, of examples that are only ever reported on."""

    augmentations: Mapping[str, Transform]
    """By name. ``none`` is always there: what a network needs (normalisation), and no randomness."""

    class_names: tuple[str, ...] = ()
    """Of the classes, in the order of their numbers; empty where they have none."""

    validation: Tensor | None = None
    """Which training examples validate, int64 indices into ``train``, where that is given; None splits them off."""

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        self._check_types()
        if not self.name or not self.task:
            raise InvalidInput(f"dataset name {self.name!r}, task {self.task!r}: expected non-empty names")
        if self.classes < 1:
            raise InvalidInput(f"dataset {self.name}: classes {self.classes}: expected at least 1")
        if not self.input_shape or min(self.input_shape) < 1:
            raise InvalidInput(f"dataset {self.name}: input_shape {self.input_shape}: expected sizes of at least 1")
        if "none" not in self.augmentations:
            raise InvalidInput(
                f"dataset {self.name}: augmentations {', '.join(sorted(self.augmentations)) or '(empty)'}: "
                "expected a mapping that holds 'none' too"
            )
        if self.class_names and len(self.class_names) != self.classes:
            raise InvalidInput(
                f"dataset {self.name}: {len(self.class_names)} class_names for {self.classes} classes: expected one "
                "for each, or none"
            )
        self._check_part("train", *self.train)
        self._check_part("test", *self.test)
        self._check_validation()

    def _check_types(self) -> None:
        for name in ("name", "task"):
            if not isinstance(getattr(self, name), str):
                raise InvalidInput(f"dataset {name} {shown(getattr(self, name))}: expected text")
        if not isinstance(self.classes, int) or isinstance(self.classes, bool):
            raise InvalidInput(f"dataset {self.name}: classes {shown(self.classes)}: expected a whole number")
        shape = self.input_shape
        if not isinstance(shape, tuple | list) or not all(type(one) is int for one in shape):
            raise InvalidInput(f"dataset {self.name}: input_shape {shown(shape)}: expected whole numbers")
        object.__setattr__(self, "input_shape", tuple(shape))
        names = self.class_names
        if not isinstance(names, tuple | list) or not all(isinstance(one, str) for one in names):
            raise InvalidInput(f"dataset {self.name}: class_names {shown(names)}: expected texts")
        object.__setattr__(self, "class_names", tuple(names))
        for part in ("train", "test"):
            pair = getattr(self, part)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise InvalidInput(f"dataset {self.name}: {part} {type(pair).__name__}: expected (inputs, targets)")
            for what, tensor in zip(("inputs", "targets"), pair, strict=True):
                if not isinstance(tensor, Tensor) and not (what == "inputs" and isinstance(tensor, ImageFiles)):
                    kind = type(tensor).__name__
                    hint = ", as torch.from_numpy makes it" if kind == "ndarray" else ""
                    raise InvalidInput(f"dataset {self.name}: {what} of {part} are a {kind}: expected a tensor{hint}")
        augmentations = self.augmentations
        if not isinstance(augmentations, Mapping) or not all(callable(one) for one in augmentations.values()):
            raise InvalidInput(f"dataset {self.name}: augmentations {shown(augmentations)}: expected functions by name")

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits of its content: all inputs and targets, and what they mean. Its name, and where it
        lies, are not part of it. Of streamed images it is their names, sizes and a sample of their contents."""
        whole = hashlib.sha256(f"{self.task} {self.classes} {self.input_shape}".encode())
        for tensor in (*self.train, *self.test, *([] if self.validation is None else [self.validation])):
            whole.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            if isinstance(tensor, ImageFiles):
                whole.update(tensor.fingerprint.encode())
                continue
            real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
            whole.update(real.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return whole.hexdigest()[:12]

    def _check_validation(self) -> None:
        chosen = self.validation
        if chosen is None:
            return
        count = len(self.train[1])
        whole = isinstance(chosen, Tensor) and chosen.dtype == torch.int64 and chosen.ndim == 1 and len(chosen) > 0
        if not whole or int(chosen.min()) < 0 or int(chosen.max()) >= count or len(set(chosen.tolist())) < len(chosen):
            raise InvalidInput(
                f"dataset {self.name}: validation: expected distinct int64 indices from 0 to {count - 1}"
            )
        if len(chosen) == count:
            raise InvalidInput(f"dataset {self.name}: validation has all training examples. Leave some to train on.")

    def _check_part(self, part: str, inputs: Inputs, targets: Tensor) -> None:
        if len(inputs.shape) == 0 or targets.ndim == 0 or len(inputs) != len(targets) or len(inputs) == 0:
            raise InvalidInput(
                f"dataset {self.name}: {part} has inputs of shape {tuple(inputs.shape)} and targets of shape "
                f"{tuple(targets.shape)}: expected equal first dimensions of at least 1"
            )
        if self.task != "classification":
            return
        # On a GPU a class out of range ends the process with a message that names nothing: better here.
        if targets.dtype != torch.int64 or targets.ndim != 1:
            raise InvalidInput(
                f"dataset {self.name}: {part} has targets of type {targets.dtype} and shape "
                f"{tuple(targets.shape)}: expected one int64 per example"
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= self.classes:
            raise InvalidInput(
                f"dataset {self.name}: {part} has targets from {low} to {high}: expected 0 to {self.classes - 1}"
            )


@lru_cache(maxsize=4)
def load_dataset(name: str, root: str | None = None) -> Dataset:
    """A dataset by its registered name or ``file.py:NAME``, the last ones kept for the next trial.

    Args:
        name: Of a function that takes the root (a Path, or None) and gives a Dataset.
        root: Folder of the data; None is the environment's NASRAY_DATA.

    Raises:
        InvalidInput: There is no such dataset, or its data cannot be found.
    """
    make = registry.find("dataset", name)
    if not callable(make):
        raise InvalidInput(
            f"dataset {name!r} is a {type(make).__name__}: expected a function from a folder to a Dataset"
        )
    try:
        dataset = make(None if root is None else Path(root))
    except InvalidInput:
        raise
    except (Exception, SystemExit) as error:  # a user's own code may fail in any way
        if registry.is_of_a_signal(error):
            raise
        said = registry.own_failure(error) or reason(error)
        raise InvalidInput(f"dataset {name!r} cannot be made: {said}") from error
    if not isinstance(dataset, Dataset):
        raise InvalidInput(f"dataset {name!r} gave {type(dataset).__name__}: expected nasray.training.Dataset")
    return dataset
