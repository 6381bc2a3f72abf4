"""A cluster by its address: directly, through a Ray Client, and as a Ray job; the same command goes on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from .conftest import Cluster, Driver, assert_same_tables, free_port, rows, small

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """A cluster of a head and a node, in a folder of its own so that ``auto`` finds this one and no other."""
    client, dashboard = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")  # as cluster/README.md says, for ray://
        made = Cluster(1, include_dashboard=True, dashboard_port=dashboard, ray_client_server_port=client)
        yield {
            "RAY_TMPDIR": folder,
            "client": f"ray://127.0.0.1:{client}",
            "dashboard": f"http://127.0.0.1:{dashboard}",
            "address": made.address,
        }
        made.shutdown()


def test_a_driver_on_its_head_finds_it(head: dict[str, str], alone: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nasray.cli", "sweep", small(tmp_path), "--storage", str(tmp_path)]
    environment = {**os.environ, "RAY_TMPDIR": head["RAY_TMPDIR"]}
    said = subprocess.run(
        [*command, "--address", "auto", "--name", "auto"], env=environment, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert head["dashboard"] in said.stderr  # of this cluster, and of no Ray of its own
    assert_same_tables(tmp_path / "auto", alone)


def test_through_a_ray_client_also_after_the_driver_was_killed(
    head: dict[str, str], alone: Path, start: Callable[..., Driver], tmp_path: Path
) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "client")
    first = start(*command, "--address", head["client"])
    first.until(lambda: (tmp_path / "client" / "candidates").exists() and len(rows(tmp_path / "client", "candidates")))
    first.send(signal.SIGKILL)
    first.end()
    again = start(*command, "--address", head["client"])
    assert again.end() == 0, again.said.read_text()
    assert "searches: 2 of 2 done" in again.said.read_text()
    assert not again.events("tune_state_damaged")
    assert_same_tables(tmp_path / "client", alone)


def test_as_a_ray_job_also_after_it_was_stopped(head: dict[str, str], alone: Path, tmp_path: Path) -> None:
    ray = str(Path(sys.executable).with_name("ray"))
    environment = {**os.environ, "RAY_ADDRESS": head["dashboard"]}

    def job(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ray, "job", *arguments], env=environment, capture_output=True, text=True, timeout=900)

    where = os.environ.get("PYTHONPATH", "")
    nasray = ["env", f"PYTHONPATH={where}", sys.executable, "-m", "nasray.cli"]
    sweep = [*nasray, "sweep", small(tmp_path), "--storage", str(tmp_path), "--name", "job"]
    deadline = time.monotonic() + 400
    while (first := job("submit", "--no-wait", "--submission-id", "first", "--", *sweep)).returncode:
        # The head takes no jobs before its agent is up.
        assert "No available agent" in first.stderr + first.stdout, first.stderr
        assert time.monotonic() < deadline
        time.sleep(0.5)
    while not (tmp_path / "job" / "candidates").exists():
        assert time.monotonic() < deadline + 120, job("logs", "first").stdout
        time.sleep(0.1)
    assert job("stop", "first").returncode == 0
    again = job("submit", "--submission-id", "again", "--", *sweep)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 of 2 done" in again.stdout
    assert_same_tables(tmp_path / "job", alone)


def test_without_the_clusters_token_nothing_is_told(head: dict[str, str], tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_ADDRESS": head["dashboard"], "RAY_AUTH_TOKEN": "not-the-token" * 4}
    ray = str(Path(sys.executable).with_name("ray"))
    said = subprocess.run([ray, "job", "list"], env=environment, capture_output=True, text=True)
    assert said.returncode != 0
    assert "InvalidAuthToken" in said.stdout + said.stderr or "token" in (said.stdout + said.stderr).lower()


def test_a_sweep_with_another_token_is_refused_within_seconds(
    head: dict[str, str], start: Callable[..., Driver], tmp_path: Path
) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--address", head["address"])
    began = time.monotonic()
    driver = start(*command, RAY_AUTH_TOKEN="not-the-token" * 4)
    assert driver.end() == 2
    *_, said = driver.said.read_text().splitlines()
    assert said.startswith(f"nasray: The cluster at address '{head['address']}' does not accept this token.")
    assert time.monotonic() - began < 30  # most of which are the driver's imports


def test_what_no_node_holds_is_said_and_sigterm_leaves_no_trial(
    head: dict[str, str], start: Callable[..., Driver], tmp_path: Path
) -> None:
    command = ("sweep", small(tmp_path), "--storage", str(tmp_path), "--address", head["address"])
    waits = start(*command, "--name", "waits", "--cpus-per-trial", "8")
    waits.until(lambda: waits.events("no_room"))
    assert waits.events("no_room")[0].fields["reason"].startswith("A trial needs 8 CPUs, and no node has more than 1")
    waits.send(signal.SIGTERM)
    assert waits.end(30) == 143

    runs = start(*command, "--name", "runs")
    runs.until(lambda: len(runs.epochs()) >= 1)
    assert trials_of(head)
    runs.send(signal.SIGTERM)
    assert runs.end(30) == 143
    deadline = time.monotonic() + 20
    while trials_of(head):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def trials_of(head: dict[str, str]) -> list[int]:
    """Processes in which trials of a cluster run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("RAY_TMPDIR") == head["RAY_TMPDIR"]
            if ours and re.match("ray::(Search|Training|Lookup)", " ".join(process.cmdline())):
                found.append(process.pid)
    return found


@pytest.mark.parametrize("address", ["ray://127.0.0.1:{port}", "127.0.0.1:{port}"])
def test_an_address_where_nothing_answers_is_one_line(
    start: Callable[..., Driver], tmp_path: Path, address: str
) -> None:
    nothing = address.format(port=free_port())
    driver = start("sweep", small(tmp_path), "--storage", str(tmp_path), "--address", nothing)
    assert driver.end() == 2
    (said,) = [line for line in driver.said.read_text().splitlines() if line.startswith("nasray:")]
    assert f"address '{nothing}'" in said
    assert "Traceback" not in driver.said.read_text()
