"""Trials that run out of memory are tried again with more of it, on a real Ray, by really causing it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

import nasray
from nasray.tune.out_of_memory import KilledForMemory, MoreMemory, short_of

VOLATILE = ["created_at", "seconds", "peak_memory_bytes", "run"]

SWEEP = """
import json, sys
from pathlib import Path
import ray
from nasray.methods.random import Random
from nasray.sweeps import Arm, Execution, Sweep, Training
from nasray.sweeps.run import run_sweep

folder, name, cpus, gpus, share = Path(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:6])
ray.init(
    address="local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False, log_to_driver=False,
    object_store_memory=100 * 2**20,
)
outcome = run_sweep(Sweep(
    name=name, dataset="digits",
    arms=(Arm(method=str(folder / "mine.py") + ":Hungry", space="gold", settings=Random.Config(
        batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64, epochs=3
    )),),
    seeds=(0, 1), training=Training(select="nothing"),
    execution=Execution(storage=str(folder), gpus_per_trial=share, cpus_per_trial=1.0, max_failures=1),
))
print(json.dumps(outcome.failures))
"""

HUNGRY_FOR_A_GPU = """
import os
import ray, torch
from nasray.methods.random import Random

def take():
    context = ray.get_runtime_context()
    share = context.get_assigned_resources().get("GPU", 0.0)
    if context.get_actor_id() is not None and share < float(os.environ["ENOUGH"]):
        raise torch.OutOfMemoryError(f"CUDA out of memory, with {share} of a GPU")

class Hungry(Random):
    # One does not even come into being, the other fails in its second epoch.
    def __init__(self, config, problem):
        if problem.seed == 1:
            take()
        super().__init__(config, problem)

    def start_epoch(self, epoch):
        if epoch == 1:
            take()
"""

HUNGRY_FOR_THE_HOST = """
import os, time
from pathlib import Path
from nasray.methods.random import Random

HERE = Path(__file__).parent

def alive(process):
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True

class Hungry(Random):
    # Two beside each other do not fit, one does. Each holds its memory until the other has begun to hold its own, and
    # does no longer: had it gone on before, they might have missed each other.
    def start_epoch(self, epoch):
        if epoch != 1:
            return
        mine, deadline = str(self.problem.seed), time.monotonic() + 180
        holding, held = [], HERE / f"held-{mine}"
        holds = HERE / f"holds-{mine}"
        holds.write_text(str(os.getpid()))
        held.touch()  # at once: the other may be the one that is killed, before it holds all
        for _ in range(9):
            holding.append(b"x" * (100 * 2**20))
            time.sleep(0.05)
        other = "1" if mine == "0" else "0"
        while True:
            assert time.monotonic() < deadline
            beside = HERE / f"holds-{other}"
            if (HERE / f"held-{other}").exists() and not (beside.exists() and alive(beside.read_text() or os.getpid())):
                break
            time.sleep(0.05)
        holds.unlink()
"""


def run(folder: Path, name: str, *numbers: float, prefix: tuple[str, ...] = (), **environment: str) -> list[str]:
    """Run the sweep in a process of its own; gives its events."""
    ended = subprocess.run(
        [*prefix, sys.executable, "-c", SWEEP, str(folder), name, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, **environment},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads(ended.stdout.splitlines()[-1]) == []
    return [line for line in ended.stderr.splitlines() if "event=" in line]


def candidates(folder: Path, name: str) -> pd.DataFrame:
    frame = nasray.load(folder / name, "candidates")
    return frame.drop(columns=VOLATILE)


@pytest.mark.slow
def test_a_trial_short_of_gpu_memory_gets_a_larger_share(tmp_path: Path):
    (tmp_path / "mine.py").write_text(HUNGRY_FOR_A_GPU)
    assert run(tmp_path, "undisturbed", 2, 1, 0.2, ENOUGH="0.0") == []
    events = run(tmp_path, "short", 2, 1, 0.2, ENOUGH="0.5")
    told = [event.partition("out_of_memory ")[2] for event in events if "event=out_of_memory" in event]
    # Twice each, though one failure alone is forgiven: 0.2 to 0.4 to 0.8 of the GPU.
    assert len(told) == 4
    assert sum('next="1 CPUs, 0.4 GPUs"' in line for line in told) == 2
    assert sum('resources="1 CPUs, 0.4 GPUs" next="1 CPUs, 0.8 GPUs"' in line for line in told) == 2
    pd.testing.assert_frame_equal(candidates(tmp_path, "short"), candidates(tmp_path, "undisturbed"))


@pytest.fixture
def small_machine(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """What starts a command so that it, and Ray in it, sees a machine with 4 GiB of memory, and is held to them."""
    group = Path("/sys/fs/cgroup/memory") / f"nasray-{uuid.uuid4().hex[:8]}"
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare, to give a test's Ray less memory than the machine has")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(4 * 2**30))
    except OSError as error:
        pytest.skip(f"needs control groups (version 1) that can be written: {error}")
    inside = f'echo $$ > {group}/cgroup.procs && mount --bind {group} /sys/fs/cgroup/memory && exec "$@"'
    yield ("unshare", "--mount", "bash", "-c", inside, "bash")
    for process in (group / "cgroup.procs").read_text().split():
        (group.parent / "cgroup.procs").write_text(process)  # what is still ending
    group.rmdir()


@pytest.mark.slow
def test_a_trial_that_rays_memory_monitor_kills_has_fewer_beside_it(tmp_path: Path, small_machine: tuple[str, ...]):
    (tmp_path / "mine.py").write_text(HUNGRY_FOR_THE_HOST)
    monitor = {"RAY_memory_monitor_refresh_ms": "50", "RAY_memory_usage_threshold": "0.85"}
    events = run(tmp_path, "short", 2, 0, 0, prefix=small_machine, **monitor)
    told = [event for event in events if "event=out_of_memory" in event]
    assert told
    assert all('memory=host resources="1 CPUs, 0 GPUs" next="1 CPUs, 0 GPUs, 1 CPUs idle beside it"' in e for e in told)
    rows = nasray.load(tmp_path / "short", "candidates")
    assert sorted(rows["seed"]) == [0, 1]
    assert set(rows["epoch"]) == {3}


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "gpu"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "gpu"),
        (RuntimeError("CUDA error: out of memory"), "gpu"),
        (MemoryError(), "host"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "host"),
        (RuntimeError("the disk is on fire"), None),
    ],
)
def test_which_memory_was_short(error: Exception, memory: str | None):
    assert short_of(error) == memory
    assert short_of(RayTaskError("train", "a traceback", error)) == memory


def test_an_actor_that_could_not_be_made_says_why_in_its_text():
    text = "The actor died because of an error raised in its creation task\n"
    assert short_of(RayActorError(error_msg=text + "torch.OutOfMemoryError: CUDA out of memory")) == "gpu"
    assert short_of(RayActorError(error_msg=text + "RuntimeError: the disk is on fire")) is None


def test_what_ray_killed_for_memory_and_what_nobody_noted():
    assert short_of(OutOfMemoryError("1 worker(s) were killed")) == "host"
    assert short_of(KilledForMemory("1 worker(s) were killed")) == "host"
    assert short_of(None) is None


def failed(folder: Path, share: float, error: Exception, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """A trial that Tune has just taken out of its queues, to be tried again."""
    import ray

    noted = folder / "error.pkl"
    noted.write_bytes(ray.cloudpickle.dumps(error))
    monkeypatch.setattr(Trial, "pickled_error_file", property(lambda _: str(noted)))
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 3.0}}])
    trial = Trial("stub", stub=True, placement_group_factory=PlacementGroupFactory([{"CPU": 1.0, "GPU": share}]))
    trial.create_placement_group_factory()
    trial.set_status(Trial.ERROR)
    trial.run_metadata.num_failures = 1
    return trial


def test_what_a_trial_was_given_is_kept_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trial = failed(tmp_path, 0.25, KilledForMemory("killed"), monkeypatch)
    scheduler = MoreMemory(FIFOScheduler(), "digits")
    scheduler.on_trial_error(None, trial)
    larger = PlacementGroupFactory([{"CPU": 1.0, "GPU": 0.25}, {"CPU": 1.0}], strategy="STRICT_PACK")
    assert trial.placement_group_factory == larger
    assert trial.num_failures == 0

    # As Tune restores a run: the trial from JSON, its resources from the trainable, then the scheduler's say.
    restored = Trial.from_json_state(trial.get_json_state()[0], stub=True)
    restored.create_placement_group_factory()
    assert restored.placement_group_factory == PlacementGroupFactory([{"CPU": 1.0, "GPU": 0.25}])
    MoreMemory(FIFOScheduler(), "digits").on_trial_add(None, restored)
    assert restored.placement_group_factory == larger


def test_there_is_an_end_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scheduler = MoreMemory(FIFOScheduler(), "digits")
    shares, cores = [], []
    trial = failed(tmp_path, 0.3, torch.OutOfMemoryError("CUDA out of memory"), monkeypatch)
    for _ in range(4):
        scheduler.on_trial_error(None, trial)
        shares.append(trial.placement_group_factory.bundles[0]["GPU"])
    assert shares == [0.6, 1.0, 1.0, 1.0]
    trial = failed(tmp_path, 0.3, KilledForMemory("killed"), monkeypatch)
    for _ in range(3):
        scheduler.on_trial_error(None, trial)
        cores.append(sum(bundle["CPU"] for bundle in trial.placement_group_factory.bundles))
    assert cores == [2.0, 3.0, 3.0]  # as many as the largest node has
    # What has all that there is counts as a failure.
    assert trial.num_failures == 1 - 2


def test_other_failures_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trial = failed(tmp_path, 0.25, RayTaskError("train", "a traceback", RuntimeError("the disk")), monkeypatch)
    MoreMemory(FIFOScheduler(), "digits").on_trial_error(None, trial)
    assert trial.placement_group_factory == PlacementGroupFactory([{"CPU": 1.0, "GPU": 0.25}])
    assert trial.num_failures == 1
