"""What a network is trained to do: the loss of its outputs, and how right they are.

A space and a dataset each name their task; nothing outside this file, the skeletons and the data knows what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.spaces import CellSpace
from nasray.training.dataset import Dataset


@dataclass(frozen=True)
class Task:
    """Loss and accuracy of a task."""

    loss: Callable[[Tensor, Tensor, float], Tensor]
    """(outputs, targets, label smoothing) to the mean loss of a batch."""
    correct: Callable[[Tensor, Tensor], Tensor]
    """(outputs, targets) to the summed accuracy of a batch's examples, each from 0 to 1."""


def _cross_entropy(logits_NK: Tensor, targets_N: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(logits_NK, targets_N, label_smoothing=label_smoothing)


def _hits(logits_NK: Tensor, targets_N: Tensor) -> Tensor:
    return (logits_NK.argmax(dim=1) == targets_N).sum()


TASKS = {"classification": Task(loss=_cross_entropy, correct=_hits)}


def task_of(space: CellSpace, dataset: Dataset) -> Task:
    """The task of a space on a dataset.

    Raises:
        InvalidInput: they are made for different tasks, or for one that nasray does not know.
    """
    if space.task != dataset.task:
        raise InvalidInput(
            f"dataset {dataset.name!r} of task {dataset.task!r} for space {space.name!r}: "
            f"expected datasets of task {space.task!r}"
        )
    if space.task not in TASKS:
        raise InvalidInput(f"task {space.task!r}: expected one of {', '.join(TASKS)}")
    return TASKS[space.task]
