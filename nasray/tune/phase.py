"""What a phase of a run is: trials of one kind, and how they are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasray.searchers import Feedback, Searcher
from nasray.spaces import Architecture
from nasray.trials.trial import Kind, TrainingTrial, Trial

TRIAL = "trial"
"""In Tune's config of a trial: its name."""
ARCHITECTURE = "architecture"
"""In Tune's config of a trial that a searcher proposed: what it trains, as JSON."""
WORKERS = "workers"
"""Folder in the run's folder in which Ray Train keeps what workers of one training have to say: never read."""


@dataclass(frozen=True, kw_only=True)
class Proposing:
    """A searcher that proposes a phase's trials one after the other."""

    searcher: Callable[[Sequence[tuple[Architecture, Feedback]]], Searcher]
    """Makes the searcher as it stands once it was told these results, in order."""
    evaluations: int
    """How many architectures it proposes."""
    shared: TrainingTrial
    """What all proposed trials have beside their architecture."""
    cells: int
    """Number of cells of the networks that are trained."""


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
    """The best 1/N of the trainings continue at a rung."""
    objectives: tuple[str, ...] = ("accuracy", "macs")
    """What is traded: of accuracy, macs, params, latency_ms."""
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
    def compared_by(self) -> tuple[str, ...]:
        """What trainings are compared by at rungs: accuracy first, which leads, and then the other objectives."""
        return ("accuracy", *(name for name in self.objectives if name != "accuracy"))

    @property
    def trainings(self) -> list[TrainingTrial]:
        """The known trials that are trainings."""
        return [trial for trial in self.trials if isinstance(trial, TrainingTrial)]

    @property
    def total(self) -> int:
        """How many trials it has."""
        return self.proposing.evaluations if self.proposing else len(self.trials)
