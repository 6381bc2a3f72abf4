"""A clock that jumps, under the driver, Ray and the workers alike, changes nothing but what time rows say it was."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import SMALL, Driver, assert_all_kept, assert_same_tables, rows, sweep_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.skipif(not LIBRARIES, reason="needs Debian's package libfaketime")
def test_a_clock_that_jumps_back_and_forth_loses_and_doubles_nothing(
    start: Callable[..., Driver], tmp_path: Path
) -> None:
    jumps = tmp_path / "clock"
    jumps.write_text("+0\n")
    # The monotonic clock stays, as on a machine whose time is set.
    clock = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(jumps),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    command = ("sweep", sweep_file(tmp_path, SMALL), "--storage", str(tmp_path))
    assert start(*command, "--name", "alone").end() == 0

    first = start(*command, "--name", "faults", **clock)
    first.until(lambda: len(first.epochs()) >= 2)
    jumps.write_text("-2d\n")
    first.until(lambda: len(first.epochs()) >= 4)
    jumps.write_text("+2d\n")
    first.until(lambda: len(first.epochs()) >= 5)
    before = {table: rows(tmp_path / "faults", table) for table in ("candidates", "evaluations")}
    first.send(signal.SIGKILL)
    first.end()
    # The next driver lives a week before the one whose state it goes on from.
    jumps.write_text("-5d\n")
    again = start(*command, "--name", "faults", **clock)
    again.until(lambda: len(again.epochs()) >= 2)
    again.send(signal.SIGKILL)
    again.end()
    jumps.write_text("-9d\n")
    last = start(*command, "--name", "faults", **clock)
    assert last.end() == 0

    assert again.events("clock_set_back")
    assert_same_tables(tmp_path / "faults", tmp_path / "alone")
    assert_all_kept(before, tmp_path / "faults")
    assert not set(first.epochs()[:-4]) & set(last.epochs())
