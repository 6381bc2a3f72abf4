"""One network trained from scratch by two workers, under Ray Train inside Ray Tune."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError
from ray.train import WorkerGroupError

import nasray
from nasray.errors import InvalidInput
from nasray.sweeps import Sweep
from nasray.sweeps.changes import with_training
from nasray.tune.workers import Group, lost

SWEEP = """
import json, sys
from pathlib import Path
from nasray.methods.random import Random
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training

COMMON = dict(batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64)
HERE = str(Path(__file__).parent)
SWEEP = Sweep(
    name="group", dataset=HERE + "/data.py:digits",
    arms=(Arm(method="random", space="gold", settings=Random.Config(**COMMON, epochs=1)),),
    objectives=("accuracy", "latency_ms"), random_baseline=False,
    training=Training(
        settings=EvaluationSettings(**COMMON, epochs=2, drop_path=0.1, latency_batch=1), rungs=(1,), workers=2
    ),
    execution=Execution(cpus_per_trial=1.0, storage=HERE),
)
"""

DATA = """
import os, signal
from pathlib import Path
import ray.train, torch
from nasray.training import datasets

def digits(root):
    # A worker of the first epoch is killed while it loads its data, once.
    here = Path(__file__).parent
    try:
        rank = ray.train.get_context().get_world_rank()
    except Exception:
        rank = None  # no worker of a training
    if rank is not None:
        with (here / "told").open("a") as file:
            print(rank, torch.get_num_threads(), file=file)
    if rank == 1 and not (here / "killed").exists():
        (here / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return datasets.digits(root)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_training_by_two_workers_leaves_its_row_though_one_is_killed(tmp_path: Path):
    (tmp_path / "sweep.py").write_text(SWEEP)
    (tmp_path / "data.py").write_text(DATA)
    start = "import ray, sys; from nasray.cli import main; "
    start += "ray.init(address='local', num_cpus=2, log_to_driver=False, object_store_memory=100 * 2**20); "
    start += "sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", start, "sweep", f"{tmp_path / 'sweep.py'}:SWEEP"],
        capture_output=True,
        text=True,
        timeout=1700,
        env={**os.environ, "NASRAY_LOG": "info"},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (tmp_path / "killed").exists()
    at_rung, row = nasray.load(tmp_path / "group").sort_values("epochs").to_dict("records")
    assert (at_rung["epochs"], at_rung["complete"]) == (1, False)
    assert at_rung["latency_ms"] > 0  # without one the scheduler stops the training there
    assert row["latency_ms"] > 0
    assert (row["epochs"], row["complete"], row["training"]) == (2, True, "from scratch")
    assert row["device"].startswith("2 x ")
    assert 0.1 < row["test_accuracy"] <= 1.0
    assert (tmp_path / "group" / row["weights"]).exists()
    assert [line for line in ended.stderr.splitlines() if "event=workers_lost" in line and "epoch=1" in line]
    assert {line.split()[1] for line in (tmp_path / "told").read_text().splitlines()} == {"1"}
    assert json.loads((tmp_path / "group" / "run.json").read_text())["sweep"]["training"]["workers"] == 2


def test_how_many_groups_have_room():
    group = Group(workers=4, cpus=2.0, gpus=1.0)
    assert group.at_once([{"CPU": 64.0, "GPU": 8.0}]) == 2
    assert group.at_once([{"CPU": 7.0, "GPU": 3.0}, {"CPU": 4.0, "GPU": 5.0}]) == 1
    assert group.at_once([{"CPU": 2.0}]) == 1  # one may come, and is waited for
    assert Group(workers=2, cpus=1.0, gpus=0.0).at_once([{"CPU": 5.0}]) == 2


def test_lost_workers_are_told_from_failures():
    assert lost(WorkerGroupError("two", {0: ConnectionError("peer is gone"), 1: ActorDiedError()}))
    assert not lost(WorkerGroupError("one", {0: RuntimeError("the disk is on fire")}))
    assert not lost(RuntimeError("elsewhere"))
    # Not imported by the code, for it is private; that it is still what Ray raises, and known, is checked here.
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    assert lost(WorkerGroupError("one", {0: WorkerHealthCheckFailedError("one", ConnectionError("gone"))}))


def test_more_workers_than_examples_are_refused(tiny_sweep: Sweep):
    with pytest.raises(InvalidInput, match=r"training\.workers 33: a batch has 32 examples"):
        with_training(tiny_sweep, workers=33)
    with pytest.raises(InvalidInput, match=r"training\.workers 0: expected a whole number from 1"):
        with_training(tiny_sweep, workers=0)
