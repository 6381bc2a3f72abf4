"""How many trials share a GPU: the packing by itself, what is measured, and both on a cluster of logical GPUs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasray import registry
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.spaces import Architecture, CellSpace, from_genotype
from nasray.sweeps import EvaluationSettings, Sweep
from nasray.sweeps.changes import with_execution
from nasray.trials.evaluation import EvaluationConfig
from nasray.trials.search_config import SearchConfig, find_method
from nasray.trials.trial import SearchTrial
from nasray.tune.resources import measuring
from nasray.tune.resources.limits import CONTEXT_BYTES, memory_fraction
from nasray.tune.resources.measuring import Measured, largest_evaluation, largest_searches, measure, step_of
from nasray.tune.resources.placement import MARGIN, SHARES_OF_A_GPU, share_gpu

GIB = 2**30
TINY: dict[str, Any] = dict(
    batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64, epochs=2
)


def measured(peak_gib: float, available_gib: float = 80.0) -> Measured:
    return Measured(
        peak_bytes=int(peak_gib * GIB), available_bytes=int(available_gib * GIB), device="a GPU", configuration="one"
    )


@given(st.floats(0.0, 90.0), st.floats(0.5, 100.0))
def test_what_is_packed_fits_and_one_more_would_not(peak: float, available: float):
    packing = share_gpu(measured(peak, available))
    need = int(peak * GIB) * (1 + MARGIN) + CONTEXT_BYTES
    room = int(available * GIB) // need
    assert packing.trials <= room
    # Ray counts shares in ten-thousandths: where many fit, it may be some fewer.
    assert packing.trials >= min(room, 99) or packing.trials >= 0.9 * room
    # Ray lets so many in, and no more.
    assert int(1 / packing.share + 1e-9) == max(packing.trials, 1)
    assert round(packing.share * SHARES_OF_A_GPU) == pytest.approx(packing.share * SHARES_OF_A_GPU)


@given(st.floats(0.5, 60.0))
def test_the_cap_of_a_share_holds_what_was_measured(peak: float):
    packing = share_gpu(measured(peak))
    cap = memory_fraction(packing.share, 80 * GIB) * 80 * GIB
    # A share is rounded down to a ten-thousandth of the GPU.
    assert cap >= min(int(peak * GIB) * (1 + MARGIN), 79 * GIB) - 80 * GIB / SHARES_OF_A_GPU
    if packing.trials > 1:
        assert packing.trials * (cap + CONTEXT_BYTES) <= 80 * GIB + 1


def test_a_trial_that_does_not_fit_has_the_gpu_to_itself():
    assert share_gpu(measured(80.0)) == share_gpu(measured(75.0))
    assert (share_gpu(measured(80.0)).trials, share_gpu(measured(80.0)).share) == (0, 1.0)
    assert memory_fraction(1.0, 80 * GIB) == 1.0


def test_figures_that_cannot_be_are_refused():
    with pytest.raises(InvalidInput, match="-1 of 85899345920 bytes of a GPU: give a peak from 0"):
        dataclasses.replace(measured(1.0), peak_bytes=-1)


def test_the_field_takes_a_number_or_auto(tiny_sweep: Sweep):
    assert Sweep.of(with_execution(tiny_sweep, gpus_per_trial="auto").to_dict()).execution.gpus_per_trial == "auto"
    with pytest.raises(InvalidInput, match=r"gpus_per_trial -0\.5: expected auto or a number from 0"):
        with_execution(tiny_sweep, gpus_per_trial=-0.5)
    with pytest.raises(InvalidInput, match="gpus_per_trial 'all': expected auto or a number from 0"):
        with_execution(tiny_sweep, gpus_per_trial="all")


def searches(*settings: Any, method: str = "random", space: str = "gold") -> list[SearchConfig]:
    return [SearchConfig(method=method, space=space, dataset="digits", settings=one) for one in settings]


def test_the_largest_search_is_the_one_with_most_to_keep():
    base = Random.Config(**TINY)
    larger = [dataclasses.replace(base, **more) for more in ({"channels": 4}, {"cells": 5}, {"batch_size": 64})]
    more_operations = dataclasses.replace(base, operations_per_node=4)
    for largest in (*larger, more_operations):
        (found,) = largest_searches(searches(base, largest, dataclasses.replace(base, learning_rate=0.5)))
        assert found.settings == largest


def test_methods_and_spaces_are_not_compared_by_a_count():
    gold = GoldNAS.Config(**TINY, stop_macs=0.01)
    found = largest_searches(
        [*searches(Random.Config(**TINY)), *searches(gold, method="gold_nas"), *searches(gold, method="gold_nas")]
    )
    assert [one.method for one in found] == ["random", "gold_nas"]


def test_the_largest_training_is_the_one_with_most_to_keep():
    # PC_DARTS_cifar has 0.56 M of parameters and 30 M of multiply-adds more than either (tests/costs).
    trials = evaluations("DARTS_V2", "PC_DARTS_cifar", "DARTS_V1")
    assert largest_evaluation(trials).architecture == reference("PC_DARTS_cifar")


def test_what_a_searcher_will_propose_is_stood_for_by_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "DRAWS", 8)
    found = largest_evaluation(evaluations("DARTS_V1"), cells=3)
    drawn = found.architecture
    most = {"normal": 8, "reduce": 8}  # two for each of four nodes
    assert {name: len(choices) for name, choices in drawn.cells.items()} == most


def reference(name: str) -> Architecture:
    space: CellSpace = registry.find("space", "darts")
    return from_genotype(space, space.references[name].genotype)


def evaluations(*architectures: str) -> list[EvaluationConfig]:
    return [
        EvaluationConfig(
            space="darts",
            dataset="digits",
            architecture=reference(name),
            settings=EvaluationSettings(**TINY),
        )
        for name in architectures
    ]


def plain(configs: list[SearchConfig]) -> list[dict[str, Any]]:
    return [SearchTrial(run="run", config=config).to_dict() for config in configs]


@pytest.mark.parametrize(
    "method",
    [
        *("gold_nas", "ista_nas"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("darts", "pc_darts", "entrannas", "data_egs", "random")
        ),
    ],
)
def test_a_step_of_any_method_can_be_measured(method: str):
    config = find_method(method).Config
    stop = {"stop_macs": 0.01} if config is GoldNAS.Config else {}
    settings = config(**{**TINY, "channels": 4, "epochs": 20, "train_examples": None, **stop})
    before = torch.get_rng_state()
    step_of(SearchConfig(method=method, space="gold", dataset="digits", settings=settings), "cpu")
    assert torch.equal(torch.get_rng_state(), before)  # a search leaves the caller's random state alone


def test_where_torch_sees_no_gpu_nothing_is_measured():
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    assert measure(plain(searches(Random.Config(**TINY)))) is None


@pytest.mark.gpu
def test_a_search_and_a_training_on_a_gpu(tmp_path: Path):
    small, large = Random.Config(**TINY), Random.Config(**{**TINY, "channels": 32})
    peaks = [measure(plain(searches(one))) for one in (small, large)]
    assert peaks[0] is not None
    assert peaks[1] is not None
    assert 0 < peaks[0].peak_bytes < peaks[1].peak_bytes < peaks[1].available_bytes


AUTO = """
import json, sys
from pathlib import Path
import ray
from nasray.methods.random import Random
from nasray.runs import open_storage
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.run import run_sweep
from nasray.trials.trial import SearchTrial
from nasray.tune.phase import Phase
from nasray.tune.resources import measuring
from nasray.tune.resources.measuring import Measured
from nasray.tune.resources.placement import gpus_per_trial

folder, GIB = Path(sys.argv[1]), 2**30
tiny = {**json.loads(sys.argv[2]), "device": "cpu"}  # Ray's GPUs are none of torch's
ray.init(
    address="local", num_cpus=2, num_gpus=float(sys.argv[3]), include_dashboard=False, log_to_driver=False,
    object_store_memory=100 * 2**20,
)

def measure(trials, cells=None, values=None):
    kind = "searches" if "varied" in trials[0] else "trainings"
    # Runs in a worker, in place of what needs a real GPU: 2 searches or 6 trainings have room on 80 GiB.
    with (folder / "measured").open("a") as file:
        print(kind, len(trials), ray.get_runtime_context().get_assigned_resources()["GPU"], file=file)
    peak = {"searches": 30 * GIB, "trainings": 10 * GIB}[kind]
    return Measured(peak_bytes=peak, available_bytes=80 * GIB, device="logical", configuration="made up")

if sys.argv[4] == "made up":
    measuring.measure = measure
sweep = Sweep(
    name="auto", dataset=str(folder / "mine.py") + ":digits",
    arms=(Arm(method=str(folder / "mine.py") + ":Telling", space="gold", settings=Random.Config(**tiny)),),
    training=Training(settings=EvaluationSettings(**tiny, drop_path=0.0)), random_baseline=False, seeds=(0, 1),
    execution=Execution(storage=str(folder), gpus_per_trial="auto", cpus_per_trial=float(sys.argv[5])),
)
outcome = run_sweep(sweep)
trials = [SearchTrial(run="auto", config=config) for config in sweep.searches()]
phase = Phase(name="search", kind="searches", run="auto", dataset=sweep.dataset, trials=trials)
again = gpus_per_trial(phase, open_storage(folder).child("auto"), sweep.execution)
print(json.dumps({"failures": outcome.failures, "rows": len(outcome.front), "again": again}))
"""

TELLING = """
import json, os
from pathlib import Path
import ray
from nasray.methods.random import Random
from nasray.training import datasets

def tell(kind):
    context = ray.get_runtime_context()
    if context.get_actor_id() is None:
        return  # the driver
    told = {
        "kind": kind, "process": os.getpid(), "gpus": context.get_assigned_resources().get("GPU", 0.0),
    }
    with (Path(__file__).parent / "told").open("a") as file:
        print(json.dumps(told), file=file)

class Telling(Random):
    def __init__(self, config, problem):
        tell("search")
        super().__init__(config, problem)

def digits(root):
    tell("dataset")
    return datasets.digits(root)
"""


def run_script(script: str, *arguments: str, timeout: float = 240, **environment: str) -> tuple[Any, list[str]]:
    """Run Python in a process of its own, which may have a Ray of its own; gives its last line, and its events."""
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "NASRAY_LOG": "info", **environment},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    events = [line for line in ended.stderr.splitlines() if "event=" in line]
    return json.loads(ended.stdout.splitlines()[-1]), events


def auto(folder: Path, *, gpus: int, measuring: str, cpus: float) -> tuple[Any, list[str], list[dict[str, Any]]]:
    """What a sweep came to, its events of placement, and what its trials saw of their shares."""
    (folder / "mine.py").write_text(TELLING)
    outcome, events = run_script(AUTO, str(folder), json.dumps(TINY), str(gpus), measuring, str(cpus))
    assert outcome["failures"] == []
    told = [json.loads(line) for line in (folder / "told").read_text().splitlines()]
    return outcome, [event for event in events if "event=placement" in event], told


@pytest.mark.slow
def test_trials_get_the_shares_that_were_measured_for_their_phase(tmp_path: Path):
    outcome, events, told = auto(tmp_path, gpus=1, measuring="made up", cpus=1.0)
    searches_measured, trainings_measured = (tmp_path / "measured").read_text().splitlines()
    assert searches_measured == "searches 2 1.0"
    assert re.fullmatch(r"trainings [12] 1\.0", trainings_measured)  # as many as are on the front
    assert {one["gpus"] for one in told if one["kind"] == "search"} == {0.5}
    assert {one["gpus"] for one in told} == {0.5, 0.1666}
    assert [word for event in events for word in event.split() if word.startswith(("gpus_per", "trials_per"))] == [
        "gpus_per_trial=0.5",
        "trials_per_gpu=2",
        "gpus_per_trial=0.1666",
        "trials_per_gpu=6",
    ]
    # Kept: asked for again, nothing is measured.
    assert outcome["again"] == 0.5
    kept = json.loads((tmp_path / "auto" / "phases" / "search-placement.json").read_text())
    assert (kept["trials"], kept["share"], kept["peak_bytes"]) == (2, 0.5, 30 * GIB)


@pytest.mark.slow
def test_where_torch_sees_no_gpu_each_trial_has_one_of_rays(tmp_path: Path):
    _, events, told = auto(tmp_path, gpus=2, measuring="for real", cpus=0.5)
    assert all("torch sees no GPU where Ray has one" in event for event in events)
    assert len(events) == 3  # both phases, and the question afterwards: nothing was measured that could be kept
    assert {one["gpus"] for one in told} == {1.0}


@pytest.mark.slow
def test_without_a_gpu_auto_is_none(tmp_path: Path):
    _, events, told = auto(tmp_path, gpus=0, measuring="for real", cpus=2.0)
    assert all('gpus_per_trial=0 reason="no node has a GPU now; ' in event for event in events)
    assert {one["gpus"] for one in told} == {0.0}
    # On two cores one process ran both searches, one after the other.
    assert len({one["process"] for one in told if one["kind"] == "search"}) == 1
