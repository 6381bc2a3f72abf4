"""A sweep in which trials fail, on S3 with credentials in the environment: who listens, who is let in, what is said."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyarrow import fs

import nasray
from nasray.runs import open_storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MINE = """
import os, time
from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training

class Sick(GoldNAS):
    'Waits for a file; then one search raises, one gets NaN in its weights, and one is well.'

    def start_epoch(self, number):
        self.number = number
        super().start_epoch(number)

    def step(self, learner, batch, architecture_batch):
        while not os.path.exists({go!r}):
            time.sleep(0.05)
        if self.config.mu == 200.0:
            raise RuntimeError("the disk is on fire")
        if self.config.mu == 300.0 and self.number == 4:
            for parameter in learner.network.parameters():
                parameter.data.fill_(float("nan"))
        super().step(learner, batch, architecture_batch)

COMMON = dict(batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=96)
SWEEP = Sweep(
    name="sick",
    dataset="digits",
    arms=(
        Arm(
            method=__file__ + ":Sick",
            space="gold",
            settings=Sick.Config(**COMMON, epochs=6, lambda0=0.1, stop_macs=0.01, stable_epochs=0),
            param_space={{"mu": (0.0, 200.0, 300.0)}},
        ),
    ),
    training=Training(settings=EvaluationSettings(**COMMON, epochs=1, drop_path=0.0)),
    execution=Execution(max_failures=0),
)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Ray's sockets lie in it, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="nr", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def listening(process: psutil.Process) -> dict[tuple[str, int], str]:
    """Addresses on which a process and all that it started listen, with a name of the process."""
    found = {}
    for one in [process, *process.children(recursive=True)]:
        try:
            for connection in one.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found[(connection.laddr.ip, connection.laddr.port)] = one.name()
        except psutil.Error:
            continue
    return found


def is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def test_a_sweep_keeps_its_secrets_and_its_doors_shut(object_store: Any, short_folder: Path, tmp_path: Path) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    go = tmp_path / "go"
    (tmp_path / "mine.py").write_text(MINE.format(go=str(go)))
    storage = object_store.uri("secrets/runs", "&allow_bucket_creation=true")
    command = [sys.executable, "-m", "nasray.cli", "sweep", f"{tmp_path / 'mine.py'}:SWEEP", "--storage", storage]
    own = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}  # what Ray does by itself
    environment = {**own, "RAY_ADDRESS": "local", "RAY_TMPDIR": str(short_folder), "NASRAY_LOG": "debug"}
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        driver = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 600
        while "event=trial_started" not in err.read_text():
            assert driver.poll() is None, err.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

        # Nothing that we started listens beyond this machine.
        doors = listening(psutil.Process(driver.pid))
        assert {"gcs_server", "raylet"} <= set(doors.values())
        assert {door: name for door, name in doors.items() if not is_loopback(door[0])} == {}

        # Who has no token is let in neither to the dashboard nor to the cluster.
        (dashboard,) = [line.split()[1] for line in err.read_text().splitlines() if line.startswith("dashboard: ")]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{dashboard}/api/jobs/", timeout=120)
        assert refused.value.code in (401, 403)
        gcs = next(port for (_, port), name in doors.items() if name == "gcs_server")
        look = f"from ray._raylet import GcsClient; print(GcsClient(address='127.0.0.1:{gcs}').internal_kv_keys(b''))"
        modes = {"disabled": 1, "token": 0}
        looks = {
            mode: subprocess.run(
                [sys.executable, "-c", look],
                env={**environment, "RAY_AUTH_MODE": mode},
                capture_output=True,
                text=True,
                timeout=400,
            )
            for mode in modes
        }
        assert {mode: done.returncode for mode, done in looks.items()} == modes
        assert "token" in looks["disabled"].stderr.lower()
        go.touch()
        assert driver.wait(timeout=900) == 1
    finally:
        go.touch()
        driver.wait(timeout=900)

    # Two of three searches failed, each for its reason; the rows that came before, and the third's, are there.
    said = err.read_text()
    assert "the disk is on fire" in said
    assert said.count("event=trial_gave_up") == 1
    run = open_storage(object_store.uri("secrets/runs/sick"))
    rows = nasray.load(str(run), "candidates")
    assert set(rows["mu"]) == {0.0, 300.0}
    assert rows.loc[rows["mu"] == 300.0, "epoch"].max() <= 4
    assert len(nasray.load(str(run), "front"))

    # And the secret stands nowhere: in no line, no table, no log of Ray's, no state of Tune's.
    places = [path for folder in (tmp_path, short_folder) for path in folder.rglob("*") if path.is_file()]
    found = [str(path) for path in places if secret.encode() in path.read_bytes()]
    objects = run.filesystem.get_file_info(fs.FileSelector("secrets", recursive=True))
    objects = [one.path for one in objects if one.type == fs.FileType.File]
    assert len(objects) > 10
    for path in objects:
        with run.filesystem.open_input_stream(path) as stream:
            found += [path] if secret.encode() in stream.read() else []
    assert found == []
    assert len(places) > 20
