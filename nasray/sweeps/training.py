"""What a sweep trains from scratch, and how."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from nasray.errors import InvalidInput, shown
from nasray.settings import as_tuple, check_fields, check_number, check_seeds
from nasray.trials.evaluation import EvaluationSettings

Selection = Literal["front", "final", "nothing"]
FACTOR = 3.0
"""The best 1/N of trials continue at each rung, where no other share is given."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Which architectures a sweep trains from scratch, with which settings, and what is stopped early.

    Raises:
        InvalidInput: a value that is not accepted.
    """

    select: Selection = "front"
    """Architectures to train once the searches are done: each method's front, the final architecture of every search,
    or nothing. A method that trains its network to the end itself is not trained again."""
    within: float = 0.0
    """Train also candidates whose accuracy lies at most this far below their method's front (fraction of 1). Accuracies
    by inherited weights are coarse, and the order may change when networks are trained from scratch."""
    most: int | None = None
    """Train at most so many architectures of each method's front, spread evenly over it by their order of
    multiply-adds; None trains all. It bounds how long a run takes."""
    seeds: tuple[int, ...] = (0,)
    """Random seeds of the trainings; with several, the front is one of mean accuracies. Architectures proposed by a
    black-box searcher are trained with the first seed, and with the others if they are near the front."""
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    """Hyperparameters, size and fidelity of every training."""
    rungs: tuple[int, ...] = ()
    """Epochs at which ParetoASHA compares the trainings and stops all but the best; without any, all train to the
    end."""
    reduction_factor: float = FACTOR
    """Keep the best 1/N of the trainings at each rung."""
    workers: int = 1
    """Processes that train one network together, each with the CPUs of a trial and, where trials have GPUs, a GPU of
    its own. The batch is split over them, which changes rounding."""

    def __post_init__(self) -> None:
        if self.select not in get_args(Selection):
            raise InvalidInput(
                f"training.select {shown(self.select)}: expected one of {', '.join(get_args(Selection))}"
            )
        if not isinstance(self.settings, EvaluationSettings):
            raise InvalidInput(f"training.settings {shown(self.settings)}: expected EvaluationSettings")
        for name in ("seeds", "rungs"):
            object.__setattr__(self, name, as_tuple(f"training.{name}", getattr(self, name)))
        check_number("training.within", self.within, low=0.0)
        if self.most is not None:
            check_number("training.most", self.most, low=1, whole=True)
        check_seeds("training.seeds", self.seeds)
        check_number("training.workers", self.workers, low=1, whole=True)
        check_rungs("training.rungs", self.rungs)
        check_factor("training.", self.rungs, self.reduction_factor)
        if self.workers > self.settings.batch_size:
            raise InvalidInput(
                f"training.workers {self.workers}: a batch has {self.settings.batch_size} examples. Use at most as "
                "many workers"
            )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Training:
        """A training from JSON's values.

        Raises:
            InvalidInput: a field that a training does not have, or a value that is not accepted.
        """
        check_fields("training", cls, values)
        made = {**values, "settings": EvaluationSettings.of(values.get("settings", {}))}
        for name in ("seeds", "rungs"):
            if name in values:
                made[name] = tuple(values[name])
        return cls(**made)


def check_factor(where: str, rungs: tuple[int, ...], factor: float) -> None:
    """Check the share of trials that continue at rungs.

    Args:
        where: begins the names of both fields.
        rungs: epochs.
        factor: the best 1/N continue.

    Raises:
        InvalidInput: a share that keeps all, or one without rungs.
    """
    check_number(f"{where}reduction_factor", factor, above=1.0)
    if factor != FACTOR and not rungs:
        raise InvalidInput(f"{where}reduction_factor {factor:g} without rungs: give {where}rungs too, or leave it out.")


def check_rungs(name: str, rungs: tuple[int, ...]) -> None:
    """Check epochs at which trials are compared.

    Args:
        name: of the field that holds them.
        rungs: what it holds.

    Raises:
        InvalidInput: no whole numbers from 1, or they do not rise.
    """
    for rung in rungs:
        check_number(name, rung, low=1, whole=True)
    if not all(a < b for a, b in itertools.pairwise(rungs)):
        raise InvalidInput(f"{name} {rungs}: expected rising numbers of epochs")
