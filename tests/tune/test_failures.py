"""Lost processes and too little memory: the driver writes down what trials cannot, and gives more where it can."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayTaskError
from ray.tune import PlacementGroupFactory, TuneError

import nasray
from nasray.errors import LeaseLost, StorageFailure
from nasray.runs import open_storage
from nasray.runs.outcomes import Outcome, read_outcome, read_outcomes, write_outcome
from nasray.tune.failures import (
    MOST_LOSSES,
    Failures,
    cause_of,
    note_kill,
    resources,
    with_more_memory,
)
from nasray.tune.phase import Phase
from nasray.tune.tuner import _fit

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
        batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64, epochs=3,
        device="cpu",  # Ray's GPUs are none of torch's
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
    # Two beside each other do not fit, one does, however much memory a process of theirs has to itself: each takes more
    # and more for as long as the other holds some too. Each holds its memory until the other has begun to hold its own,
    # and does no longer: had it gone on before, they might have missed each other.
    def start_epoch(self, epoch):
        if epoch != 1:
            return
        mine, deadline = str(self.problem.seed), time.monotonic() + 600
        holds = HERE / f"holds-{mine}"
        holds.write_text(str(os.getpid()))
        (HERE / f"held-{mine}").touch()
        other = "1" if mine == "0" else "0"
        holding, beside = [b"x" * (200 * 2**20)], HERE / f"holds-{other}"
        while True:
            assert time.monotonic() < deadline
            both = beside.exists() and alive(beside.read_text() or os.getpid())
            if (HERE / f"held-{other}").exists() and not both:
                break
            if both:
                holding.append(b"x" * (10 * 2**20))
            time.sleep(0.1)
        holds.unlink()
"""


def run(folder: Path, name: str, *numbers: float, prefix: tuple[str, ...] = (), **environment: str) -> list[str]:
    """Run the sweep in a process of its own; gives its events."""
    ended = subprocess.run(
        [*prefix, sys.executable, "-c", SWEEP, str(folder), name, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=800,
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


class Trial:
    """As much of Tune's trial as the callback asks."""

    def __init__(self, folder: Path, name: str = "one") -> None:
        self.name, self.last_result = name, {}
        self.error_file = str(folder / f"{name}-error.txt")

    def __str__(self) -> str:
        return self.name

    def ends(self, error: Exception) -> None:
        """As Tune notes it, behind what it noted before."""
        with open(self.error_file, "a") as file:
            file.write(f"Failure # 1 (occurred at 2026-11-26_12-00-00)\n{error}\n")


@pytest.fixture
def failures(tmp_path: Path) -> Failures:
    return Failures("digits", open_storage(tmp_path), {"one": "d1"})


def ends(failures: Failures, trial: Any, error: Exception) -> Outcome:
    trial.ends(error)
    failures.on_trial_recover(0, [trial], trial)
    outcome = read_outcome(failures._storage, "one", "d1")
    assert outcome is not None
    return outcome


GONE = [ActorDiedError(), ActorUnavailableError("socket closed", None)]


@pytest.mark.parametrize("error", GONE)
def test_a_lost_process_is_no_failure(error: Exception, failures: Failures, tmp_path: Path) -> None:
    outcome = ends(failures, Trial(tmp_path), error)
    assert (outcome.state, outcome.failures, outcome.losses) == ("lost", 0, 1)


def test_an_error_that_the_trial_wrote_down_itself_is_no_loss(
    failures: Failures, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial = Trial(tmp_path)
    for count in (1, 2):
        mine = Outcome(state="retrying", digest="d1", failures=count, reason="OSError: the disk is on fire")
        write_outcome(open_storage(tmp_path), "one", mine)
        assert ends(failures, trial, RayTaskError("step", "Traceback\nOSError: the disk", OSError("the disk"))) == mine
    assert [message.split()[0] for message in caplog.messages] == ["event=trial_retried"] * 2


def test_a_trial_that_takes_its_process_down_again_and_again_fails(failures: Failures, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    states = [ends(failures, trial, GONE[0]).state for _ in range(MOST_LOSSES + 1)]
    assert states == ["lost"] * MOST_LOSSES + ["failed"]


def test_an_epoch_between_two_losses_begins_the_count_anew(failures: Failures, tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    for epoch in range(3 * MOST_LOSSES):
        trial.last_result = {"epoch": epoch}
        assert ends(failures, trial, GONE[0]).losses == 1
        # It goes back to its last checkpoint: an epoch that is done again is none that was gained.
        trial.last_result = {"epoch": max(0, epoch - 1)}


def test_a_trial_that_a_rung_stopped_is_written_down(failures: Failures, tmp_path: Path) -> None:
    trial: Any = Trial(tmp_path)
    trial.last_result = {"epoch": 2, "done": True, "ended": False, "points": [(1.5, 0.5)]}  # "done" is Tune's doing
    failures.on_trial_complete(0, [trial], trial)
    outcome = read_outcome(open_storage(tmp_path), "one", "d1")
    assert outcome == Outcome(state="stopped", digest="d1", epoch=2)  # what it gave counts nowhere


def test_what_a_node_lacked_before_the_trial_could_say_so_is_written_down(failures: Failures, tmp_path: Path) -> None:
    trial: Any = Trial(tmp_path)
    trial.last_result = {"epoch": 0, "done": True, "ended": True, "given_up": "unknown space"}
    failures.on_trial_complete(0, [trial], trial)
    outcome = read_outcome(open_storage(tmp_path), "one", "d1")
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("refused", "unknown space")


KILL = (
    "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.1, ID: 1ff0) where the "
    "task (actor ID: 1ff0, name=TrialTrainable.train, pid=42, memory used=1.9GB) was running was 3.9GB / 4.0GB"
)


def test_the_trial_that_rays_memory_monitor_killed_is_the_one_of_the_process(tmp_path: Path) -> None:
    storage, digests = open_storage(tmp_path), {"one": "d1", "two": "d2", "three": "d3"}
    try:
        raise RuntimeError("Caught unexpected exception") from OutOfMemoryError(KILL)
    except RuntimeError as error:
        killed = cause_of(error, OutOfMemoryError)
    assert killed is not None
    note_kill(storage, killed, {"one": 41, "two": 42}, digests)
    assert {name: one.memory for name, one in read_outcomes(storage).items()} == {"two": "host"}
    # Where it does not say which, all that ran may be short.
    note_kill(storage, OutOfMemoryError("1 worker(s) were killed"), {"one": 41, "three": 43}, digests)
    assert {name: one.state for name, one in read_outcomes(storage).items()} == dict.fromkeys(digests, "out_of_memory")
    assert cause_of(RuntimeError("the disk is on fire"), OutOfMemoryError) is None
    assert cause_of(None, OutOfMemoryError) is None


@pytest.mark.parametrize("ours", [StorageFailure("the disk is full"), LeaseLost("another driver has it"), None])
def test_what_our_callbacks_raise_ends_a_pass_and_not_what_tune_makes_of_it(ours: Exception | None) -> None:
    class Wrapping:
        def fit(self) -> None:
            try:
                raise ours or KeyError("a fault of Tune's")
            except Exception:
                raise TuneError("Traceback (most recent call last): ...")  # noqa: B904 - as Tune does

    tuner: Any = Wrapping()
    with pytest.raises(type(ours) if ours else TuneError, match=str(ours) if ours else "Traceback") as caught:
        _fit(tuner, Phase(name="search", kind="searches", run="run", dataset="digits"), "aside")
    assert ours is None or caught.value is ours


def test_a_trial_short_of_memory_gets_more_and_there_is_an_end_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 3.0}}])
    outcome, shares, states = Outcome(state="out_of_memory", digest="d", memory="gpu", reason="short"), [], []
    for _ in range(4):
        outcome = with_more_memory(outcome, cpus=1.0, gpus=0.3, max_failures=1)
        shares.append(resources(outcome, 1.0, 0.3).bundles[0]["GPU"])
        states.append(outcome.state)
    assert shares == [0.6, 1.0, 1.0, 1.0]
    # What has all that there is counts as a failure.
    assert states == ["retrying", "retrying", "retrying", "failed"]

    outcome, cores = Outcome(state="out_of_memory", digest="d", memory="host", reason="short"), []
    for _ in range(3):
        outcome = with_more_memory(outcome, cpus=1.0, gpus=0.25, max_failures=1)
        cores.append(sum(bundle["CPU"] for bundle in resources(outcome, 1.0, 0.25).bundles))
    assert cores == [2.0, 3.0, 3.0]  # as many as the largest node has
    larger = PlacementGroupFactory([{"CPU": 1.0, "GPU": 0.25}, {"CPU": 2.0}], strategy="STRICT_PACK")
    assert resources(outcome, 1.0, 0.25) == larger
    assert resources(None, 1.0, 0.25) == PlacementGroupFactory([{"CPU": 1.0, "GPU": 0.25}])
