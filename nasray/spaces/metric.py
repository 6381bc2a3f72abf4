"""What the networks of a task are judged by: a name, a unit, and whether more or less of it is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nasray.errors import InvalidInput, shown


@dataclass(frozen=True)
class Metric:
    """A task's metric."""

    name: str
    """Also of the column that holds it, measured on the validation split."""
    unit: str
    """Empty for a plain number."""
    higher_is_better: bool
    low: float = -math.inf
    high: float = math.inf
    """The range of its values."""

    @property
    def test_column(self) -> str:
        """The column that holds it measured on the test split."""
        return f"test_{self.name}"

    @property
    def train_column(self) -> str:
        """The column that holds it of the batches that an epoch trained on."""
        return f"train_{self.name}"

    @property
    def supernet_column(self) -> str:
        """The column that holds that of a whole supernet, on the validation split."""
        return f"supernet_{self.name}"

    @property
    def label(self) -> str:
        """For a person."""
        return self.name.replace("_", " ").replace(" iou", " IoU")

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether less or more of it is better."""
        return "max" if self.higher_is_better else "min"

    @property
    def sign(self) -> float:
        """Times a value: less of that is better."""
        return -1.0 if self.higher_is_better else 1.0


ACCURACY = Metric("accuracy", "fraction", higher_is_better=True, low=0.0, high=1.0)
MEAN_IOU = Metric("mean_iou", "fraction", higher_is_better=True, low=0.0, high=1.0)
PERPLEXITY = Metric("perplexity", "", higher_is_better=False, low=1.0)

METRICS = {metric.name: metric for metric in (ACCURACY, MEAN_IOU, PERPLEXITY)}
"""All that tables may hold, by name."""

_OF_TASK = {"classification": ACCURACY}


def metric_of_task(task: str) -> Metric:
    """The metric of a task.

    Raises:
        InvalidInput: a task that nasray does not know.
    """
    if task not in _OF_TASK:
        raise InvalidInput(f"Unknown task {shown(task)}. Give one of {', '.join(_OF_TASK)}.")
    return _OF_TASK[task]


def measured(column: str) -> Metric | None:
    """The metric that a column holds, on any split; None where it holds none."""
    found = [
        one for one in METRICS.values() if column in (one.name, one.test_column, one.train_column, one.supernet_column)
    ]
    return found[0] if found else None
