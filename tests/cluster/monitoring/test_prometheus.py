"""Debian's Prometheus scrapes a sweep as it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nasray.tune.reports.metrics import FIGURES
from tests.sweep_files import gold_sweep

FOLDER = Path(__file__).parents[3] / "cluster" / "monitoring"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "nasray.json"
TARGETS = "/tmp/ray/prom_metrics_service_discovery.json"
pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's package prometheus is not there")


def test_the_configuration_is_one(tmp_path: Path) -> None:
    # The file of targets is Ray's, and promtool wants it to be there.
    (tmp_path / "targets.json").write_text("[]")
    text = (FOLDER / "prometheus.yml").read_text()
    assert TARGETS in text
    (tmp_path / "prometheus.yml").write_text(text.replace(TARGETS, str(tmp_path / "targets.json")))
    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A Prometheus of our own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=120) as response:
            answer = json.load(response)
        assert answer["status"] == "success"
        return answer["data"]["result"]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Paths of Unix sockets, which Ray makes in it, are short."""
    folder = Path(tempfile.mkdtemp(prefix="m", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def prometheus(short_folder: Path) -> Iterator[Server]:
    """Debian's, with our configuration, but for the folder in which Ray writes and shorter intervals."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    (scraped,) = config["scrape_configs"]
    (found,) = scraped["file_sd_configs"]
    assert found["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
    found["files"] = [f"{short_folder}/ray/prom_metrics_service_discovery.json"]
    found["refresh_interval"] = "1s"
    (short_folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (short_folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={short_folder}/prometheus.yml",
                f"--storage.tsdb.path={short_folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    yield Server(f"http://127.0.0.1:{port}")
    process.terminate()
    process.wait(120)


def wait(condition: Callable[[], Any], process: subprocess.Popen[Any] | None = None, seconds: float = 600) -> Any:
    """Until a condition holds; a process must be there meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except urllib.error.URLError:
            pass
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_running_sweep_is_seen_and_its_hypervolume_rises(short_folder: Path, prometheus: Server) -> None:
    file = gold_sweep(
        short_folder,
        examples=600,
        settings={"epochs": 10, "lambda0": 0.3},
        evaluation={"epochs": 4, "drop_path": 0.0},
        mu=(0.0, 30.0, 300.0),
        channels=4,
        training={"within": 0.05},
    )
    environment = {**os.environ, "RAY_TMPDIR": str(short_folder), "RAY_metrics_report_interval_ms": "3000"}
    command = [sys.executable, "-m", "nasray.cli", "sweep", file, "--name", "watched"]
    with (short_folder / "sweep.log").open("w") as log:
        sweep = subprocess.Popen(
            [*command, "--storage", str(short_folder / "runs")], env=environment, stdout=log, stderr=log
        )
    asked = json.loads(DASHBOARD.read_text())
    labels = 'run="watched", dataset="digits"'
    seen: set[str] = set()

    def all_panels() -> bool:
        """Every expression of the dashboard is one; the titles of those that have given something are kept."""
        for panel in asked["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$run", "watched").replace("$__range", "1h")
                if prometheus.ask("query", query=expression):
                    seen.add(f"{panel['id']} {panel['title']}")
        return sweep.poll() is not None

    try:
        wait(all_panels, seconds=1200)
        assert sweep.returncode == 0, (short_folder / "sweep.log").read_text()
    finally:
        if sweep.poll() is None:
            sweep.send_signal(signal.SIGTERM)
            sweep.wait(200)

    expected = {f"{one['id']} {one['title']}" for one in asked["panels"] if "GPU" not in one["title"]}
    assert seen >= {title for title in expected if title in with_targets(asked)}

    volumes = history(prometheus, f'ray_nasray_hypervolume_macs{{{labels}, kind="searches", method="all"}}')
    different = [value for i, value in enumerate(volumes) if i == 0 or value != volumes[i - 1]]
    assert len(different) >= 2
    assert different == sorted(different)
    print("hypervolume so far (multiply-adds x accuracy), each value once:", different)

    # In the trainings the run's last figure is what the run itself came to.
    printed = (short_folder / "sweep.log").read_text()
    own = float(printed.split("hypervolume: ")[1].split()[0])
    trained = history(prometheus, f'ray_nasray_hypervolume_macs{{{labels}, kind="trainings", method="all"}}')
    assert trained
    assert max(trained) / 1e6 <= own * (1 + 1e-5)

    # Every search was seen, with the figures that searches have; and none when its last result was long ago.
    for figure in FIGURES:
        if figure.name != "nasray_accuracy_ratio":
            found = prometheus.ask("query", query=f'last_over_time(ray_{figure.name}{{{labels}, kind="searches"}}[1h])')
            assert len({one["metric"]["trial"] for one in found}) == 3, figure.name
    ended = history(prometheus, f'count(ray_nasray_epoch{{{labels}, kind="searches"}})', absent=0.0)
    assert ended[-1] == 0.0
    states = prometheus.ask(
        "query", query=f'max_over_time(ray_nasray_trials{{{labels}, kind="searches", state="done"}}[1h])'
    )
    assert max(float(one["value"][1]) for one in states) == 3.0


def with_targets(dashboard: dict[str, Any]) -> set[str]:
    return {f"{one['id']} {one['title']}" for one in dashboard["panels"] if one.get("targets")}


def history(prometheus: Server, expression: str, absent: float | None = None) -> list[float]:
    """The values of an expression's one series over the last ten minutes, in order."""
    now = time.time()
    expression = f"max({expression})" if absent is None else f"({expression}) or vector({absent})"
    found = prometheus.ask("query_range", query=expression, start=f"{now - 600}", end=f"{now}", step="1")
    return [float(value) for one in found for _, value in one["values"]]
