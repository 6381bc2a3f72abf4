"""What a phase of a run is: trials of one kind, and how they are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nasray.runs import Storage
from nasray.runs.outcomes import Point
from nasray.searchers import Feedback, Mode, Proposal, Searcher
from nasray.trials.fidelity import Fidelity
from nasray.trials.population import Population
from nasray.trials.rows import ROW
from nasray.trials.running import BEGUN, DONE, ENDED, EPOCH, GIVEN_UP, STATE, WAITS
from nasray.trials.trial import Kind, SearchTrial, TrainingTrial, Trial, proposed

TRIAL = "trial"
"""In Tune's config of a trial: its name."""
PROPOSAL = "proposal"
"""In Tune's config of a trial that a searcher proposed: the proposal's key."""
SETTINGS = "settings"
"""In Tune's config of a population's member: the settings that vary, as they are in force."""
CLONED = "cloned"
"""In Tune's config of a population's member: new whenever it became a clone; empty where it never did."""
SCORE = "score"
"""In a report of a population's member: what members are compared by."""
RESERVED = frozenset(
    {
        SCORE,
        *(EPOCH, DONE, ENDED, WAITS, BEGUN, GIVEN_UP, STATE, ROW, "points", "events", "node", "told"),
        *("config", "date", "done", "experiment_tag", "hostname", "node_ip", "pid", "timestamp", "training_iteration"),
        *("episodes_total", "timesteps_total", "iterations_since_restore", "timesteps_since_restore"),
        *("time_since_restore", "time_this_iter_s", "time_total_s", "trial_id", "trial_name", "trial_dir"),
        *("should_checkpoint", "checkpoint_dir_name"),
    }
)
"""Names in a report that are no figures of a network: ours, and what Tune adds to each."""
WORKERS = "workers"
"""Folder in the run's folder in which Ray Train keeps what workers of one training have to say: never read."""


def trial_of_key(shared: Trial, key: str) -> Trial:
    """The trial of a proposal, by the proposal's key.

    Args:
        shared: what all proposed trials have beside what is proposed.
        key: of the proposal.
    """
    proposal = Proposal.of(key, None if isinstance(shared, SearchTrial) else shared.config.cell_space)
    return proposed(shared, proposal.architecture, proposal.settings)


@dataclass(frozen=True, kw_only=True)
class Late:
    """What a searcher is told of searches only once networks that they found were trained from scratch."""

    after: int
    """Number of results that it may be told: later ones are still to be trained."""
    points: Callable[[Storage], Mapping[str, Sequence[Point]]]
    """From the run's folder, by trial: multiply-adds (M) and metric of what it found and was trained."""


@dataclass(frozen=True, kw_only=True)
class Proposing:
    """A searcher that proposes a phase's trials one after the other."""

    searcher: Callable[[Sequence[tuple[Proposal, Feedback]], Sequence[Proposal]], Searcher]
    """Makes the searcher as it stands once it was told these results, in order, while these proposals are under way."""
    evaluations: int
    """How many proposals it makes."""
    shared: Trial
    """What all proposed trials have beside what is proposed: architecture, settings, or both."""
    cells: int
    """Number of cells of the networks that are trained."""
    chooser: str
    """Who proposes, and for what, in words."""
    worth: Callable[[Sequence[Point]], Mapping[str, float]] = field(default=lambda points: {})
    """Objectives by name of a search that gave these (multiply-adds in M, metric), the last one at its end."""
    late: Late | None = None
    """What it is told later; None where it is told of each trial as that ends."""

    def valued(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """A trial's result with the objectives that follow from what a search gave."""
        points = result.get("points")
        if not isinstance(self.shared, SearchTrial) or not points:
            return result
        return {**result, **self.worth([(float(macs), float(metric)) for macs, metric in points])}


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
    """Epochs at which trials are compared, and all but the best stopped; the last ends them."""
    reduction_factor: float = 3.0
    """The best 1/N of the trials continue at a rung."""
    objectives: Mapping[str, Mode] = field(default_factory=lambda: {"accuracy": "max", "macs": "min"})
    """What is traded, by names in a report, each with whether less or more of it is better."""
    workers: int = 1
    """Processes that train one architecture together."""
    budget: float | None = None
    """Largest multiply-adds (M) of what counts for the front that live figures tell of."""
    fidelity: Fidelity = field(default_factory=Fidelity)
    """Which trainings share that front."""
    one_stage_epochs: int | None = None
    """Epochs of trainings in one stage that share it."""

    @property
    def looks_up(self) -> bool:
        """Whether its trials look accuracies up in a table, which takes milliseconds."""
        trial = self.proposing.shared if self.proposing else next(iter(self.trials), None)
        return trial is not None and trial.is_looked_up

    @property
    def population(self) -> Population | None:
        """Of which its trials are the members, where they are."""
        trial = next(iter(self.trials), None)
        return trial.population if isinstance(trial, TrainingTrial) else None

    @property
    def names(self) -> set[str]:
        """Spaces, methods and datasets that its trials name."""
        trials = self.trials if self.proposing is None else [self.proposing.shared]
        found = ((trial.config, kind) for trial in trials for kind in ("space", "method", "dataset"))
        return {getattr(config, kind) for config, kind in found if hasattr(config, kind)}

    @property
    def compared_by(self) -> dict[str, Mode]:
        """What trials are compared by at rungs: accuracy first, which leads, and then the other objectives.

        Searches are by their supernet's: what they give comes late, or once.
        """
        if self.kind == "searches":
            return {"supernet_accuracy": "max", "expected_macs": "min"}
        return {"accuracy": "max", **self.objectives}

    @property
    def trainings(self) -> list[TrainingTrial]:
        """The known trials that are trainings."""
        return [trial for trial in self.trials if isinstance(trial, TrainingTrial)]

    @property
    def title(self) -> str:
        """What its trials are, and who proposes them, in words."""
        return self.kind if self.proposing is None else f"{self.kind}, {self.proposing.chooser}"

    @property
    def total(self) -> int:
        """How many trials it has."""
        return self.proposing.evaluations if self.proposing else len(self.trials)
