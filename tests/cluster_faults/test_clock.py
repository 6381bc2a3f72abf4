"""A clock that jumps under the driver and the workers loses nothing and doubles nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Driver, assert_all_kept, assert_same_tables, rows, small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Read by every Python process of a run when it starts. libfaketime, which sets the clock under a whole process, does
# not get Ray's own processes to start; so the clock is set where Python reads it, in driver and workers.
CLOCK = """
import os
import time

_true = time.time


def _jumping():
    with open(os.environ["CLOCK_OFFSET"]) as file:
        return _true() + float(file.read() or 0)


time.time = _jumping
"""
DAY = 24 * 3600


def test_a_clock_that_jumps_back_and_forth_loses_and_doubles_nothing(
    start: Callable[..., Driver], tmp_path: Path, alone: Path
) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    offset = tmp_path / "offset"

    def jump(days: float) -> None:
        (tmp_path / "next").write_text(str(days * DAY))
        (tmp_path / "next").replace(offset)

    jump(0)
    path = os.pathsep.join(filter(None, (str(tmp_path / "clock"), os.environ.get("PYTHONPATH"))))
    clock = {"CLOCK_OFFSET": str(offset), "PYTHONPATH": path}
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path))

    first = start(*command, "--name", "faults", **clock)
    first.until(lambda: len(first.epochs()) >= 2)
    jump(-2)
    first.until(lambda: len(first.epochs()) >= 4)
    jump(2)
    first.until(lambda: len(first.epochs()) >= 5)
    before = {table: rows(tmp_path / "faults", table) for table in ("candidates", "evaluations")}
    first.send(signal.SIGKILL)
    first.end()
    # The next driver lives days before the one whose checkpoints it goes on from.
    jump(-5)
    again = start(*command, "--name", "faults", **clock)
    again.until(lambda: len(again.epochs()) >= 2)
    again.send(signal.SIGKILL)
    again.end()
    jump(-9)
    last = start(*command, "--name", "faults", **clock)
    assert last.end() == 0

    assert_same_tables(tmp_path / "faults", alone)
    assert_all_kept(before, tmp_path / "faults")
    assert not set(first.epochs()[:-4]) & set(last.epochs())
