"""A population whose driver is killed, and then a member's process, has each epoch of each member once, and the rows
that its own lineage gives when it is trained again, one member after the other, without Ray."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import nasray
from nasray.errors import InvalidInput
from nasray.settings import Choice, Range
from nasray.trials.evaluation import Evaluation, EvaluationConfig
from tests.ray_session import Kill

DATA = """
import dataclasses, os, signal
from pathlib import Path
from nasray.training import datasets

def digits(root):
    whole = datasets.digits(root)
    plain, told = whole.augmentations["standard"], Path(__file__).with_name("die")

    def fragile(x_NCHW, generator=None):
        if told.exists():
            told.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(x_NCHW, generator)

    return dataclasses.replace(whole, augmentations={**whole.augmentations, "fragile": fragile})
"""
TINY = dict(epochs=6, batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, train_examples=128)
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_killed_and_resumed_no_row_is_lost_or_doubled(
    tmp_path: Path, run_and_kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.py").write_text(DATA)
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "nasray.cli"]
    words = ["train", "nas_bench_201", CELL, f"{tmp_path / 'data.py'}:digits", "--population", "3", "--out", folder]
    words += ["--perturbation-interval", "2", "--learning-rate", "0.01:0.2:log", "--drop-path", "0:0.3"]
    words += ["--augmentation", "fragile,none"]
    words += [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    monkeypatch.setenv("NASRAY_LOG", "info")
    run_and_kill(command + list(map(str, words)), dict(os.environ), lambda: any(folder.glob("trials/*/000003.state")))
    (tmp_path / "die").touch()
    ended = subprocess.run(
        [*command, "resume", folder, "--code", tmp_path / "data.py"], capture_output=True, text=True, timeout=1800
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert not (tmp_path / "die").exists()
    assert "event=worker_lost" in ended.stderr
    assert "Tune's clock starts anew: members are compared next after 4 epochs" in ended.stderr

    run = nasray.open(folder, code=tmp_path / "data.py")
    epochs = run.epochs
    assert len(epochs) == 18
    assert epochs.groupby("trial_id")["epoch"].agg(list).tolist() == [[1, 2, 3, 4, 5, 6]] * 3
    assert epochs["cloned_from"].notna().sum() >= 2  # one at least in every comparison

    (row,) = run.evaluations.to_dict("records")
    last = epochs[epochs["epoch"] == 6]
    assert row["accuracy"] == last["accuracy"].max()
    assert (row["training"], row["complete"], row["epochs"]) == ("population", True, 6)
    assert [path.name for path in (folder / "architectures").glob("*.safetensors")] == [Path(row["weights"]).name]

    again = trained_again(run, tmp_path)
    own = run.network("best").state_dict()
    assert all(torch.equal(own[name], value) for name, value in again.learner.network.state_dict().items())
    assert again.test_accuracy() == row["test_accuracy"]
    front = subprocess.run([*command, "front", folder], capture_output=True, text=True)
    assert front.returncode == 0, front.stderr
    assert row["architecture_id"] in front.stdout


def trained_again(run: nasray.Run, folder: Path) -> Evaluation:
    """The best member, by the settings that its rows say were in force, with the losses that they have."""
    values = run.storage.read_json("run.json")["training"]
    config = EvaluationConfig.of({**values, "dataset": f"{folder / 'data.py'}:digits"})
    seeds = run.epochs.groupby("trial_id")["seed"].first()
    found: Evaluation | None = None
    before = None
    for row in run.schedule().to_dict("records"):
        if row["trial_id"] != before:
            drawn = {name: row[name] for name in ("learning_rate", "drop_path", "augmentation")}
            settings = dataclasses.replace(config.settings, **drawn)
            member = Evaluation(dataclasses.replace(config, seed=int(seeds[row["trial_id"]]), settings=settings))
            if found is not None:
                member.load_state_dict(found.state_dict())
            found, before = member, row["trial_id"]
        assert found is not None
        metrics = found.run_epoch()
        assert (metrics["loss"], metrics["accuracy"]) == (row["loss"], row["accuracy"])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"population": 1}, "population 1: expected a whole number from 2"),
        ({"population": 3, "perturbation_interval": 6}, "expected fewer epochs than the 6"),
        ({"population": 3, "epochs": 1}, "epochs 1 of a population: expected two or more"),
        ({"population": 3, "channels": Choice((2, 4))}, "channels of a population: it cannot change"),
        ({"population": 3, "augmentation": Choice(("none", "flipped"))}, "augmentation 'flipped'"),
        ({"population": 3, "drop_path": Range(low=0.0, high=2.0)}, "drop_path 2.0"),
        ({"population": 3, "budget": 1e-6}, "budget"),
        ({"population": 3, "seed": 2**63 - 2}, "seed of the last member"),
        ({"population": 3, "cpus_per_trial": 10_000.0}, "Lower --cpus-per-trial"),
        ({"learning_rate": Range(low=0.01, high=0.2, log=True)}, "learning_rate 0.01:0.2:log: one training has one"),
        ({"perturbation_interval": 2}, "perturbation_interval: it is of a population"),
        ({"address": "nowhere:1"}, "address: it is of a population"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], why: str
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # a session of other tests may have one
    settings: dict[str, Any] = {**TINY, "augmentation": "standard", "out": tmp_path / "run", **given}
    with pytest.raises(InvalidInput, match=why) as error:
        nasray.train(CELL, "nas_bench_201", "digits", **settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
