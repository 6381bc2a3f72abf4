"""What a phase of a run is: trials of one kind, and how they are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasray.searchers.searchers import Searcher
from nasray.trials.trial import Kind, TrainingTrial, Trial


@dataclass(frozen=True, kw_only=True)
class Proposing:
    """A searcher that proposes a phase's trials one after the other."""

    searcher: Callable[[], Searcher]
    """Makes the searcher."""
    evaluations: int
    """How many architectures it proposes."""
    shared: TrainingTrial
    """What all proposed trials have beside their architecture."""
    cells: int
    """Of the networks that are trained."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Trials of one kind: either all of them are known, or a searcher proposes them."""

    name: str
    kind: Kind
    run: str
    """Name of the run."""
    dataset: str
    trials: Sequence[Trial] = ()
    """The known ones."""
    proposing: Proposing | None = None
    """Who proposes trials, where they are not known."""
    rungs: tuple[int, ...] = ()
    """Epochs at which trainings are compared, and all but the best stopped; the last ends them."""
    reduction_factor: float = 3.0
    """The best 1/N of the trainings go on at a rung."""
    objectives: tuple[str, ...] = ("accuracy", "macs")
    """By which they are compared."""
    workers: int = 1
    """Processes that train one architecture together."""
    budget: float | None = None
    """Largest multiply-adds (M) of what counts for the front that live figures tell of."""
    fidelity: str = ""
    """Settings of earlier trainings that share that front, as JSON."""
    one_stage_epochs: int | None = None
    """Epochs of trainings in one stage that share it."""

    @property
    def looks_up(self) -> bool:
        """Whether its trials look accuracies up in a table, which takes milliseconds."""
        trial = self.proposing.shared if self.proposing else next(iter(self.trials), None)
        return trial is not None and trial.is_looked_up

    @property
    def total(self) -> int:
        """How many trials it has."""
        return self.proposing.evaluations if self.proposing else len(self.trials)
