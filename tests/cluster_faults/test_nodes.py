"""Sweeps over nodes that come and go give what an undisturbed run gives."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cluster, Driver, assert_all_kept, assert_same_tables, rows, six

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(2400)]


def test_three_nodes_of_which_one_is_lost_a_new_one_and_a_killed_driver_give_what_one_node_gives(
    cluster: Callable[..., Cluster], start: Callable[..., Driver], tmp_path: Path
) -> None:
    nodes = cluster(1)
    command = ("sweep", six(tmp_path), "--storage", str(tmp_path), "--address", nodes.address)

    began = time.monotonic()
    alone = start(*command, "--name", "alone")
    assert alone.end() == 0
    assert len({event.fields["node"] for event in alone.events("epoch")}) == 1
    alone_seconds = time.monotonic() - began

    nodes.add()
    nodes.add()
    began = time.monotonic()
    first = start(*command, "--name", "faults")
    first.until(lambda: len(first.epochs()) >= 6 and len({e.fields["node"] for e in first.events("epoch")}) == 3)
    nodes.lose(nodes.nodes[0])
    first.until(lambda: first.events("worker_lost"))
    nodes.add()
    first.until(lambda: len(first.epochs()) >= 18)
    before = {table: rows(tmp_path / "faults", table) for table in ("candidates", "evaluations")}
    first.send(signal.SIGKILL)
    first.end()
    again = start(*command, "--name", "faults")
    assert again.end() == 0
    seconds = time.monotonic() - began

    assert_same_tables(tmp_path / "faults", tmp_path / "alone")
    assert_all_kept(before, tmp_path / "faults")
    assert len(before["candidates"]) > 0
    for driver in (first, again):
        assert not driver.events("trial_failed")
        assert not driver.events("trial_gave_up")

    reported = [*first.epochs(), *again.epochs()]
    moved = {e.fields["trial"] for e in first.events("worker_lost")}
    print(
        f"\none node {alone_seconds:.0f} s, {len(alone.epochs())} epochs; three with the faults {seconds:.0f} s, "
        f"{len(reported) - len(set(reported))} of them reported twice; trials moved from the lost node: {len(moved)}; "
        f"rows at the kill: {', '.join(f'{len(frame)} {table}' for table, frame in before.items())}"
    )
