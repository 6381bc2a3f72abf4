"""Tune's sessions: what a driver leaves of Tune's state, made ready for the next one.

Each driver of a phase writes Tune's state to files named by the local time at which it began, and Tune goes on from the
greatest name. After a clock was set back, or the driver moved to a machine of another time zone, that is the state of
an earlier driver: what was done since would be done again, from checkpoints that are no longer there.

And the state holds decisions that Tune had not carried out. A trial whose worker was lost while it saved is to be
stopped once it has saved: taken up again, it would end after one epoch, and be called done. Trials that were refused,
for a data set that was not to be had on their node say, are done for Tune: they are tried again.
"""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import Any

from nasray.runs import Storage
from nasray.runs.events import say
from nasray.tune.trainables import DIVERGED, FAILED

_STAMPED = re.compile(r"(?P<kind>.+)-(?P<stamp>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(?P<suffix>\.\w+)")
_STATE = "experiment_state"
_DECISIONS = ("_cached_trial_decisions", "_queued_trial_decisions")
_EARLIEST = "0001-01-01_00-00-00"


def prepare_state(folder: Storage, run: str, phase: str) -> None:
    """Let Tune's next session, which begins now, go on from the last one, and finish every trial.

    Args:
        folder: of the phase's experiment.
        run: for what is said.
        phase: for what is said.
    """
    _let_the_next_be_the_newest(folder, run, phase)
    states = [name for name in folder.list(".") if (match := _STAMPED.fullmatch(name)) and match["kind"] == _STATE]
    if states:
        _forget_decisions(folder, max(states))


def _forget_decisions(folder: Storage, name: str) -> None:
    """Take out what Tune was about to do with trials, and take up again those that it left before their end."""
    try:
        state = json.loads(folder.read_bytes(name))
        trials = [(json.loads(one), json.loads(run)) for one, run in state["trial_data"]]
        decided = [state["runner_data"].pop(key, {}) for key in _DECISIONS]
        left = [one for one, run in trials if one["status"] == "TERMINATED" and _is_left(run["last_result"])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # damaged, or of a Tune that writes it otherwise: Tune says what is wrong with it
    if not any(decided) and not left:
        return
    for one in left:
        one["status"] = "PENDING"
    state["trial_data"] = [[json.dumps(one), json.dumps(run)] for one, run in trials]
    folder.write_bytes(name, json.dumps(state).encode())


def _is_left(last_result: dict[str, Any]) -> bool:
    return not last_result.get("done") or (FAILED in last_result and DIVERGED not in last_result)


def _let_the_next_be_the_newest(folder: Storage, run: str, phase: str) -> None:
    """Rename the last session's files where the next one, which begins now, would not sort after them.

    A kill at any moment leaves what the next call understands: a session is one with its experiment's state, which is
    renamed after copies of all others are there.
    """
    found = [(name, match) for name in folder.list(".") if (match := _STAMPED.fullmatch(name))]
    stamps = [match["stamp"] for _, match in found if match["kind"] == _STATE]
    if not stamps:
        return
    newest = max(stamps)
    for name, match in found:
        if match["stamp"] > newest:  # of a session whose state never came
            folder.delete(name)
    if newest < f"{datetime.fromtimestamp(time.time()):%Y-%m-%d_%H-%M-%S}":
        return
    say("warning", "clock_set_back", run=run, phase=phase, last_driver_began=newest)
    for name, match in found:
        if match["stamp"] < newest:
            folder.delete(name)
    last = [(name, match) for name, match in found if match["stamp"] == newest]
    for name, match in sorted(last, key=lambda one: one[1]["kind"] == _STATE):
        renamed = f"{match['kind']}-{_EARLIEST}{match['suffix']}"
        if match["kind"] == _STATE:
            folder.move(name, renamed)
        else:
            folder.write_bytes(renamed, folder.read_bytes(name))
    for name, match in last:
        if match["kind"] != _STATE:
            folder.delete(name)
