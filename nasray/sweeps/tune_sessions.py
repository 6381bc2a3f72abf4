"""Tune's sessions and a clock that jumps.

Each driver of a phase writes Tune's state to files named by the local time at which it began, and Tune goes on from the
greatest name. After a clock was set back, or the driver moved to a machine of another time zone, that is the state of
an earlier driver: what was done since would be done again, from checkpoints that are no longer there.
"""

from __future__ import annotations

import re
from datetime import datetime

from nasray.results import Storage
from nasray.sweeps.events import say

_STAMPED = re.compile(r"(?P<kind>.+)-(?P<stamp>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(?P<suffix>\.\w+)")
_STATE = "experiment_state"
_EARLIEST = "0001-01-01_00-00-00"


def let_the_next_session_be_the_newest(folder: Storage, run: str, phase: str) -> None:
    """Rename the last session's files where the next one, which begins now, would not sort after them.

    A kill at any moment leaves what the next call understands: a session is one with its experiment's state, which is
    renamed after copies of all others are there.

    Args:
        folder: of the phase's experiment.
        run: for what is said.
        phase: for what is said.
    """
    found = [(name, match) for name in folder.list(".") if (match := _STAMPED.fullmatch(name))]
    stamps = [match["stamp"] for _, match in found if match["kind"] == _STATE]
    if not stamps:
        return
    newest = max(stamps)
    for name, match in found:
        if match["stamp"] > newest:  # of a session whose state never came
            folder.delete(name)
    if newest < f"{datetime.now():%Y-%m-%d_%H-%M-%S}":
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
