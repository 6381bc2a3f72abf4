"""Signals to drivers and workers: the run goes on, loses nothing, and says what happened."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Driver, assert_all_kept, assert_same_tables, rows, small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLER = """
import os, signal
import nasray.tune.failures
from nasray.methods.random import Random
from nasray.sweeps import Arm, Execution, Sweep, Training

nasray.tune.failures.MOST_LOSSES = 2


class Killer(Random):
    '''Takes its own process down wherever more than two operations are drawn for a node.'''

    def step(self, learner, batch, architecture_batch):
        if self.config.operations_per_node > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().step(learner, batch, architecture_batch)


SWEEP = Sweep(
    name="killer",
    dataset="digits",
    arms=(
        Arm(
            method=__file__ + ":Killer",
            space="gold",
            settings=Killer.Config(
                epochs=1, batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, train_examples=64
            ),
            param_space={"operations_per_node": (1, 4)},
        ),
    ),
    training=Training(select="nothing"),
    execution=Execution(max_failures=1),
)
"""


def worker_of(driver: Driver) -> int:
    """The process in which a trial of a driver with a Ray of its own runs: a descendant that Ray named for an actor."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    family = {driver.process.pid}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    for pid in family:
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
            if name.startswith("ray::") and "Trainable" in name:
                return pid
    raise LookupError("no trial runs")


def test_sigterm_ends_the_driver_cleanly_and_the_same_command_goes_on(
    start: Callable[..., Driver], tmp_path: Path, alone: Path
) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "faults")
    first = start(*command)
    first.until(lambda: len(first.epochs()) >= 3)
    before = {table: rows(tmp_path / "faults", table) for table in ("candidates", "evaluations")}
    began = time.monotonic()
    first.send(signal.SIGTERM)
    assert first.end() == 143
    seconds = time.monotonic() - began
    assert "nasray: stopping on SIGTERM. Run the same command again to resume." in first.said.read_text()
    assert seconds < 20
    assert "Traceback" not in first.said.read_text()
    # It has let the run go, and has not called it done.
    assert list((tmp_path / "faults" / "lease").glob("*.json")) == []
    assert not (tmp_path / "faults" / "phases" / "search.json").exists()

    again = start(*command)
    assert again.end() == 0
    # What was reported was checkpointed, so only the epochs that were cut through are done again.
    assert not set(first.epochs()) & set(again.epochs())
    assert_same_tables(tmp_path / "faults", alone)
    assert_all_kept(before, tmp_path / "faults")
    print(f"\nSIGTERM to end: {seconds:.1f} s; epochs before {len(first.epochs())}, after {len(again.epochs())}")


def test_ctrl_c_ends_it_as_cleanly(start: Callable[..., Driver], tmp_path: Path, alone: Path) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "faults")
    first = start(*command)
    first.until(lambda: len(first.epochs()) >= 2)
    first.send(signal.SIGINT)
    assert first.end() == 130
    assert "nasray: stopping on SIGINT. Run the same command again to resume." in first.said.read_text()
    assert "Traceback" not in first.said.read_text()
    assert start(*command).end() == 0
    assert_same_tables(tmp_path / "faults", alone)


def test_a_second_driver_is_refused_and_one_that_was_replaced_ends(
    start: Callable[..., Driver], tmp_path: Path, alone: Path
) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "faults")
    first = start(*command)
    first.until(lambda: len(first.epochs()) >= 2)
    first.send(signal.SIGSTOP)  # so that it is still at work when the other one has been refused
    second = start(*command)
    assert second.end() == 2
    (said,) = second.said.read_text().splitlines()
    assert said.startswith(
        f"nasray: run 'faults' in {tmp_path / 'faults'} is driven by process {first.process.pid} on "
    )

    # As a driver on another machine does that takes this one for dead.
    (claim,) = (tmp_path / "faults" / "lease").glob("*.json")
    claim.unlink()
    first.send(signal.SIGCONT)
    assert first.end() == 1
    assert first.said.read_text().splitlines()[-1].endswith("was taken over by another driver: this driver ends")
    assert not (tmp_path / "faults" / "phases" / "search.json").exists()
    assert start(*command).end() == 0
    assert_same_tables(tmp_path / "faults", alone)


@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGKILL])
def test_a_lost_worker_is_no_failure(
    start: Callable[..., Driver], tmp_path: Path, alone: Path, what: signal.Signals
) -> None:
    # With max_failures 1, three failures would have ended the trial.
    driver = start("sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "faults")
    for losses in (1, 2, 3):
        seen = len(driver.epochs())
        driver.until(lambda seen=seen: len(driver.epochs()) >= seen + 2)
        os.kill(worker_of(driver), what)
        driver.until(lambda losses=losses: len(driver.events("worker_lost")) == losses)
    assert driver.end() == 0
    assert not driver.events("trial_failed")
    assert not driver.events("trial_gave_up")
    # Of an epoch that was reported and not saved yet, a loss costs one; what was cut through was not reported.
    reported = driver.epochs()
    assert len(reported) - len(set(reported)) <= 3
    assert_same_tables(tmp_path / "faults", alone)


def test_a_lost_worker_is_no_failure_where_none_is_allowed(
    start: Callable[..., Driver], tmp_path: Path, alone: Path
) -> None:
    file = small(tmp_path, max_failures=0)
    driver = start("sweep", file, "--storage", str(tmp_path), "--name", "faults")
    driver.until(lambda: len(driver.epochs()) >= 3)
    os.kill(worker_of(driver), signal.SIGKILL)
    assert driver.end() == 0
    assert len(driver.events("worker_lost")) == 1
    assert_same_tables(tmp_path / "faults", alone)


def test_a_trial_that_kills_its_worker_ends_while_the_others_go_on(
    start: Callable[..., Driver], tmp_path: Path
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    driver = start("sweep", f"{tmp_path / 'killer.py'}:SWEEP", "--storage", str(tmp_path), RAY_worker_niceness="0")
    assert driver.end() == 1
    (said,) = [line for line in driver.said.read_text().splitlines() if line.startswith("nasray: trial")]
    assert "lost its process 3 times in a row" in said
    assert list(rows(tmp_path / "killer", "candidates")["operations_per_node"]) == [1]
    assert max(int(event.fields["in_a_row"]) for event in driver.events("worker_lost")) == 3
