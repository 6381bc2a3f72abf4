"""``nasray front``: what it prints, draws and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nasray.cli import main
from nasray.runs import EVALUATIONS, open_storage, write_row

ROW = {
    "method": "random", "space": "darts", "dataset": "digits", "seed": 0, "architecture": "{}", "params": 1.0,
    "settings": '{"learning_rate": 0.025}', "versions": "{}", "host": "h", "device": "cpu", "train_examples": 9,
    "architecture_examples": 0, "validation_examples": 9, "test_examples": 9, "channels": 16, "cells": 8, "epochs": 5,
    "complete": True, "test_accuracy": 0.5, "seconds": 1.0,
}  # fmt: skip


def write_run(folder: Path, points: list[tuple[float, float]], reference: float = 100.0, **changes: Any) -> str:
    storage = open_storage(folder)
    storage.write_json("run.json", {"reference": [reference, 0.1], "sweep": {"name": folder.name, "method": "random"}})
    told = {"training": "from scratch"} if "training" in EVALUATIONS.names else {}
    for i, (macs, accuracy) in enumerate(points):
        row = {**ROW, **told, "run": folder.name, "architecture_id": f"a{i}", "macs": macs, "accuracy": accuracy}
        write_row(storage, EVALUATIONS, {**row, **changes})
    return str(folder)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    points = [[(10, 0.5), (30, 0.9)], [(20, 0.8)], [(10, 0.6), (40, 0.7)]]
    return [write_run(tmp_path / f"r{i}", own) for i, own in enumerate(points)]


def test_repetitions_are_told_and_drawn(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["front", *runs, "--repeats", "runs", "--plot", str(tmp_path / "bands.svg")]) == 0
    out = capsys.readouterr().out
    assert "3 repetitions" in out
    # 64, 56 and 51 by hand.
    assert "hypervolume: mean 57, standard deviation 6.56, quartiles 53.5, 56, 60 (reference point: 100 M" in out
    assert "random: attained by 50 % of repetitions" in (tmp_path / "bands.svg").read_text()
    assert main(["front", *runs, "--repeats", "runs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["methods"]["random"]["hypervolume"]["quartiles"] == pytest.approx([53.5, 56, 60])
    assert told["methods"]["random"]["hypervolume"]["of_each"] == pytest.approx([64, 56, 51])
    assert told["methods"]["random"]["spread"][0] == {
        "macs": 10, "mean": None, "std": None, "25 %": 0.6, "50 %": 0.5, "75 %": None
    }  # fmt: skip
    assert told["reference"] == {"macs": 100, "accuracy": 0.1}


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"reference": 90.0}, ["--repeats", "runs"], "reference points that differ"),
        ({"epochs": 50}, [], "epochs (5, 50)"),
        ({"dataset": "cifar10"}, [], "dataset (cifar10, digits)"),
        ({"cells": 20}, [], "cells (20, 8)"),
        ({"settings": '{"learning_rate": 0.1}'}, [], "learning_rate (0.025, 0.1)"),
        ({"settings": '{"learning_rate": 0.1}'}, ["--repeats", "runs"], "learning_rate (0.025, 0.1)"),
        ({}, ["--repeats", "often"], "runs"),
        ({}, ["--only", "epochs=6"], "epochs=5"),
    ],
)
def test_it_refuses_in_one_line(
    runs: list[str],
    tmp_path: Path,
    changes: dict[str, Any],
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = write_run(tmp_path / "other", [(10, 0.5)], **changes)
    assert main(["front", *runs, other, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_the_refused_can_be_told_apart(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "r0", [(5, 0.95)], epochs=50)
    assert main(["front", *runs]) == 2
    assert "epochs (5, 50)" in capsys.readouterr().err
    assert main(["front", *runs, "--only", "epochs=5"]) == 0
    assert "5 epochs" in capsys.readouterr().out
