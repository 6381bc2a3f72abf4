"""What running searches under Ray Tune costs: 200 searches of one second over two nodes, against the ideal.

    python tests/benchmarks/tune_overhead.py [--searches 200] [--seconds 1.0] [--nodes 2]

The searches are a sweep's, through the real command and a real cluster of a head and two nodes on this machine, with
rows, checkpoints and a front; only their method sleeps where another would compute, so that two processors are no
bound. Ideal is the seconds slept over the number of nodes: building a search, its validation, rows and checkpoint are
overhead too. Prints one line of JSON, with the sweep's start to its first result. Run it on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nasray

SWEEP = """
import time
from dataclasses import dataclass

from nasray.methods.random import Random
from nasray.sweeps import Arm, Sweep, Training


class Sleeps(Random):
    '''A random search whose one epoch takes the seconds that it is told.'''

    @dataclass(frozen=True, kw_only=True)
    class Config(Random.Config):
        seconds: float = 1.0

    def step(self, learner, batch, architecture_batch):
        '''Sleep what is left of the seconds after the one step of the epoch.'''
        began = time.perf_counter()
        super().step(learner, batch, architecture_batch)
        time.sleep(max(0.0, self.config.seconds - (time.perf_counter() - began)))


SWEEP = Sweep(
    name="overhead",
    dataset="digits",
    arms=(
        Arm(
            method=__file__ + ":Sleeps",
            space="gold",
            settings=Sleeps.Config(
                seconds={seconds}, epochs=1, batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, train_examples=32
            ),
        ),
    ),
    seeds=tuple(range({searches})),
    training=Training(select="nothing"),
)
"""


def main() -> None:
    """Run it, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--nodes", type=int, default=2)
    given = parser.parse_args()
    print(json.dumps(measure(given.searches, given.seconds, given.nodes)))


def measure(searches: int, seconds: float, nodes: int) -> dict[str, float]:
    """Seconds and ratios of one sweep of searches that sleep."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from ray.cluster_utils import Cluster

    store = 100 * 2**20
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": store, "include_dashboard": False}
    )
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, object_store_memory=store)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _of_sweep(Path(folder), str(cluster.address), searches, seconds, nodes)
    finally:
        cluster.shutdown()


def results_of(folder: Path, address: str, searches: int, seconds: float) -> tuple[list[float], float]:
    """When each search of a sweep gave its result, and when the sweep ended, in seconds from its start."""
    (folder / "mine.py").write_text(SWEEP.format(searches=searches, seconds=seconds))
    command = [sys.executable, "-m", "nasray.cli", "sweep", f"{folder / 'mine.py'}:SWEEP", "--storage", str(folder)]
    environment = {**os.environ, "NASRAY_LOG": "debug", "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    driver = subprocess.Popen(
        [*command, "--address", address], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    )
    assert driver.stderr is not None
    results = []
    for line in driver.stderr:
        if re.search(r"\bevent=epoch\b", line):
            results.append(time.perf_counter() - began)
    assert driver.wait() == 0
    total = time.perf_counter() - began
    rows = nasray.load(folder / "overhead", "candidates")
    assert len(rows) == len(results) == searches
    assert rows["seconds"].min() >= seconds
    return results, total


def _of_sweep(folder: Path, address: str, searches: int, seconds: float, nodes: int) -> dict[str, float]:
    results, total = results_of(folder, address, searches, seconds)
    ideal = searches * seconds / nodes
    # From the first result on, in which every node had its process: what a long sweep tends to.
    steady = (results[-1] - results[0]) / (ideal * (searches - 1) / searches)
    return {
        "searches": searches,
        "nodes": nodes,
        "seconds": round(total, 2),
        "ideal_seconds": round(ideal, 2),
        "ratio": round(total / ideal, 3),
        "ratio_from_first_result": round(steady, 3),
        "start_to_first_result_seconds": round(results[0], 2),
        "last_result_to_end_seconds": round(total - results[-1], 2),
    }


if __name__ == "__main__":
    main()
