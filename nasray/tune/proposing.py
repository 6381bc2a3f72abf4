"""A searcher in a phase: rebuilt from the run's folder, asked under Ray Tune, told its results by number.

Everything it needs lies in the rows of its trials and in their outcomes. The searcher is told results again in the
order in which it was told them; what was proposed and did not end comes first. Look-ups in a table are proposed again,
exactly as before, and get their known results.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from nasray.runs import CANDIDATES, EVALUATIONS, Storage, read
from nasray.runs.outcomes import GAVE_UP, Outcome, Point, read_outcome, read_outcomes, write_outcome
from nasray.runs.tables import amend_row, row_file
from nasray.searchers import EPOCH, Feedback, Proposal, feedback_of
from nasray.searchers.parameters import active
from nasray.searchers.searcher import ENDED
from nasray.settings import TRAINED
from nasray.spaces import Architecture
from nasray.trials.rows import ROW
from nasray.trials.trial import SearchTrial, TrainingTrial, Trial, proposed
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
        self._problem = self.proposing.searcher([], []).problem

    @property
    def _before(self) -> int:
        """Proposals of the rounds before, repetitions included: what follows has numbers above."""
        return 0 if self.proposing.late is None else self.proposing.late.after

    def trial(self, proposal: Proposal) -> Trial:
        """The trial of a proposal."""
        return proposed(self.proposing.shared, proposal.architecture, proposal.settings)

    def begin(self, proposal: Proposal) -> str:
        """Write down what was proposed, so that another driver finds it; gives its trial's name."""
        trial = self.trial(proposal)
        self.digests[trial.name] = trial.digest
        if not trial.is_looked_up and read_outcome(self.storage, trial.name) is None:
            waiting = Outcome(state="waiting", digest=trial.digest, proposal=proposal.key)
            write_outcome(self.storage, trial.name, waiting)
        return trial.name

    def told(self, proposal: Proposal, result: Result, number: int) -> None:
        """Write down which of all results the searcher was told: into the rows, and of a search into its outcome."""
        if not isinstance(self.proposing.shared, SearchTrial):
            if result.get(ROW) is not None:
                amend_row(self.storage, EVALUATIONS, result[ROW], told=number)
            return
        name = self.trial(proposal).name
        outcome = read_outcome(self.storage, name)
        if outcome is not None:
            self._told_of_search(name, outcome, number)

    def _told_of_search(self, name: str, outcome: Outcome, number: int) -> None:
        rows = read(self.storage, CANDIDATES)
        for row in rows[rows["trial_id"] == name].to_dict("records"):
            own = {str(column): value for column, value in row.items()}
            amend_row(self.storage, CANDIDATES, row_file(CANDIDATES, own), told=number)
        write_outcome(self.storage, name, dataclasses.replace(outcome, told=number))

    def name_of_row(self, row: Mapping[Any, Any]) -> str | None:
        """The name of the trial that left a row; None where the searcher did not propose it."""
        proposal = self._proposal_of_row(row)
        return None if proposal is None else self.trial(proposal).name

    def outcomes(self) -> dict[str, Outcome]:
        """Those of the trials that the searcher proposed, by the trials' names."""
        if self.phase.looks_up:  # it proposes them all anew
            return read_outcomes(self.storage, self.digests)
        found = {}
        for name, outcome in read_outcomes(self.storage).items():
            proposal = self._proposal(outcome)
            if proposal is not None and self.trial(proposal).name == name:
                found[name] = outcome
        return found

    def search(self) -> AskTellSearch:
        """The searcher as it stands after all that the folder holds."""
        self._number()
        results, outcomes = self.results(), self.outcomes()
        told: list[tuple[Proposal, Feedback]] = []
        numbers = [int(result[TOLD]) for result in results.values() if TOLD in result]
        under_way = [found for one in outcomes.values() if one.is_open and (found := self._proposal(one)) is not None]
        untold: list[Proposal] = []
        late = self.proposing.late
        if not self.phase.looks_up:
            problem = self._problem
            ordered = sorted(results.items(), key=lambda item: item[1].get(TOLD, math.inf))
            for key, result in ordered:
                if late is not None and result[TOLD] > late.after:
                    untold.append(Proposal.of(key, problem.space))
                    continue
                feedback = feedback_of(
                    result, objectives=problem.objectives, epochs=problem.epochs, budget=problem.budget
                )
                told.append((Proposal.of(key, problem.space), feedback))
        before = len(told) + len(untold)
        return AskTellSearch(
            self.proposing.searcher(told, [*untold, *under_way]),
            self.proposing.evaluations,
            name_of=self.begin,
            known=lambda proposal: results.get(proposal.key),
            on_told=self.told,
            valued=self.proposing.valued,
            told=max([*numbers, before, self._before]),
            distinct=before,
            unfinished=under_way,
            tells=late is None,
        )

    def _number(self) -> None:
        """Number the searches that ended, and of which the driver was killed before it wrote that down."""
        if not isinstance(self.proposing.shared, SearchTrial):
            return
        ended = {name: outcome for name, outcome in sorted(self.outcomes().items()) if not outcome.is_open}
        number = max([self._before, *(one.told for one in ended.values() if one.told is not None)])
        for name, outcome in ended.items():
            if outcome.told is None:
                number += 1
                self._told_of_search(name, outcome, number)

    def ended(self) -> dict[str, tuple[str, Result]]:
        """Proposal's key and last result of the trials that ended for good, by their names."""
        return {
            self.trial(Proposal.of(key, self._problem.space)).name: (key, result)
            for key, result in self.results().items()
        }

    def results(self) -> dict[str, Result]:
        """The last result of every proposal whose trial ended for good, by its key."""
        if isinstance(self.proposing.shared, SearchTrial):
            return self._results_of_searches()
        shared, outcomes = self.proposing.shared, read_outcomes(self.storage)
        rows = read(self.storage, EVALUATIONS)
        results: dict[str, Result] = {}
        if len(rows):
            same = (rows["method"] == shared.method) & (rows["search_trial_id"] == shared.origin.search_trial_id)
            same &= rows["seed"] == shared.config.seed
            for row in rows[same].sort_values("epochs").to_dict("records"):
                proposal = self._proposal_of_row(row)
                if proposal is None:
                    continue
                outcome = outcomes.get(self.trial(proposal).name)
                # A trial that is still running may already have rows, of its rungs.
                if row["complete"] if outcome is None else not outcome.is_open:
                    results[proposal.key] = _result(row, self.phase.objectives)
        for outcome in outcomes.values():
            if outcome.proposal is not None and outcome.state in GAVE_UP:
                results.setdefault(outcome.proposal, {EPOCH: 0})
        return results

    def _results_of_searches(self) -> dict[str, Result]:
        results: dict[str, Result] = {}
        late = self.proposing.late
        points = None if late is None else late.points(self.storage)
        for name, outcome in self.outcomes().items():
            if outcome.is_open or outcome.proposal is None:
                continue
            gave = outcome.points if points is None else points.get(name, ())
            result = {EPOCH: 0} if outcome.state in GAVE_UP else _result_of_search(outcome, gave)
            number = {} if outcome.told is None else {TOLD: outcome.told}
            results[outcome.proposal] = {**self.proposing.valued(result), **number}
        return results

    def _proposal(self, outcome: Outcome) -> Proposal | None:
        return None if outcome.proposal is None else Proposal.of(outcome.proposal, self._problem.space)

    def _proposal_of_row(self, row: Mapping[Any, Any]) -> Proposal | None:
        """What a row of the searcher's trainings is of; None where it is another's."""
        shared = self.proposing.shared
        if not isinstance(shared, TrainingTrial):
            return None
        if row["method"] != shared.method or row["search_trial_id"] != shared.origin.search_trial_id:
            return None
        settings = {} if not self._problem.settings else json.loads(row["settings"])
        varied = {name: settings.get(name.removeprefix(TRAINED)) for name in self._problem.settings}
        architecture = Architecture.from_json(shared.config.cell_space, row["architecture"])
        found = Proposal(architecture, active(self._problem.settings, varied))
        trial = self.trial(found)
        return found if isinstance(trial, TrainingTrial) and trial.settings == row["settings"] else None


def _result_of_search(outcome: Outcome, points: Sequence[Point]) -> dict[str, Any]:
    ended = outcome.state == "done" and bool(points)
    return {EPOCH: outcome.epoch, ENDED: ended, "points": [list(point) for point in points]}


def _result(row: Mapping[Any, Any], objectives: Iterable[str]) -> Result:
    names = ("accuracy", "macs", "params", "latency_ms", *objectives)
    result = {name: row[name] for name in names if row.get(name) is not None and not pd.isna(row[name])}
    told = row.get(TOLD)
    return {**result, EPOCH: row["epochs"], **({} if told is None or pd.isna(told) else {TOLD: int(told)})}
