"""Ray clusters of several nodes on this machine, and drivers as processes of their own: what faults are done to."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray.runs import TABLES
from tests.sweep_files import gold_sweep

VOLATILE = ["run", "created_at", "seconds", "peak_memory_bytes", "host", "versions"]
"""Columns that two equal runs may differ in: names, times, memory and machines."""
STORE = 100 * 2**20
"""Bytes of a node's object store."""

RATE = {"learning_rate": 0.1}
PROCESSOR = {"device": "cpu"}
"""For Ray's GPUs are none of torch's."""


def six(folder: Path) -> str:
    """A file with six searches of some seconds each, and trainings of what they find."""
    return gold_sweep(
        folder,
        examples=256,
        settings={**RATE, **PROCESSOR, "epochs": 6},
        evaluation={**RATE, **PROCESSOR, "epochs": 3, "drop_path": 0.1},
        mu=(0.0, 30.0, 300.0),
        varied={"lambda0": (0.03, 0.3)},
        training={"within": 0.05},
        random_baseline=False,
        execution={"gpus_per_trial": 1.0},
    )


def small(folder: Path, max_failures: int = 1) -> str:
    """A file with two searches of some seconds, and no more."""
    return gold_sweep(
        folder,
        examples=512,
        settings={**RATE, "epochs": 5},
        training={"select": "nothing"},
        execution={"max_failures": max_failures},
        random_baseline=False,
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Cluster:
    """A head without trials, and worker nodes with a processor and a logical GPU each."""

    def __init__(self, nodes: int, **head: Any) -> None:
        from ray.cluster_utils import Cluster as RayCluster

        head = {"include_dashboard": False, "dashboard_agent_listen_port": free_port(), **head}
        self._ray = RayCluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "object_store_memory": STORE, **head}
        )
        self.nodes = [self.add() for _ in range(nodes)]

    @property
    def address(self) -> str:
        return str(self._ray.address)

    def add(self) -> Any:
        # Or the agents of two nodes, or of two Rays on this machine, take one another's port, and one has no jobs.
        port = free_port()
        return self._ray.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE, dashboard_agent_listen_port=port)

    def lose(self, node: Any) -> None:
        """Kill all processes of a node, as a machine does that goes away."""
        self._ray.remove_node(node, allow_graceful=False)

    def shutdown(self) -> None:
        self._ray.shutdown()


@pytest.fixture
def cluster() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters, and ends them with the test."""
    made: list[Cluster] = []

    def make(nodes: int, **head: Any) -> Cluster:
        made.append(Cluster(nodes, **head))
        return made[-1]

    yield make
    for one in made:
        one.shutdown()


@dataclass
class Event:
    """A line of a driver, taken apart."""

    name: str
    fields: dict[str, str]


@dataclass
class Driver:
    """A ``nasray`` command that runs, whose events are read from what it says."""

    process: subprocess.Popen[bytes]
    said: Path
    began: float = field(default_factory=time.monotonic)

    def events(self, name: str | None = None) -> list[Event]:
        """Those it said so far, all or of one name."""
        found = []
        for line in self.said.read_text(errors="replace").splitlines():
            match = re.search(r"Z (?:debug|info|warning|error) (event=.*)", line)
            if match:
                fields = dict(part.split("=", 1) for part in shlex.split(match[1]))
                found.append(Event(fields.pop("event"), fields))
        return [event for event in found if name in (None, event.name)]

    def epochs(self) -> list[tuple[str, str]]:
        """Trial and number of every epoch that was reported."""
        return [(event.fields["trial"], event.fields["epoch"]) for event in self.events("epoch")]

    def until(self, condition: Callable[[], Any], seconds: float = 600) -> None:
        """Wait for a condition, while the driver runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.02)

    def end(self, seconds: float = 900) -> int:
        """Wait for its end; gives the exit code."""
        return self.process.wait(timeout=seconds)

    def send(self, what: signal.Signals) -> None:
        self.process.send_signal(what)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Starts ``nasray ARGUMENTS`` as a process of its own; one that is left is killed with the test."""
    started: list[Driver] = []

    def run(*arguments: str, level: str = "debug", **environment: str) -> Driver:
        said = tmp_path / f"said_{len(started)}.txt"
        variables = {**os.environ, "NASRAY_LOG": level, "OMP_NUM_THREADS": "1", **environment}
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "nasray.cli", *arguments], stdout=file, stderr=file, env=variables
            )
        started.append(Driver(process, said))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of ``small`` that nothing happened to, on a Ray of its own."""
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, "-m", "nasray.cli", "sweep", small(folder), "--storage", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = subprocess.run([*command, "--name", "alone"], env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return folder / "alone"


def rows(run: Path, table: str) -> pd.DataFrame:
    """A table's columns that equal runs have in common."""
    frame = nasray.load(run, table)
    return frame.drop(columns=[name for name in VOLATILE if name in frame.columns])


def assert_same_tables(one: Path, other: Path) -> None:
    """Equal to the bit, and every row once."""
    for table in ("candidates", "evaluations", "epochs", "front"):
        mine, theirs = rows(one, table), rows(other, table)
        assert len(mine) > 0 or table == "evaluations"
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    for table in TABLES.values():
        # As they lie on the disk, read without nasray: a row that lies twice would be seen here.
        files = sorted((one / table.name).glob("*.parquet"))
        if files:
            raw = pd.concat([pd.read_parquet(file) for file in files])
            assert not raw.duplicated(subset=list(table.key)).any()


def assert_all_kept(before: dict[str, pd.DataFrame], run: Path) -> None:
    """Rows that were there at one moment are there now, with the same values."""
    for table, frame in before.items():
        key = list(TABLES[table].key)
        both = frame.merge(rows(run, table), on=key, how="left", indicator=True, suffixes=("", "_after"))
        assert (both["_merge"] == "both").all()
        for name in ("accuracy", "macs", "architecture"):
            if name not in key:
                assert (both[name] == both[f"{name}_after"]).all()
