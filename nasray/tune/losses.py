"""Lost workers: a trial whose process or node went away has not failed, and goes on from its last checkpoint.

Ray Tune counts whatever ends a trial, unless the autoscaler announced that it takes the node. On machines that come and
go that would end long trials for nothing of their own doing. Here only errors that a trial raises count; but a trial
that takes its worker down with it must end too, so losses in a row without an epoch between them have a bound.
"""

from __future__ import annotations

import sys
from typing import Any

from ray.exceptions import RayActorError
from ray.tune import Callback, ResultGrid
from ray.tune.experiment import Trial

from nasray.runs.events import say
from nasray.tune.out_of_memory import memory_kills_are_failures, short_of
from nasray.tune.session.secrets import keep_secrets

MOST_LOSSES = 10
"""Of a trial's workers, one after the other, without an epoch done between them."""


class Losses(Callback):
    """Takes lost workers out of Tune's count of a trial's failures, and says what was lost or failed, and why."""

    def __init__(self, run: str, max_failures: int) -> None:
        self.run, self.max_failures = run, max_failures
        self._lost: dict[str, tuple[int, int]] = {}  # by trial: reports at the last loss, losses since there was one

    def setup(self, *given: Any, **info: Any) -> None:
        """Called by Tune before any trial, in the process in which it runs: with a Ray Client that is the head's."""
        keep_secrets()
        memory_kills_are_failures()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial begins or goes on: of a resumed run Tune has what it was begun with."""
        trial.max_failures = self.max_failures

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial ended and is tried again, after it was counted as failed."""
        error = sys.exc_info()[1]  # Tune calls this while it deals with it
        reports = int((trial.last_result or {}).get("training_iteration", 0))
        if not is_loss(error):
            say("warning", "trial_retried", run=self.run, trial=str(trial), failures=trial.num_failures, **_why(error))
            return
        before, losses = self._lost.get(trial.trial_id, (reports, 0))
        losses = 1 if reports > before else losses + 1
        self._lost[trial.trial_id] = max(reports, before), losses
        if losses <= MOST_LOSSES:
            trial.run_metadata.num_failures -= 1
        say("warning", "worker_lost", run=self.run, trial=str(trial), in_a_row=losses, **_why(error))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called by Tune when a trial ended for good."""
        say(
            "error",
            "trial_failed",
            run=self.run,
            trial=str(trial),
            failures=trial.num_failures,
            **_why(sys.exc_info()[1]),
        )


def is_loss(error: BaseException | None) -> bool:
    """Whether a worker went away by no doing of its trial.

    An error that a trial raises while it is set up kills its worker too, and is none; a worker that was killed for the
    memory that it took is another matter (out_of_memory.py).
    """
    return isinstance(error, RayActorError) and not error.actor_init_failed and short_of(error) is None


def any_lost(results: ResultGrid) -> bool:
    """Whether some trial was given up for the loss of its worker, since it had failed as often as it may before."""
    return any(is_loss(error) for error in results.errors)


def _why(error: BaseException | None) -> dict[str, str]:
    if error is None:
        return {}
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Of an error that a trial raised the last line of its traceback tells, of a lost worker what Ray found out of it.
    return {"reason": (lines[-1] if lines else type(error).__name__)}
