"""A sweep whose driver is killed, and all that Tune has written deleted, goes on by the same command, and ends as the
undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import nasray
from tests.sweep_files import gold_sweep


def start(folder: Path, name: str, *options: str, resume: bool = False) -> subprocess.Popen[bytes]:
    sweep = gold_sweep(
        folder,
        examples=192,
        settings={"epochs": 6, "lambda0": 0.1},
        evaluation={"epochs": 3, "drop_path": 0.1},
        training={"within": 0.03},
    )
    words = (
        ["resume", str(folder / name)]
        if resume
        else ["sweep", sweep, "--name", name, "--storage", str(folder), *options]
    )
    command = [sys.executable, "-m", "nasray.cli", *words]
    aside = folder / "aside"
    aside.mkdir(exist_ok=True)
    # Ray's own files lie elsewhere: its sockets need a short path.
    environment = {**os.environ, "TMPDIR": str(aside)}
    return subprocess.Popen(command, env=environment, start_new_session=True)


def rows(folder: Path, table: str) -> pd.DataFrame:
    frame = nasray.load(folder, table)
    return frame.drop(columns=["created_at", "seconds", "peak_memory_bytes", "run"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sigkill_of_the_driver_loses_and_doubles_nothing(tmp_path: Path) -> None:
    assert start(tmp_path, "left_alone").wait() == 0

    deleted: list[str] = []
    # Killed twice: once while searching, later wherever it is then, at another moment.
    for kill in range(2):
        driver = start(tmp_path, "killed")
        deadline = time.monotonic() + 400
        trials = tmp_path / "killed" / "trials"
        while time.monotonic() < deadline and driver.poll() is None:
            # From the first checkpoint on, a little later at every try.
            if list(trials.glob("*/*.state")):
                time.sleep(0.7 * (kill + 1))
                break
            time.sleep(0.05)
        if driver.poll() is None:
            os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        for tunes in (tmp_path / "aside").glob("nasray-tune-*"):
            deleted += [path.name for path in tunes.rglob("*") if path.is_file()]
            shutil.rmtree(tunes)
    assert deleted
    # By its folder alone.
    assert start(tmp_path, "killed", resume=True).wait() == 0

    for table in ("candidates", "evaluations", "front"):
        pd.testing.assert_frame_equal(rows(tmp_path / "killed", table), rows(tmp_path / "left_alone", table))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_front_is_filled_by_the_same_searches_after_a_kill(tmp_path: Path) -> None:
    # One at a time: what is searched next follows from the order.
    words = [
        "--fill",
        "3",
        "--fill-searches",
        "6",
        "--training.select",
        "nothing",
        "--mu",
        "0",
        "--cpus-per-trial",
        "2",
    ]
    driver = start(tmp_path, "killed", *words)
    while driver.poll() is None:
        if len(list((tmp_path / "killed" / "candidates").glob("*"))) >= 3:
            os.kill(driver.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    driver.wait()
    assert start(tmp_path, "killed", resume=True).wait() == 0
    killed = rows(tmp_path / "killed", "candidates")
    assert not killed.duplicated(["trial_id", "epoch", "snapshot"]).any()
    told = killed.groupby("trial_id")["told"].first()
    assert sorted(told) == list(range(1, len(told) + 1))
    (marker,) = (tmp_path / "killed" / "phases").glob("gold_nas-*.json")
    assert "of 3 targets met" in json.loads(marker.read_text())["notes"][0]
    assert start(tmp_path, "left_alone", *words).wait() == 0
    pd.testing.assert_frame_equal(killed, rows(tmp_path / "left_alone", "candidates"))
