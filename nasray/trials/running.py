"""A trial that runs: epoch by epoch, with rows, checkpoints and its outcome in the run's folder. No Ray.

An epoch's rows are written before its checkpoint, and the checkpoint before the epoch is reported: whatever is cut off
in between is done again, to the same rows. Its figures may wait in the checkpoint for a few seconds. The outcome comes
after the last row, and only then checkpoints go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from nasray.errors import InvalidInput, NonFiniteLoss, StorageFailure, reason
from nasray.runs.outcomes import GAVE_UP, Outcome, Point, State, read_outcome, write_outcome
from nasray.runs.storage import Storage
from nasray.trials.checkpoints import DamagedState, drop_checkpoints, newest_checkpoints, save_checkpoint, unpack
from nasray.trials.curves import LearningCurve
from nasray.trials.evaluation import Evaluation
from nasray.trials.lookup import Lookup
from nasray.trials.member import continued, figures, write_result
from nasray.trials.memory import short_of_memory
from nasray.trials.rows import ROW, write_candidates, write_evaluation, write_trained_network
from nasray.trials.search import Search
from nasray.trials.trial import SearchTrial, TrainingTrial, Trial

EPOCH = "epoch"
"""In a report: epochs done."""
DONE = "done"
"""In a report: whether nothing follows. Tune sets it too, of a trial that it stops."""
ENDED = "ended"
"""In a report: whether the trial itself came to its end."""
WAITS = "waits"
"""In a trial's last report: that it waits for the next pass, which gives it more memory."""
BEGUN = "begun"
"""In a trial's first report: what it goes on from, of which nothing is new."""
GIVEN_UP = "given_up"
"""In a trial's last report: why it gave up."""
STATE = "state"
"""Beside it: the state of its outcome."""

Running = Search | Evaluation | Lookup
Report = dict[str, Any]
"""Figures of an epoch by name, small: multiply-adds, accuracies, seconds, and the points that the trial gave so far."""
Say = Callable[..., None]
"""Takes a level, the name of an event and its fields."""


class RunningTrial:
    """A trial in this process.

    Args:
        trial: what it is.
        storage: the run's folder.
        say: called with messages for the user.
        start: makes the trial before its first epoch; None lets it run in this process.
        max_failures: how often it may raise an error and be tried again.
    """

    def __init__(
        self,
        trial: Trial,
        storage: Storage,
        say: Say,
        *,
        start: Callable[[Trial], Running] | None = None,
        max_failures: int = 0,
    ) -> None:
        self.trial, self.storage = trial, storage
        self._say, self._start, self._max_failures = say, start or (lambda one: one.start()), max_failures
        self._population = None if isinstance(trial, SearchTrial) else trial.population
        self._source: str | None = None
        """Of a member of a population: whose weights it has just taken over."""
        self._running: Running | None = None
        self._report: Report = {EPOCH: 0}
        """The last epoch's: a trial that goes on from its checkpoint reports it again, for those who compare trials."""
        self.points: list[Point] = []
        self._curve = LearningCurve(storage, trial)
        self.outcome = read_outcome(storage, trial.name, trial.digest) or Outcome(state="waiting", digest=trial.digest)

    @property
    def is_member(self) -> bool:
        """Whether it is one of a population."""
        return self._population is not None

    def step(self) -> Report:
        """One epoch, or at first what the trial goes on from, with every error made an outcome.

        Raises:
            StorageFailure: the storage failed for longer than a run waits for it.
            Exception: the trial raised an error and may be tried again, in another process.
        """
        try:
            if not self.outcome.is_open:
                return self._of_outcome()
            if self.outcome.state == "out_of_memory":  # its process was lost so, and the driver wrote it down
                return {**self._shown(done=True), WAITS: True}
            if self._running is None:
                self.begin()
                if not isinstance(self._running, Lookup):
                    return {**self._shown(), BEGUN: True}
            return self.run_epoch()
        except StorageFailure:
            raise  # no fault of the trial
        except NonFiniteLoss as error:
            return self._give_up("diverged", str(error))
        except InvalidInput as error:
            return self._give_up("refused", str(error))
        except Exception as error:
            return self._fail(error)

    def begin(self) -> None:
        """Make the trial, and go on from its newest whole checkpoint where it has one."""
        damage = ""
        checkpoints = () if self.trial.is_looked_up else newest_checkpoints(self.storage, self.trial.name)
        for name, content in checkpoints:
            try:
                self._take(unpack(content))
            except DamagedState as error:
                damage = damage or f"{name}: {error}"
                continue
            if damage:
                self._say("warning", "checkpoint_damaged", reason=damage, used=name)
            else:
                self._say("info", "trial_resumed", checkpoint=name)
            return
        if damage:
            self._say("warning", "checkpoint_damaged", reason=damage, used="none, the trial starts again")
        # What was loaded before it turned out not to fit must not stay.
        self._running, self.points, self._report, self._source = self._start(self.trial), [], {EPOCH: 0}, None
        self._curve.take(())

    def run_epoch(self) -> Report:
        """One epoch: its rows, its checkpoint or its outcome, its figures."""
        running = self._running
        assert running is not None
        if running.finished:
            # It was killed between its last row, or its last checkpoint, and its outcome.
            return self._end()
        excess = self._excess(running)
        if excess is not None:
            return self._end("stopped", excess)
        report = self._search_epoch(running) if isinstance(running, Search) else self._training_epoch(running)
        self._report = {**report, "points": list(self.points)}
        if not isinstance(running, Lookup):
            # At a rung it may be stopped, and nothing of it is asked for any more.
            last = running.finished or running.epoch in self.trial.rungs
            self._curve.add({**report, **self._of_member(running)}, now=last)
        if running.finished:
            return self._end()
        if not isinstance(running, Lookup):  # what is looked up need not be taken up again
            own = {"points": self.points, "report": self._report, "curve": self._curve.rows}
            state = {**running.state_dict(), **own}
            kept = None if self._population is None else self._population.needed(running.epoch)
            save_checkpoint(self.storage, self.trial.name, running.epoch, state, kept)
        return self._shown()

    def close(self) -> bool:
        """Let go of everything; gives whether there were networks."""
        networks = self._running is not None and not isinstance(self._running, Lookup)
        self._running = None
        return networks

    def _search_epoch(self, search: Search) -> Report:
        assert isinstance(self.trial, SearchTrial)
        epoch = search.run_epoch()
        write_candidates(self.storage, self.trial, search, epoch)
        write_trained_network(self.storage, self.trial, search)
        self.points += [(c.macs, c.accuracy) for c in epoch.candidates]
        return {**epoch.metrics, EPOCH: epoch.number}

    def _training_epoch(self, training: Evaluation | Lookup) -> Report:
        assert not isinstance(self.trial, SearchTrial)
        metrics = training.run_epoch()
        report = {**metrics, "macs": training.macs, "params": training.params, EPOCH: training.epoch}
        if self._population is not None:
            if training.finished:
                assert isinstance(training, Evaluation)
                write_result(self.storage, self.trial, training)
        elif training.finished or training.epoch in self.trial.rungs:
            row = write_evaluation(self.storage, self.trial, training)
            report |= {name: row[name] for name in (ROW, "latency_ms") if row.get(name) is not None}
        if training.finished:
            self.points = [(training.macs, training.accuracy)]
        return report

    def _of_member(self, running: Search | Evaluation) -> dict[str, Any]:
        if self._population is None:
            return {}
        assert isinstance(running, Evaluation)
        assert isinstance(self.trial, TrainingTrial)
        source, self._source = self._source, None
        return figures(self.trial, running, source)

    def _excess(self, running: Running) -> str | None:
        """Why nothing is spent on a network above the budget: only where it cannot be made narrower."""
        if isinstance(self.trial, SearchTrial) or isinstance(running, Search):
            return None
        budget = self.trial.config.budget
        if budget is None or running.macs <= budget:
            return None
        self._report = {"macs": running.macs, "params": running.params, EPOCH: 0}
        return f"{running.macs:.6g} M multiply-adds are above the budget of {budget:g} M"

    def _take(self, state: dict[str, Any]) -> None:
        trial = self.trial
        if self._population is not None:
            assert isinstance(trial, TrainingTrial)
            trial, state, self._source = continued(self.storage, trial, state, self._say)
        self._running = running = self._start(trial)
        assert not isinstance(running, Lookup)
        try:
            running.load_state_dict(state)
            self.points = [(macs, accuracy) for macs, accuracy in state["points"]]
            self._report = dict(state["report"])
            self._curve.take(state["curve"])
        except Exception as error:  # whole, but of another trial: whatever does not fit then
            raise DamagedState(f"it is of another trial ({type(error).__name__})") from error

    def _end(self, state: State = "done", reason: str | None = None) -> Report:
        """The outcome of a trial that needs no more epochs, and its last report."""
        self._write(state, reason)
        return self._shown(done=True)

    def _give_up(self, state: State, reason: str) -> Report:
        # What a checkpoint holds is kept: a refused trial may be tried again, by who mended what it lacked.
        self._write(state, reason, keep=state == "refused")
        return self._given_up()

    def _fail(self, error: Exception) -> Report:
        """Where memory was short the trial waits for the next pass, which gives it more. Else it is tried again in
        another process, as often as it may."""
        memory = short_of_memory(error)
        if memory is not None:
            self.outcome = dataclasses.replace(self.outcome, memory=memory)
            self._write("out_of_memory", reason(error), keep=True)
            return {**self._shown(done=True), WAITS: True}
        self.outcome = dataclasses.replace(self.outcome, failures=self.outcome.failures + 1)
        if self.outcome.failures > self._max_failures:
            times = "once" if self.outcome.failures == 1 else f"{self.outcome.failures} times"
            self._write("failed", f"failed {times}: {reason(error)}", keep=True)
            return self._given_up()
        self._write("retrying", reason(error), keep=True)
        raise error

    def _write(self, state: State, reason: str | None, *, keep: bool = False) -> None:
        if state in GAVE_UP:
            self._curve.write()
        self.outcome = dataclasses.replace(
            self.outcome, state=state, reason=reason, epoch=int(self._report[EPOCH]), points=tuple(self.points)
        )
        write_outcome(self.storage, self.trial.name, self.outcome)
        # Other members of a population may still go on from its checkpoints.
        if not keep and not self.trial.is_looked_up and self._population is None:
            drop_checkpoints(self.storage, self.trial.name)

    def _of_outcome(self) -> Report:
        """The report of a trial that was final before it was given to this process."""
        self.points = list(self.outcome.points)
        self._report = {EPOCH: self.outcome.epoch}
        return self._given_up() if self.outcome.state in GAVE_UP else self._shown(done=True)

    def _given_up(self) -> Report:
        return {**self._shown(done=True), GIVEN_UP: self.outcome.reason, STATE: self.outcome.state}

    def _shown(self, *, done: bool = False) -> Report:
        return {**self._report, "points": list(self.points), DONE: done, ENDED: done}
