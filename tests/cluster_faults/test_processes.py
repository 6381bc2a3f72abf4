"""Signals to drivers and workers: the run goes on, loses nothing, and says what happened."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Driver, assert_all_kept, assert_same_tables, rows, small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

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
    """The process in which a trial of a driver with a Ray of its own trains: a descendant that Ray named for it."""
    found: list[int] = []
    driver.until(lambda: found.extend(training(driver)) or found)
    return found[0]


def training(driver: Driver) -> Iterator[int]:
    """Processes that train at the moment: not those whose trial has ended."""
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
            if re.match(r"ray::(Search|Training|Lookup)\.train", name):
                yield pid


def test_sigterm_and_ctrl_c_end_the_driver_cleanly_and_the_same_command_goes_on(
    start: Callable[..., Driver], tmp_path: Path, alone: Path
) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "faults")
    epochs: list[tuple[str, str]] = []
    for name, code in (("SIGTERM", 143), ("SIGINT", 130)):
        driver = start(*command)
        driver.until(lambda driver=driver: len(driver.epochs()) >= 3)
        before = {table: rows(tmp_path / "faults", table) for table in ("candidates", "evaluations")}
        began = time.monotonic()
        driver.send(signal.Signals[name])
        assert driver.end() == code
        print(f"\n{name} to end: {time.monotonic() - began:.1f} s after {len(driver.epochs())} epochs")
        assert time.monotonic() - began < 20
        assert f"nasray: stopping on {name}. Run the same command again to resume." in driver.said.read_text()
        assert "Traceback" not in driver.said.read_text()
        # It has let the run go, and has not called it done.
        assert list((tmp_path / "faults" / "lease").glob("*.json")) == []
        assert not (tmp_path / "faults" / "phases" / "search.json").exists()
        # What was reported was checkpointed, so only the epochs that were cut through are done again.
        assert not set(epochs) & set(driver.epochs())
        epochs += driver.epochs()

    again = start(*command)
    assert again.end() == 0
    assert not set(epochs) & set(again.epochs())
    assert_same_tables(tmp_path / "faults", alone)
    assert_all_kept(before, tmp_path / "faults")


def test_a_second_driver_is_refused_and_one_that_was_replaced_ends(
    start: Callable[..., Driver], tmp_path: Path, alone: Path
) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "faults")
    first = start(*command)
    first.until(lambda: len(first.epochs()) >= 2)
    first.send(signal.SIGSTOP)  # so that it is still at work when the other one has been refused
    second = start(*command)
    assert second.end() == 2
    assert (
        second.said.read_text()
        .splitlines()[-1]
        .startswith(f"nasray: run 'faults' in {tmp_path / 'faults'} is driven by process {first.process.pid} on ")
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


def test_a_lost_worker_is_no_failure(start: Callable[..., Driver], tmp_path: Path, alone: Path) -> None:
    # With max_failures 0, a single failure would have ended its trial.
    file = small(tmp_path, max_failures=0)
    driver = start("sweep", file, "--storage", str(tmp_path), "--name", "faults")
    for losses, what in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGKILL), 1):
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
