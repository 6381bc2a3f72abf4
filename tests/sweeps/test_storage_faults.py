"""Storage that fails: S3 that does not answer, a disk that is full, states that are damaged. No row is lost or doubled.

One small sweep is run left alone, and then under each of these faults; its tables must be the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray import registry
from nasray.runs import open_storage
from nasray.sweeps import Sweep
from nasray.sweeps.changes import with_execution
from nasray.sweeps.run import run_sweep
from tests.object_store import BEARS, nothing_fails
from tests.sweep_files import gold_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def rows(where: str | Path, table: str) -> pd.DataFrame:
    volatile = ["created_at", "seconds", "peak_memory_bytes", "run"]
    return nasray.load(where, table).drop(columns=volatile, errors="ignore")


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert driver.poll() is None, "the driver ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def left_alone(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to; beside it lies mine.py."""
    folder = tmp_path_factory.mktemp("runs")
    file = gold_sweep(
        folder,
        examples=96,
        settings={"epochs": 6, "lambda0": 0.1},
        evaluation={"epochs": 2, "drop_path": 0.0},
        training={"within": 0.03},
    )
    sweep = registry.find("sweep", file, Sweep)
    outcome = run_sweep(with_execution(sweep, storage=str(folder)), "left_alone")
    assert outcome.failures == ()
    return Path(outcome.folder)


def command(left_alone: Path, storage: str | Path) -> list[str]:
    sweep = f"{left_alone.parent / 'mine.py'}:SWEEP"
    return [sys.executable, "-m", "nasray.cli", "sweep", sweep, "--storage", str(storage), "--name", "far"]


def environment() -> dict[str, str]:
    return {**os.environ, "RAY_ADDRESS": "local"}


def finish(command: list[str], code: int = 0) -> str:
    """Run to the end, and give what it said of events and errors."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=900)
    assert done.returncode == code, done.stderr
    return done.stderr


def same(where: str | Path, left_alone: Path) -> None:
    for table in ("candidates", "evaluations", "epochs", "front"):
        one, two = (rows(folder, table).reset_index(drop=True) for folder in (where, left_alone))
        pd.testing.assert_frame_equal(one, two)


def kill_when(condition: Callable[[], bool], command: list[str]) -> None:
    driver = subprocess.Popen(command, env=environment(), start_new_session=True)
    wait_for(condition, driver)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()


def test_s3_fails_and_the_driver_dies(object_store: Any, left_alone: Path) -> None:
    sweep = command(left_alone, object_store.uri("fails/runs", "&allow_bucket_creation=true"))
    far = object_store.uri("fails/runs/far")
    trials = set(nasray.load(left_alone, "candidates")["trial_id"])

    def fails() -> bool:
        # Once there are checkpoints every request fails, one way or the other, and the trials wait.
        if object_store.fails is nothing_fails:
            storage = open_storage(far)
            if any(storage.exists(f"trials/{trial}/000002.state") for trial in trials):
                object_store.fails = lambda number, path: "busy" if number % 2 else "cut"
        return bool(object_store.failed > 20)

    object_store.failed = 0
    kill_when(fails, sweep)

    # The same command again, on a storage that fails for a while in mid-run.
    object_store.failed = 0

    def rows_fail(number: int, path: str) -> str | None:
        # Of the two trials that write rows at once, one fails more often than pyarrow's own client bears.
        return ("busy" if number % 3 else "cut") if "/row-" in path and object_store.failed < 2 * BEARS else None

    object_store.fails = rows_fail
    assert "event=storage_retried" in finish(sweep)
    object_store.fails = nothing_fails
    same(far, left_alone)
    for name in open_storage(far).list("candidates"):
        assert name.startswith("candidates/compact-")
    printed = subprocess.run([sys.executable, "-m", "nasray.cli", "front", far], capture_output=True, text=True)
    assert all(identity in printed.stdout for identity in rows(far, "front")["architecture_id"])


def test_checkpoints_that_a_run_goes_on_from_are_damaged(left_alone: Path, tmp_path: Path) -> None:
    sweep = command(left_alone, tmp_path)
    trials = tmp_path / "far" / "trials"
    kill_when(lambda: bool(list(trials.glob("*/000003.state"))), sweep)
    for path in trials.glob("*/*.state"):
        path.write_bytes(path.read_bytes()[:1000])
    assert "event=checkpoint_damaged" in finish(sweep)
    same(tmp_path / "far", left_alone)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_is_full_in_mid_run(left_alone: Path, small_disk: Path) -> None:
    sweep = command(left_alone, small_disk)
    trials = small_disk / "far" / "trials"
    driver = subprocess.Popen(sweep, stderr=subprocess.PIPE, text=True, env=environment())
    wait_for(lambda: bool(list(trials.glob("*/000002.state"))), driver)
    filler = small_disk / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, b"x" * 4096)
    os.close(file)
    _, said = driver.communicate(timeout=900)
    assert driver.returncode == 1, said
    assert any("event=trial_failed" in line and "No space left on device" in line for line in said.splitlines()), said
    assert "Traceback" not in said
    filler.unlink()
    finish(sweep)
    same(small_disk / "far", left_alone)
