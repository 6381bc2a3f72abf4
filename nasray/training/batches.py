"""A dataset on the training device, handed out in batches that are a function of a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.training.dataset import Dataset, Inputs, Transform
from nasray.training.image_files import ImageFiles
from nasray.training.streaming import streamed

WHOLE = slice(None)
"""All examples of a batch."""


def num_batches(n: int, batch_size: int, drop_last: bool = False) -> int:
    """How many batches an epoch over n examples has.

    With ``drop_last`` all batches have ``batch_size`` examples, except where there are fewer examples than
    that: they then make one batch, as an epoch without any step would train nothing.

    Raises:
        InvalidInput: the batch size is below 1.
    """
    if batch_size < 1:
        raise InvalidInput(f"batch_size {batch_size}: expected a number of examples from 1")
    if drop_last and n > batch_size:
        return n // batch_size
    return -(-n // batch_size)


def epoch_generator(seed: int, epoch: int, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one epoch's data, so that any epoch can be repeated without those before it.

    Args:
        seed: Of the run.
        epoch: Counted from 0.
        stream: What the numbers are for, such as ``weights`` or ``architecture``: each has its own.
        device: Where the generator lives. It is not hashed: which GPU a trial got must not change its data.
    """
    digest = hashlib.sha256(f"{seed}:{epoch}:{stream}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little"))


def transform_of(dataset: Dataset, augmentation: str) -> Transform:
    """An augmentation of a dataset by its name.

    Raises:
        InvalidInput: it has none of this name.
    """
    if augmentation not in dataset.augmentations:
        raise InvalidInput(
            f"unknown augmentation {augmentation!r} for {dataset.name}: expected one of "
            f"{', '.join(sorted(dataset.augmentations))}"
        )
    return dataset.augmentations[augmentation]


class DeviceData:
    """The raw dataset as whole tensors on the training device, where a batch costs an index and not a transfer. What
    lies in files is read while earlier batches train, and gives the same batches."""

    def __init__(self, dataset: Dataset, device: torch.device | str) -> None:
        self.dataset = dataset
        self.device = torch.device(device)
        self.train = _on_device(dataset.train, self.device)
        self.test = _on_device(dataset.test, self.device)

    def batches(
        self,
        indices: Tensor,
        batch_size: int,
        *,
        augmentation: str = "none",
        generator: torch.Generator | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        part: slice = WHOLE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Network inputs and targets of training examples, ``num_batches(...)`` times.

        Args:
            indices: Which examples of ``Dataset.train``, int64 N (see ``split``).
            batch_size: In examples; the last batch may be smaller.
            augmentation: One of the dataset's, by name.
            generator: What order and augmentation are drawn from, and nothing else; on the training device.
                Two iterations that share one generator depend on how they are interleaved.
            shuffle: Whether the order is drawn, or that of the indices.
            drop_last: Leave out what does not fill a batch, unless it is the only one.
            part: Of each batch give these examples alone, as they are in the whole one, and none that has none of
                them. Only they are read and, by :class:`~nasray.training.images.ImageTransform`, augmented.

        Raises:
            InvalidInput: at once, not at the first batch: an unknown augmentation, a batch size below 1, or
                a shuffle without a generator.
        """
        transform = transform_of(self.dataset, augmentation)
        count = num_batches(len(indices), batch_size, drop_last)
        order = indices.to(self.device)
        if shuffle:
            if generator is None:
                raise InvalidInput("generator None with shuffle=True: expected a torch.Generator")
            order = order[torch.randperm(len(order), generator=generator, device=self.device)]
        return _iterate(*self.train, _split(order, batch_size, count), part, transform, generator)

    def test_batches(self, batch_size: int, part: slice = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """Network inputs and targets of all test examples, in order and not augmented; of each batch a part of them.

        Raises:
            InvalidInput: the batch size is below 1.
        """
        count = num_batches(len(self.test[0]), batch_size)
        order = torch.arange(len(self.test[0]), device=self.device)
        batches = _split(order, batch_size, count)
        return _iterate(*self.test, batches, part, self.dataset.augmentations["none"], None)


def _split(order: Tensor, batch_size: int, count: int) -> list[Tensor]:
    return [order[start : start + batch_size] for start in range(0, count * batch_size, batch_size)]


def _on_device(part: tuple[Inputs, Tensor], device: torch.device) -> tuple[Inputs, Tensor]:
    inputs, targets = part
    return inputs if isinstance(inputs, ImageFiles) else inputs.to(device), targets.to(device)


def _iterate(
    inputs: Inputs,
    targets: Tensor,
    batches: list[Tensor],
    part: slice,
    transform: Transform,
    generator: torch.Generator | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    # What draws for an image after the other has to be given all of them.
    of_part = getattr(transform, "of_part", None)
    read = slice(None) if of_part is None else part
    if isinstance(inputs, ImageFiles):
        raw = _read(inputs, batches, read, transform, generator)
    else:
        raw = (inputs[batch[read]] for batch in batches)
    for batch, images in zip(batches, raw, strict=True):
        x = transform(images, generator)[part] if of_part is None else of_part(images, len(batch), part, generator)
        if len(x):
            yield x, targets[batch[part]]


def _read(
    files: ImageFiles, batches: list[Tensor], part: slice, transform: Transform, generator: torch.Generator | None
) -> Iterator[Tensor]:
    """A part of each batch from files. What is drawn as they are read has seeds that are drawn before all else."""
    reading = getattr(transform, "reading", None)
    seeds = None
    if reading is not None and generator is not None:
        sizes = [len(batch) for batch in batches]
        drawn = torch.randint(2**62, (sum(sizes),), generator=generator, device=generator.device)
        seeds = torch.cat([of_batch[part] for of_batch in torch.split(drawn, sizes)])
    return streamed(files, [batch[part] for batch in batches], reading, seeds)
