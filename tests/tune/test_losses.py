"""A lost worker is no failure of its trial, an error that it raises is, and no trial loses workers for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from nasray.tune.losses import MOST_LOSSES, Losses, is_loss


@dataclass
class Trial:
    """What the callback sees of Tune's."""

    trial_id: str = "1ff09c5f00"
    last_result: dict[str, Any] = field(default_factory=dict)
    run_metadata: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(num_failures=0))

    @property
    def num_failures(self) -> int:
        return int(self.run_metadata.num_failures)


def ends(losses: Losses, trial: Any, error: Exception) -> None:
    """As Tune does: it counts first, and calls while it deals with the error."""
    trial.run_metadata.num_failures += 1
    try:
        raise error
    except Exception:
        losses.on_trial_recover(0, [trial], trial)


def raised() -> RayTaskError:
    return RayTaskError("step", "Traceback\nValueError: the disk is on fire", ValueError("the disk is on fire"))


GONE = [ActorDiedError(), ActorUnavailableError("socket closed", None)]


@pytest.mark.parametrize("error", GONE)
def test_a_lost_worker_does_not_count(error: Exception) -> None:
    losses, trial = Losses("digits", 1), Trial()
    ends(losses, trial, error)
    assert trial.num_failures == 0


def test_a_resumed_trial_may_fail_as_often_as_the_command_says_now() -> None:
    trial: Any = Trial()
    trial.max_failures = 0
    Losses("digits", 3).on_trial_start(0, [trial], trial)
    assert trial.max_failures == 3


def test_an_error_of_the_trial_counts() -> None:
    losses, trial = Losses("digits", 1), Trial()
    for count in (1, 2):
        ends(losses, trial, raised())
        assert trial.num_failures == count
    # Also where it comes in the trial's first moments, which costs it its worker.
    assert not is_loss(ActorDiedError(raised()))
    assert not is_loss(None)


def test_a_trial_that_takes_its_worker_down_again_and_again_fails() -> None:
    losses, trial = Losses("digits", 1), Trial()
    for _ in range(MOST_LOSSES):
        ends(losses, trial, GONE[0])
    assert trial.num_failures == 0
    ends(losses, trial, GONE[0])
    assert trial.num_failures == 1


def test_an_epoch_between_two_losses_begins_the_count_anew() -> None:
    losses, trial = Losses("digits", 1), Trial()
    for epoch in range(3 * MOST_LOSSES):
        trial.last_result = {"training_iteration": epoch}
        ends(losses, trial, GONE[0])
        # Tune goes back to the last checkpoint: an epoch that is done again is none that was gained.
        trial.last_result = {"training_iteration": max(0, epoch - 1)}
    assert trial.num_failures == 0


def test_it_is_said_with_what_ray_knows(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    losses, trial = Losses("digits", 1), Trial()
    with caplog.at_level("WARNING", logger="nasray"):
        ends(losses, trial, GONE[1])
        ends(losses, trial, raised())
    said = [*caplog.messages, *capsys.readouterr().err.splitlines()]
    assert any("event=worker_lost" in line and "socket closed" in line for line in said)
    assert any("event=trial_retried" in line and "the disk is on fire" in line for line in said)
