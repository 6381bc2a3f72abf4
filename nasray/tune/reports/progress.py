"""What a person sees of a running sweep: one line of progress, and its trials' events."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
from ray.tune import Callback
from ray.tune.experiment import Trial

from nasray.fronts import pareto_front
from nasray.runs.events import say
from nasray.runs.lease import check_lease
from nasray.runs.outcomes import GAVE_UP, Outcome, points_of
from nasray.trials.running import BEGUN, EPOCH, GIVEN_UP, STATE
from nasray.tune.session.interruption import end_if_interrupted, interrupted
from nasray.tune.trainable import EVENTS, NODE


class Progress(Callback):
    """Prints trials done, running and left, and the size of the front so far.

    On a terminal the line is rewritten in place; elsewhere a new one is printed when a trial ends, and at most every
    ``seconds``.
    """

    def __init__(self, what: str, total: int, earlier: Sequence[Outcome] = (), seconds: float = 10.0) -> None:
        self.what = what
        self.total = total
        self.earlier = tuple(earlier)
        """Outcomes of trials that ended before this pass."""
        self.seconds = seconds
        self._last = 0.0
        self._line = ""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called by Tune after every event."""
        terminal = sys.stderr.isatty()
        now = time.monotonic()
        if now - self._last >= (0.2 if terminal else self.seconds):
            self._print(self._describe(trials), terminal)
            self._last = now

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """The last state, unless a signal ended it: trials that Tune cut off look to it as if they were done."""
        if not interrupted():
            self._print(self._describe(trials), sys.stderr.isatty())
        if sys.stderr.isatty():
            print(file=sys.stderr)

    def _describe(self, trials: list[Trial]) -> str:
        results = [t.last_result or {} for t in trials]
        failed = sum(t.status == Trial.ERROR or GIVEN_UP in r for t, r in zip(trials, results, strict=True))
        failed += sum(one.state in GAVE_UP for one in self.earlier)
        done = len(self.earlier) + sum(t.status == Trial.TERMINATED for t in trials)
        running = sum(t.status == Trial.RUNNING for t in trials)
        epochs = sum(one.epoch for one in self.earlier) + sum(int(r.get(EPOCH, 0)) for r in results)
        points = [*points_of(self.earlier), *(point for r in results for point in r.get("points", ()))]
        front = pareto_front(pd.DataFrame(points, columns=["macs", "accuracy"])) if points else ()
        failures = f", {failed} failed" if failed else ""
        return (
            f"{self.what}: {done} of {self.total} done, {running} running, {self.total - done - running} left"
            f"{failures} | {epochs} epochs | front of {len(front)}"
        )

    def _print(self, line: str, terminal: bool) -> None:
        if line == self._line:
            return
        self._line = line
        end, start = ("", "\r\x1b[K") if terminal else ("\n", "")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)


class Events(Callback):
    """Says in the driver what happens to trials, and what they said of themselves in their results."""

    def __init__(self, run: str, kind: str, storage: str) -> None:
        self.run = run
        self.kind = kind
        self.storage = storage

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called by Tune before every event: a driver that another one has replaced ends, before it writes more."""
        check_lease(self.storage)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called by Tune after every event."""
        end_if_interrupted()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial begins, or is resumed."""
        say("info", "trial_started", run=self.run, trial=str(trial), kind=self.kind)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune with every report."""
        for level, event, fields in result.get(EVENTS, ()):
            say(level, event, run=self.run, trial=str(trial), **fields)
        if GIVEN_UP in result:
            event = "trial_failed" if result.get(STATE) == "failed" else "trial_gave_up"  # or refused, or diverged
            say("warning", event, run=self.run, trial=str(trial), reason=result[GIVEN_UP])
        if result.get(BEGUN):
            return
        shown = ("epoch", NODE, "accuracy", "supernet_accuracy", "macs", "seconds")
        say("debug", "epoch", run=self.run, trial=str(trial), **{name: result.get(name) for name in shown})

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial ended by itself, or was stopped by a scheduler."""
        say("info", "trial_done", run=self.run, trial=str(trial), epoch=(trial.last_result or {}).get("epoch"))
