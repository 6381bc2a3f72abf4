"""Sweeps over nodes that come and go give what an undisturbed run gives."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweep_files import gold_sweep

from .conftest import PROCESSOR, RATE, Cluster, Driver, assert_all_kept, assert_same_tables, rows, twelve

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_lost_node_a_new_one_and_a_killed_driver_change_nothing(
    cluster: Callable[..., Cluster], start: Callable[..., Driver], tmp_path: Path
) -> None:
    nodes = cluster(3)
    command = ("sweep", twelve(tmp_path), "--storage", str(tmp_path), "--address", nodes.address)

    began = time.monotonic()
    alone = start(*command, "--name", "alone")
    assert alone.end() == 0
    alone_seconds = time.monotonic() - began

    began = time.monotonic()
    first = start(*command, "--name", "faults")
    first.until(lambda: len(first.epochs()) >= 12 and len({e.fields["node"] for e in first.events("epoch")}) == 3)
    nodes.lose(nodes.nodes[0])
    first.until(lambda: first.events("worker_lost"))
    nodes.add()
    first.until(lambda: len(first.epochs()) >= 36)
    before = {table: rows(tmp_path / "faults", table) for table in ("candidates", "evaluations")}
    first.send(signal.SIGKILL)
    first.end()
    again = start(*command, "--name", "faults")
    assert again.end() == 0
    seconds = time.monotonic() - began

    assert_same_tables(tmp_path / "faults", tmp_path / "alone")
    assert_all_kept(before, tmp_path / "faults")
    assert len(before["candidates"]) > 0
    assert not first.events("trial_failed")
    assert not first.events("trial_gave_up")
    assert not again.events("trial_failed")
    assert not again.events("trial_gave_up")

    reported = [*first.epochs(), *again.epochs()]
    moved = {e.fields["trial"] for e in first.events("worker_lost")}
    print(
        f"\nundisturbed {alone_seconds:.0f} s, {len(alone.epochs())} epochs; with the faults {seconds:.0f} s, "
        f"{len(reported) - len(set(reported))} of them reported twice; trials moved from the lost node: {len(moved)}; "
        f"rows at the kill: {', '.join(f'{len(frame)} {table}' for table, frame in before.items())}"
    )


def test_the_same_sweep_on_one_node_and_on_three_gives_the_same_front(
    cluster: Callable[..., Cluster], start: Callable[..., Driver], tmp_path: Path
) -> None:
    six = gold_sweep(
        tmp_path,
        examples=512,
        settings={**RATE, **PROCESSOR, "epochs": 3},
        evaluation={**RATE, **PROCESSOR, "epochs": 2, "drop_path": 0.1},
        mu=(0.0, 10.0, 30.0, 60.0, 100.0, 300.0),
        training={"within": 0.05},
        random_baseline=False,
    )
    nodes = cluster(1)
    command = ("sweep", six, "--storage", str(tmp_path), "--address", nodes.address)
    command = (*command, "--gpus-per-trial", "1")
    used = []
    for name in ("one", "three"):
        driver = start(*command, "--name", name)
        assert driver.end() == 0, driver.said.read_text()
        used.append(len({event.fields["node"] for event in driver.events("epoch")}))
        if name == "one":
            nodes.add()
            nodes.add()
    assert used == [1, 3]
    assert_same_tables(tmp_path / "three", tmp_path / "one")
