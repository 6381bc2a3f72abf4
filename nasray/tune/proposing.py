"""A searcher in a phase: rebuilt from the run's folder, asked under Ray Tune, told its results by number.

Everything it needs lies in the rows of its trials and in their outcomes. The searcher is told trainings again in the
order of the column ``told``; what was proposed and did not end comes first. Look-ups in a table are proposed again,
exactly as before, and get their known results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from nasray.runs import EVALUATIONS, Storage, read
from nasray.runs.outcomes import GAVE_UP, Outcome, read_outcome, read_outcomes, write_outcome
from nasray.runs.tables import amend_row
from nasray.searchers import EPOCH, Feedback, feedback_of
from nasray.spaces import Architecture
from nasray.trials.rows import ROW
from nasray.trials.trial import TrainingTrial
from nasray.tune.phase import Phase, Proposing
from nasray.tune.searcher import TOLD, AskTellSearch, Result


class Proposed:
    """The trials that a phase's searcher proposed, as the run's folder has them.

    Args:
        phase: with a searcher.
        storage: the run's folder.
    """

    def __init__(self, phase: Phase, storage: Storage) -> None:
        assert phase.proposing is not None
        self.proposing: Proposing = phase.proposing
        self.phase, self.storage = phase, storage
        self.digests: dict[str, str] = {}
        """Digests of the trials proposed since, by the trials' names."""

    def trial(self, architecture: Architecture) -> TrainingTrial:
        """The trial that trains an architecture."""
        shared = self.proposing.shared
        return replace(shared, config=replace(shared.config, architecture=architecture))

    def begin(self, architecture: Architecture) -> str:
        """Write down that an architecture was proposed, so that another driver finds it; gives its trial's name."""
        trial = self.trial(architecture)
        self.digests[trial.name] = trial.digest
        if not trial.is_looked_up and read_outcome(self.storage, trial.name) is None:
            waiting = Outcome(state="waiting", digest=trial.digest, architecture=architecture.to_json())
            write_outcome(self.storage, trial.name, waiting)
        return trial.name

    def told(self, result: Result, number: int) -> None:
        """Write into its row which of all results the searcher was told."""
        if result.get(ROW) is not None:
            amend_row(self.storage, EVALUATIONS, result[ROW], told=number)

    def name_of_row(self, row: Mapping[Any, Any]) -> str | None:
        """The name of the trial that left a row; None where the searcher did not propose it."""
        shared = self.proposing.shared
        if row["method"] != shared.method or row["search_trial_id"] != shared.origin.search_trial_id:
            return None
        return self.trial(Architecture.from_json(shared.config.cell_space, row["architecture"])).name

    def outcomes(self) -> dict[str, Outcome]:
        """Those of the trials that the searcher proposed, by the trials' names."""
        if self.phase.looks_up:  # it proposes them all anew
            return read_outcomes(self.storage, self.digests)
        found = {}
        for name, outcome in read_outcomes(self.storage).items():
            architecture = self._architecture(outcome)
            if architecture is not None and self.trial(architecture).name == name:
                found[name] = outcome
        return found

    def search(self) -> AskTellSearch:
        """The searcher as it stands after all that the folder holds."""
        results, outcomes = self.results(), self.outcomes()
        told: list[tuple[Architecture, Feedback]] = []
        numbers = [int(result[TOLD]) for result in results.values() if TOLD in result]
        searcher = self.proposing.searcher([])
        if not self.phase.looks_up:
            problem = searcher.problem
            ordered = sorted(results.items(), key=lambda item: item[1].get(TOLD, math.inf))
            for text, result in ordered:
                feedback = feedback_of(
                    result, objectives=problem.objectives, epochs=problem.epochs, budget=problem.budget
                )
                told.append((Architecture.from_json(problem.space, text), feedback))
            searcher = self.proposing.searcher(told)
        unfinished = [self._architecture(outcome) for outcome in outcomes.values() if outcome.is_open]
        return AskTellSearch(
            searcher,
            self.proposing.evaluations,
            name_of=self.begin,
            known=lambda architecture: results.get(architecture.to_json()),
            on_told=self.told,
            told=max([*numbers, len(told)]) if told else 0,
            distinct=len(told),
            unfinished=[architecture for architecture in unfinished if architecture is not None],
        )

    def _architecture(self, outcome: Outcome) -> Architecture | None:
        if outcome.architecture is None:
            return None
        return Architecture.from_json(self.proposing.shared.config.cell_space, outcome.architecture)

    def ended(self) -> dict[str, tuple[str, Result]]:
        """Architecture, as JSON, and last result of the trials that ended for good, by their names."""
        space = self.proposing.shared.config.cell_space
        return {
            self.trial(Architecture.from_json(space, text)).name: (text, result)
            for text, result in self.results().items()
        }

    def results(self) -> dict[str, Result]:
        """The last result of every architecture whose trial ended for good, by its JSON."""
        shared, outcomes = self.proposing.shared, read_outcomes(self.storage)
        rows = read(self.storage, EVALUATIONS)
        results: dict[str, Result] = {}
        if len(rows):
            same = (rows["method"] == shared.method) & (rows["search_trial_id"] == shared.origin.search_trial_id)
            same &= (rows["settings"] == shared.settings) & (rows["seed"] == shared.config.seed)
            for row in rows[same].sort_values("epochs").to_dict("records"):
                outcome = outcomes.get(str(self.name_of_row(row)))
                # A trial that is still running may already have rows, of its rungs.
                if row["complete"] if outcome is None else not outcome.is_open:
                    results[row["architecture"]] = _result(row, self.phase.objectives)
        for outcome in outcomes.values():
            if outcome.architecture is not None and outcome.state in GAVE_UP:
                results.setdefault(outcome.architecture, {EPOCH: 0})
        return results


def _result(row: Mapping[Any, Any], objectives: Iterable[str]) -> Result:
    names = ("accuracy", "macs", "params", "latency_ms", *objectives)
    result = {name: row[name] for name in names if row.get(name) is not None and not pd.isna(row[name])}
    told = row.get(TOLD)
    return {**result, EPOCH: row["epochs"], **({} if told is None or pd.isna(told) else {TOLD: int(told)})}
