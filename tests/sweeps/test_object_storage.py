"""A sweep whose storage is S3: the same tables as on a local disk, also where the storage fails and the driver dies."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray.results import open_storage
from nasray.sweeps import Sweep
from nasray.sweeps.run import run_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SWEEP = """
from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import EvaluationSettings, Sweep

COMMON = dict(batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=96)
SWEEP = Sweep(
    name="far",
    method="gold_nas",
    space="gold",
    dataset="digits",
    settings=GoldNAS.Config(**COMMON, epochs=6, lambda0=0.1, stop_macs=0.01, stable_epochs=0),
    param_space={"mu": (0.0, 300.0)},
    retrain_within=0.03,
    evaluation=EvaluationSettings(**COMMON, epochs=2, drop_path=0.0),
)
"""


def rows(where: str | Path, table: str) -> pd.DataFrame:
    return nasray.load(where, table).drop(columns=["created_at", "seconds", "peak_memory_bytes", "run"])


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert driver.poll() is None, "the driver ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("ray_session")
def test_s3_fails_and_the_driver_dies_and_nothing_is_lost_or_doubled(object_store: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SWEEP)
    sweep = nasray.registry.find("sweep", f"{tmp_path / 'mine.py'}:SWEEP", Sweep)
    local = run_sweep(dataclasses.replace(sweep, storage=str(tmp_path)), "local")
    assert local.failures == ()

    storage = object_store.uri("fails/runs", "&allow_bucket_creation=true")
    command = [sys.executable, "-m", "nasray.cli", "sweep", f"{tmp_path / 'mine.py'}:SWEEP", "--storage", storage]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
    far = object_store.uri("fails/runs/far")
    checkpoint = "checkpoint_000001/state.pt"

    def has_checkpoint() -> bool:
        trials = {row["trial_id"] for row in nasray.load(local.folder, "candidates").to_dict("records")}
        return any(open_storage(far).exists(f"tune/search/{trial}/{checkpoint}") for trial in trials)

    wait_for(has_checkpoint, driver)
    # From now on every request fails, one way or the other; the driver is killed while its trials wait.
    object_store.failed, object_store.fails = 0, lambda number: "busy" if number % 2 else "cut"
    wait_for(lambda: object_store.failed > 20, driver)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()

    # The same command again, on a storage that fails for a while in mid-run.
    begun = object_store.requests + 150
    object_store.fails = lambda number: ("busy" if number % 3 else "cut") if begun < number < begun + 40 else None
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "event=storage_retried" in again.stderr
    object_store.fails = lambda number: None
    for table in ("candidates", "evaluations", "front"):
        pd.testing.assert_frame_equal(
            rows(far, table).reset_index(drop=True), rows(local.folder, table).reset_index(drop=True)
        )
    printed = subprocess.run(
        [sys.executable, "-m", "nasray.cli", "front", far], capture_output=True, text=True, env=environment
    )
    assert all(identity in printed.stdout for identity in rows(far, "front")["architecture_id"])
    names = [f"{table}/{name}" for table in ("candidates",) for name in ("row-", "claimed-")]
    assert not any(n.startswith(tuple(names)) for n in open_storage(far).list("candidates"))
    # Finished: nothing is run again, and no Ray is started for it.
    before = object_store.requests
    assert subprocess.run(command, env=environment, capture_output=True, timeout=120).returncode == 0
    assert object_store.requests - before < 200
