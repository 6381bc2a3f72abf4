"""What a person sees of a running sweep: a live view or lines of progress, and its trials' events."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console, RenderableType
from rich.live import Live

from nasray.runs.events import drawn_by, say
from nasray.runs.lease import check_lease
from nasray.trials.running import BEGUN, GIVEN_UP, STATE
from nasray.tune.reports.state import Counting, State
from nasray.tune.reports.view import line, view
from nasray.tune.session.interruption import end_if_interrupted, interrupted
from nasray.tune.trainable import EVENTS, NODE

_LIVE_SECONDS, _LINE_SECONDS = 1.0, 10.0
"""From one counting of the trials to the next: on a terminal, elsewhere."""


class Progress(Callback):
    """Shows how far a phase is: a live view on a terminal, elsewhere a line now and then. All on standard error.

    Args:
        counting: counts the phase's trials.
        quiet: whether to show nothing.
    """

    def __init__(self, counting: Counting, *, quiet: bool = False) -> None:
        self.counting, self.quiet = counting, quiet
        self._state: State | None = None
        self._live: Live | None = None
        """Made where Tune runs, for it cannot be pickled."""
        self._stopped = False
        self._last = 0.0
        self._line = ""

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune with every report."""
        if GIVEN_UP not in result:
            self.counting.heard(done=not result.get(BEGUN))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called by Tune after every event."""
        now = time.monotonic()
        if self.quiet or interrupted() or now - self._last < (_LIVE_SECONDS if _on_terminal() else _LINE_SECONDS):
            return
        self._last, self._state = now, self.counting.count(trials)
        if not _on_terminal():
            self._print(self._state)
        elif self._live is None and not self._stopped:
            self._live = self._begin()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """The last state, unless a signal ended it: trials that Tune cut off look to it as if they were done."""
        self.stop()
        if not self.quiet and not interrupted():
            self._print(self.counting.count(trials))

    def stop(self) -> None:
        """Take the live view off the terminal."""
        live, self._live, self._stopped = self._live, None, True
        if live is not None:
            live.stop()
            drawn_by.discard(self.stop)

    def _begin(self) -> Live:
        console = Console(stderr=True)
        live = Live(
            get_renderable=partial(self._view, console),
            console=console,
            refresh_per_second=2,
            transient=True,
            # What else is printed there comes above the view; what goes into a file stays as it is.
            redirect_stdout=sys.stdout.isatty(),
        )
        live.start(refresh=True)
        drawn_by.add(self.stop)
        return live

    def _view(self, console: Console) -> RenderableType:
        assert self._state is not None
        ascii_only = console.options.ascii_only
        size = console.size
        return view(self._state, time.time(), width=size.width, height=size.height, plain_letters=ascii_only)

    def _print(self, state: State) -> None:
        said = line(state, time.time())
        if said != self._line:
            self._line = said
            print(said, file=sys.stderr, flush=True)


def _on_terminal() -> bool:
    """Whether a live view can be drawn on standard error."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Events(Callback):
    """Says in the driver what happens to trials, and what they said of themselves in their results.

    Args:
        run: name of the run.
        kind: ``searches`` or ``trainings``.
        storage: the run's folder.
        label: what a trial is in a few words, by its name and its config.
    """

    def __init__(self, run: str, kind: str, storage: str, label: Callable[[str, Mapping[str, Any]], str]) -> None:
        self.run = run
        self.kind = kind
        self.storage = storage
        self.label = label

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
            told = self.label(str(trial), trial.config)
            say("warning", event, run=self.run, trial=str(trial), of=told, reason=result[GIVEN_UP])
        if result.get(BEGUN):
            return
        shown = ("epoch", NODE, "accuracy", "supernet_accuracy", "macs", "seconds")
        say("debug", "epoch", run=self.run, trial=str(trial), **{name: result.get(name) for name in shown})

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial ended by itself, or was stopped by a scheduler."""
        say("info", "trial_done", run=self.run, trial=str(trial), epoch=(trial.last_result or {}).get("epoch"))
