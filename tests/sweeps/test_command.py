"""A run's folder holds the command that repeats it: in another folder it comes to the same tables."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray import registry
from nasray.cli import main
from nasray.cli.all_verbs import VERBS
from nasray.runs import open_storage
from nasray.settings import Choice
from nasray.sweeps import Sweep
from nasray.sweeps.changes import with_device
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.fitting import find_sweep
from nasray.sweeps.made import sweep_of
from tests.sweep_files import gold_sweep

EITHER = Choice((True, False))
VOLATILE = ("run", "created_at", "seconds", "peak_memory_bytes")


def parsed(words: list[str]) -> Sweep:
    assert words[:2] == ["nasray", "sweep"]
    values = VERBS["sweep"].taken(words[2:])
    return sweep_of(find_sweep(values.pop("sweep")), values)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in registry.names("sweep") if name != "images"),
        (
            "images",
            {"dataset": "digits", "channels": 4, "cells": 3, "epochs": 9, "training": {"seeds": (1,)}, "mu": 3.0},
        ),
        ("digits", {"lambda0": 0.05, "mu": 200.0, "name": "other", "seeds": (3, 4)}),
        ("digits", {"budget": 0.06, "random_baseline": False, "reference": (0.3, 0.1)}),
        ("digits", {"training": {"epochs": 3, "rungs": (1, 2), "nesterov": True}, "decay_normalisations": False}),
        ("digits", {"decay_normalisations": EITHER, "training": {"nesterov": EITHER}}),
        ("digits", {"method": "ista_nas", "space": "darts", "sparsity": 3}),
        ("digits", {"data_root": "/some where", "gpus_per_trial": "auto", "trackers": ("mlflow",)}),
        ("gold_cifar10", {"preset": "paper", "train_examples": 100}),
        ("digits", {"epochs": 9, "search_rungs": (2, 8), "search_reduction_factor": 2.0}),
        ("all_methods_digits", {"epochs": 30, "sparsity": 2}),
        ("nas_bench_201", {"table": "/t.csv", "table_unit": "fraction", "table_columns": ("a=12",), "seeds": (1,)}),
    ],
)
def test_the_command_makes_the_sweep_with_all_that_was_resolved(name: str, options: dict[str, Any]) -> None:
    sweep = with_device(sweep_of(find_sweep(name), options), "cpu")
    command = command_of(sweep, Source(name=name, options=options))["command"]
    again = parsed(shlex.split(shlex.join(command)))
    assert again.identity() == sweep.identity()
    left = dataclasses.replace(sweep.execution, storage="runs", address=None)
    assert again.execution == left
    if sweep.devices:
        assert "cpu" in command


def test_what_no_command_makes_says_why() -> None:
    sweep = registry.find("sweep", "all_methods_digits", Sweep)
    first = dataclasses.replace(sweep.arms[0], settings=dataclasses.replace(sweep.arms[0].settings, epochs=3))
    changed = dataclasses.replace(sweep, arms=(first, *sweep.arms[1:]))
    for source, why in ((None, "made in Python"), (Source(name="all_methods_digits"), "changed in Python")):
        values = command_of(changed, source)
        assert values["command"] is None
        assert why in values["why_no_command"]


@pytest.mark.parametrize("verb", ["search", "train"])
def test_a_single_run_is_repeated_by_its_command(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny: dict[str, Any] = dict(epochs=1, channels=2, cells=3, batch_size=32, train_examples=64, auxiliary_weight=0.0)
    if verb == "search":
        given: dict[str, Any] = {"seed": 3, "operations_per_node": 1, "budget": 500.0, **tiny}
        run = nasray.search("random", "gold", "digits", out="first", **given)
    else:
        run = nasray.train("DARTS_V2", "darts", "digits", out="first", seed=3, augmentation="standard", **tiny)
    assert run.command is not None
    program, *words = shlex.split(run.command)
    assert program == "nasray"
    assert main([*words, "--out", "again"]) == 0
    one, other = open_storage("first").read_json("run.json"), open_storage("again").read_json("run.json")
    assert one["identity"] == other["identity"]
    assert one["command"] == other["command"]
    table = "candidates" if verb == "search" else "evaluations"
    tables = [nasray.load(name, table).drop(columns=[*VOLATILE], errors="ignore") for name in ("first", "again")]
    pd.testing.assert_frame_equal(*(frame.drop(columns=["weights"], errors="ignore") for frame in tables))
    assert run.resume_command.startswith("nasray resume ")
    assert main(shlex.split(run.resume_command)[1:]) == 0
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_is_repeated_by_its_command(tmp_path: Path) -> None:
    name = gold_sweep(tmp_path, examples=96, settings={"epochs": 2}, evaluation={"epochs": 1}, mu=(0.0,))
    run = nasray.sweep(name, storage=str(tmp_path / "one"), lambda0=0.1, training={"drop_path": 0.1}, seeds=(1,))
    assert run.command is not None
    _, *words = shlex.split(run.command)
    assert main([*words, "--storage", str(tmp_path / "two")]) == 0
    again = nasray.open(tmp_path / "two" / "mine")
    assert run.storage.read_json("run.json")["identity"] == again.storage.read_json("run.json")["identity"]
    for table in ("candidates", "evaluations"):
        frames = [getattr(one, table).drop(columns=[*VOLATILE], errors="ignore") for one in (run, again)]
        pd.testing.assert_frame_equal(*frames)
