"""Trackers of experiments: what they are told, read back by their own packages, and that they harm no run."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nasray
from nasray import registry
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.runs import open_storage
from nasray.spaces import Architecture, CellSpace, from_genotype
from nasray.sweeps import EvaluationSettings, Sweep
from nasray.sweeps.changes import with_execution, with_training
from nasray.sweeps.run import run_sweep
from nasray.trials.evaluation import EvaluationConfig
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import Origin, SearchTrial, TrainingTrial, Trial
from nasray.tune.reports import tracked
from nasray.tune.reports.trackers import check_trackers, described, numbers


def published(space: str, name: str) -> Architecture:
    found: CellSpace = registry.find("space", space)
    return from_genotype(found, found.references[name].genotype)


KEY = "0123456789abcdef" * 2 + "01234567"
"""As long as a key of W&B's; nobody's."""


def test_what_is_told_of_a_trial_is_short_and_plain() -> None:
    settings = GoldNAS.Config(lambda0=0.1, epochs=5, stop_macs=0.01)
    search = SearchConfig(method="gold_nas", space="gold", dataset="digits", seed=3, settings=settings)
    trial: Trial = SearchTrial(run="r", config=search, varied=("lambda0", "operations_per_node"))
    assert described(trial) == {
        "method": "gold_nas", "space": "gold", "dataset": "digits", "seed": 3, "lambda0": 0.1,
    }  # fmt: skip
    architecture = published("darts", "DARTS_V2")
    config = EvaluationConfig(
        space="darts", dataset="digits", architecture=architecture, settings=EvaluationSettings(), seed=1
    )
    trial = TrainingTrial(run="r", config=config, origin=Origin(method="tpe", search_trial_id="t", knobs={"k": 2}))
    assert described(trial) == {
        "method": "tpe", "space": "darts", "search_trial_id": "t", "dataset": "digits", "seed": 1, "k": 2,
        "architecture_id": architecture.id,
    }  # fmt: skip


def test_of_a_result_its_finite_numbers_are_told() -> None:
    result = {
        "macs": 1.5, "accuracy": float("nan"), "points": [(1.0, 0.5)], "epoch": 2, "training_iteration": 1,
        "config": {"trial": 1}, "pid": 7, "events": [("info", "x", {})], "node": "abc",
    }  # fmt: skip
    assert numbers(result) == {"macs": 1.5, "epoch": 2}


def test_what_cannot_work_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_sweep: Sweep
) -> None:
    with pytest.raises(InvalidInput, match=r"trackers .*expected distinct ones of tensorboard, mlflow"):
        with_execution(tiny_sweep, trackers=("weights",))
    sweep = with_execution(tiny_sweep, trackers=("mlflow", "optuna"))
    assert Sweep.of(json.loads(json.dumps(sweep.to_dict()))) == sweep
    storage = open_storage(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if importlib.util.find_spec("wandb") is not None:
        with pytest.raises(
            InvalidInput, match="tracker 'wandb' needs an account: set WANDB_API_KEY in the environment"
        ):
            check_trackers(("wandb",), storage)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"tracker 'mlflow'.*pip install 'nasray\[mlflow\]'"):
        check_trackers(("mlflow",), storage)


class TuneTrial(SimpleNamespace):
    """As much of Tune's trial as a tracker asks."""

    def __str__(self) -> str:
        return str(self.trial_id)


def some_trial(seed: int = 0) -> tuple[TuneTrial, SearchTrial]:
    settings = Random.Config(epochs=1)
    trial = SearchTrial(
        run="mine", config=SearchConfig(method="random", space="gold", dataset="digits", settings=settings, seed=seed)
    )
    return TuneTrial(trial_id=trial.name, config={"trial": trial.name}), trial


def test_a_tracker_that_fails_is_left_out_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def setup(self, **info: Any) -> None:
            pass

        def log_trial_start(self, trial: Any) -> None:
            raise ConnectionError("the server\nis away")

    monkeypatch.setitem(tracked._MAKERS, "mlflow", lambda run, phase: Broken())
    trial, known = some_trial()
    callback = tracked.TrackerCallback("mlflow", "mine", "search", open_storage(tmp_path), {known.name: known})
    callback.setup()
    callback.log_trial_start(trial)
    callback.log_trial_result(1, trial, {"macs": 1.0, "epoch": 1})
    callback.log_trial_end(trial)
    callback.on_experiment_end([trial])
    (said,) = [record.message for record in caplog.records]
    assert said == 'event=tracker_failed run=mine tracker=mlflow reason="ConnectionError: the server is away"'


@pytest.mark.slow
def test_a_trial_that_is_gone_on_with_is_one_run_of_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for last in (1, 2):  # two drivers, one after the other
        both = [some_trial(seed) for seed in (0, 1)]
        known = {trial.name: trial for _, trial in both}
        callback = tracked.TrackerCallback("mlflow", "mine", "search", open_storage(tmp_path), known)
        callback.setup()
        for trial, _ in both:
            callback.log_trial_start(trial)
            callback.log_trial_result(last, trial, {"macs": 10.0 / last, "epoch": last, "training_iteration": 1})
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "mine"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(one.info.run_name for one in runs) == sorted(known)
    for one in runs:
        assert [(p.step, p.value) for p in client.get_metric_history(one.info.run_id, "macs")] == [(1, 10.0), (2, 5.0)]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.timeout(1800)
def test_their_own_packages_read_what_a_sweep_told_them(
    tiny_sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("mlflow", "tensorboard", "wandb"):
        pytest.importorskip(package)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    outcome = run_sweep(
        with_execution(
            with_training(dataclasses.replace(tiny_sweep, name="told"), select="nothing"),
            storage=str(tmp_path / "runs"),
            trackers=("tensorboard", "mlflow", "wandb"),
        )
    )
    assert outcome.failures == ()
    folder = Path(outcome.folder)
    rows = {row["trial_id"]: row for row in nasray.load(outcome.folder, "candidates").to_dict("records")}
    assert len(rows) == 2

    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    (experiment,) = [one for one in client.search_experiments() if one.name == "told"]
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert set(runs) == set(rows)
    for trial, row in rows.items():
        assert runs[trial].info.status == "FINISHED"
        assert runs[trial].data.metrics["macs"] == pytest.approx(row["macs"])
        assert runs[trial].data.params == {
            "method": "random", "space": "gold", "dataset": "digits", "seed": "0",
            "operations_per_node": str(row["operations_per_node"]),
        }  # fmt: skip

        events = EventAccumulator(str(folder / "tensorboard" / "search" / trial))
        events.Reload()
        accuracy = events.Scalars("ray/tune/supernet_accuracy")
        assert [one.step for one in accuracy] == [1, 2]
        assert accuracy[-1].value == pytest.approx(row["supernet_accuracy"])

        (file,) = (folder / "wandb" / "search" / trial).rglob("*.wandb")
        history = list(wandb_history(file))
        assert [one["training_iteration"] for one in history] == [1, 2]
        assert history[-1]["supernet_accuracy"] == pytest.approx(row["supernet_accuracy"])

    # The key is in none of the files of the run, of Ray and of W&B.
    import ray

    session = Path(ray._private.worker._global_node.get_session_dir_path())
    for place in (folder, session / "logs"):
        for file in place.rglob("*"):
            assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def wandb_history(file: Path) -> Iterator[dict[str, Any]]:
    """What a run's file of W&B holds: records in the format of LevelDB's logs, each a message of theirs."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, block = file.read_bytes(), 32768
    place, message = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            record = Record.FromString(message)
            message = b""
            if record.HasField("history"):
                names = [item.key or ".".join(item.nested_key) for item in record.history.item]
                yield dict(zip(names, (json.loads(one.value_json) for one in record.history.item), strict=True))
