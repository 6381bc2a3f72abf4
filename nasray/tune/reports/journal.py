"""Optuna's journal of what searchers propose in a run, which optuna-dashboard shows while it goes on.

It records every proposal once it is evaluated, whichever searcher made it. Searchers are rebuilt
from the run's rows and never read the journal, so what is proposed does not depend on it, and a line costs
one write where a study that lives in a journal costs ten.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import create_trial
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from nasray.errors import reason
from nasray.runs.events import say
from nasray.searchers import EPOCH, Proposal, SearchProblem, feedback_of
from nasray.searchers.optuna import STATES, distributions
from nasray.trials.running import GIVEN_UP, WAITS
from nasray.tune.phase import PROPOSAL

TRIAL = "trial"
"""A trial's attribute in the study: its name."""
_ATTRIBUTES = ("accuracy", "macs", "params", "latency_ms", EPOCH)
"""What the journal records of a trial beside its objectives, as far as it is known."""


class OptunaJournal(Callback):
    """Writes a black-box search into a study of Optuna's.

    A journal that fails is left alone for the rest of the search, which is reported once, and harms no run; what it
    lacks is added when the search is resumed.

    Args:
        run: name of the run.
        study: name of the search in the journal.
        path: of the journal.
        problem: that is searched.
        valued: gives a result with the objectives that follow from it.
        ended: proposal's key and last result of trials that ended before, by their names: made up for.
    """

    def __init__(
        self,
        run: str,
        study: str,
        path: Path,
        *,
        problem: SearchProblem,
        valued: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda result: result,
        ended: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        self.run = run
        self.ended = dict(ended or {})
        self.name = study
        self.path = path
        self.problem, self.valued = problem, valued
        self.objectives = dict(problem.objectives)
        self._study: optuna.Study | None = None
        self._failed = False
        self._told: set[str] = set()
        """Names of the trials that stand in the study."""

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Called by Tune after every event: the first time, what ended before a kill is made up for."""
        if self._study is None:
            self._safely(lambda: None)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune when a trial ended by itself, or was stopped by a scheduler."""
        result = trial.run_metadata.last_result
        if not result.get(WAITS):
            self._safely(lambda: self._tell(str(trial), trial.config[PROPOSAL], result))

    def _safely(self, tell: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            if self._study is None:
                self._open()
                for name, (key, result) in self.ended.items():
                    self._tell(name, key, result)
            tell()
        except Exception as error:
            self._failed = True
            say("warning", "tracker_failed", run=self.run, tracker="optuna", reason=reason(error))

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(self.path)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(self.path))),
            study_name=self.name,
            directions=["maximize" if mode == "max" else "minimize" for mode in self.objectives.values()],
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names(list(self.objectives))
        found = self._study.get_trials(deepcopy=False)
        self._told = {one.user_attrs.get(TRIAL, "") for one in found}
        self._distributions = distributions(self.problem)

    def _tell(self, name: str, key: str, result: Mapping[str, Any]) -> None:
        assert self._study is not None
        if name in self._told:
            return
        params = self.problem.values(Proposal.of(key, self.problem.space))
        result, error = self.valued(result), GIVEN_UP in result
        feedback = feedback_of(
            result,
            objectives=self.objectives,
            epochs=self.problem.epochs,
            budget=self.problem.budget,
            error=error,
        )
        known = {name: result[name] for name in _ATTRIBUTES if result.get(name) is not None}
        told = create_trial(
            state=STATES[feedback.state],
            values=list(feedback.values) or None,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs={TRIAL: name, **known},
            constraints=dict(feedback.constraints),
        )
        # It is made now; how long it took is Tune's to say.
        seconds = timedelta(seconds=result.get("time_total_s", 0.0))
        assert told.datetime_start is not None
        told.datetime_start -= seconds
        self._study.add_trial(told)
        self._told.add(name)


def _drop_torn_line(path: Path) -> None:
    """Take back a last line that a kill cut off: Optuna reads no journal that has one in its middle."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())
