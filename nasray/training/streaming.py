"""Batches of images that are read from their files while earlier batches train."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from nasray.training.image_files import ImageFiles, Reading

AHEAD = 4
"""Batches that are read before they are asked for."""


def streamed(
    images: ImageFiles, parts: Sequence[Tensor], reading: Reading | None = None, seeds: Tensor | None = None
) -> Iterator[Tensor]:
    """Raw batches on the device of the indices, in their order: uint8 (len(part), C, H, W).

    Threads decode, for Pillow leaves Python's lock meanwhile: no process has to be started, in a trial that is one of
    many. On a GPU batches are copied from pinned memory.

    Args:
        images: the files.
        parts: indices of each batch, int64 on the training device.
        reading: how an augmentation takes each from its file; None takes it whole.
        seeds: for each image of all batches, in their order, of what the reading draws; None where it draws nothing.

    Raises:
        InvalidInput: files that are no images, or damaged; names them.
    """
    if not parts:
        return
    device = parts[0].device

    def read(number: int) -> Tensor:
        pixels = images.read(on_cpu[number], reading, None if seeds_of is None else seeds_of[number])
        return pixels.pin_memory() if device.type == "cuda" else pixels

    on_cpu = [part.cpu() for part in parts]
    seeds_of = None if seeds is None else torch.split(seeds.cpu(), [len(part) for part in parts])
    waiting: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(1) as pool:  # one batch after the other, each by all threads that decode
        try:
            for number in range(len(on_cpu) + AHEAD):
                if number < len(on_cpu):
                    waiting.append(pool.submit(read, number))
                if number >= AHEAD:
                    yield waiting.popleft().result().to(device, non_blocking=True)
        finally:  # also where the reader stops early
            for one in waiting:
                one.cancel()
