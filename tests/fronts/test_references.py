"""Published architectures as points: figures as printed in the papers, costs recounted by hand elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.fronts.references import reference_points
from nasray.runs import EVALUATIONS, open_storage, write_row
from nasray.spaces import Reference

# Test error in %, its spread as printed, and multiply-adds in M as recounted in tests/costs/test_table.py.
CIFAR = {"DARTS_V1": (3.00, 0.14, 500.99), "DARTS_V2": (2.76, 0.09, 528.36), "PC_DARTS_cifar": (2.57, 0.07, 556.67)}
IMAGENET = {"DARTS_V2": (26.7, 529.91), "PC_DARTS_cifar": (25.1, 571.14), "PC_DARTS_image": (24.2, 581.63)}

OWN_SPACE = """
import dataclasses
from nasray import registry
darts = registry.find("space", "darts")
one = dataclasses.replace(darts.references["DARTS_V2"], published={"digits": {"test_error_pct": 1.5}})
MINE = dataclasses.replace(
    darts,
    name="mine",
    references={"MINE": one},
    published_sizes={"digits": dataclasses.replace(darts.published_sizes["cifar10"], input_shape=(1, 8, 8))},
)
BROKEN = dataclasses.replace(MINE, references={"MINE": None})
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run on CIFAR-10 with two architectures trained from scratch."""
    row = {
        "run": "one", "method": "random", "space": "darts", "dataset": "cifar10", "seed": 0, "architecture": "{}",
        "params": 1.0, "settings": "{}", "versions": "{}", "host": "h", "device": "cpu", "train_examples": 9,
        "architecture_examples": 0, "validation_examples": 9, "test_examples": 9, "channels": 16, "cells": 8,
        "epochs": 5, "complete": True, "metric": "accuracy", "test_accuracy": 0.5, "seconds": 1.0,
    }  # fmt: skip
    storage = open_storage(tmp_path / "one")
    storage.write_json("run.json", {"reference": [1000.0, 0.1]})
    for name, macs, accuracy in (("a", 40.0, 0.8), ("b", 60.0, 0.85)):
        optional = {"training": "from scratch"} if "training" in EVALUATIONS.names else {}
        write_row(
            storage, EVALUATIONS, {**row, **optional, "architecture_id": name, "macs": macs, "accuracy": accuracy}
        )
    return tmp_path / "one"


def test_all_that_were_published_for_cifar10() -> None:
    points = reference_points(["all"], "cifar10").set_index("name")
    assert set(CIFAR) <= set(points.index)
    for name, (error, spread, macs) in CIFAR.items():
        assert points.loc[name, "accuracy"] == pytest.approx(1 - error / 100)
        assert points.loc[name, "accuracy_std"] == pytest.approx(spread / 100)
        assert points.loc[name, "macs"] == pytest.approx(macs, abs=5.1e-3)
    # Its cell is public, its accuracy is not.
    assert "GOLD_s1" not in points.index
    assert points["source"].str.len().min() > 5


def test_imagenet_has_another_size_and_no_spread() -> None:
    points = reference_points(list(IMAGENET), "imagenet").set_index("name")
    for name, (error, macs) in IMAGENET.items():
        assert points.loc[name, "accuracy"] == pytest.approx(1 - error / 100)
        assert points.loc[name, "macs"] == pytest.approx(macs, abs=5.1e-3)
    assert points["accuracy_std"].isna().all()


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("2.53±0.08", (0.9747, 0.0008)), ("2.54+-0.05", (0.9746, 0.0005)), (" 3.00 +/- 0.14 ", (0.97, 0.0014)),
        (2.36, (0.9764, None)), ("2.5 (best of 4)", None), ("n/a", None), (None, None),
    ],
)  # fmt: skip
def test_figures_as_they_are_printed(printed: object, expected: tuple[float, float | None] | None) -> None:
    reference = Reference(genotype={}, source="s", published={"cifar10": {"test_error_pct": printed}})
    found = reference.test_accuracy("cifar10")
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found[0] == pytest.approx(expected[0])
        assert found[1] == (expected[1] if expected[1] is None else pytest.approx(expected[1]))
    assert reference.test_accuracy("digits") is None


@pytest.mark.parametrize(
    ("names", "dataset", "said"),
    [
        (["DARTS_V9"], "cifar10", r"DARTS_V9 on cifar10: expected .*DARTS_V2.*all"),
        (["DARTS_V2", "GOLD_s1"], "cifar10", "references GOLD_s1 on cifar10"),
        (["PC_DARTS_image"], "cifar10", "PC_DARTS_image"),
        (["all"], "digits", "no space has published figures"),
    ],
)
def test_what_has_no_figures_is_refused(names: list[str], dataset: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        reference_points(names, dataset)


def test_a_space_of_ones_own_and_a_broken_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_SPACE)
    spaces = [f"{tmp_path}/mine.py:{name}" for name in ("BROKEN", "MINE", "NOTHING")]
    points = reference_points(["all"], "digits", spaces)
    assert points["name"].tolist() == ["MINE"]
    assert points["accuracy"].tolist() == [0.985]
    assert 0 < points["macs"].item() < 50  # 8x8 images in place of 32x32


def test_they_are_shown_only_when_asked_for_and_stand_on_no_front(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["front", str(run), "--plot", str(tmp_path / "front.svg")]
    assert main(command) == 0
    without = capsys.readouterr().out
    assert "DARTS_V2" not in without + (tmp_path / "front.svg").read_text()
    assert main([*command, "--references", "DARTS_V2", "PC_DARTS_cifar"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(without)
    said = out.removeprefix(without)
    assert "published (test split" in said
    assert "528.4" in said
    assert "0.9724" in said
    picture = (tmp_path / "front.svg").read_text()
    for name in ("DARTS_V2", "PC_DARTS_cifar"):
        assert f"<!-- {name}, published (test) -->" in picture
    assert "<!-- DARTS_V1" not in picture
    assert main(["front", str(run), "--json", "--references", "DARTS_V1,DARTS_V2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["references"]] == ["DARTS_V1", "DARTS_V2"]
    assert [one["macs"] for one in told["front"]] == [40, 60]
    # 940 M wide and 0.75 high, less what the cheaper one lacks: no reference adds to it.
    assert told["hypervolume"] == pytest.approx(940 * 0.75 + 20 * 0.7)


def test_an_unknown_one_is_refused_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["front", str(run), "--references", "DARTS_V9"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "DARTS_V9" in err
    assert "DARTS_V2" in err


def test_only_references_need_torch(run: Path) -> None:
    code = (
        "import sys\nfrom nasray.cli import main\n"
        f"assert main(['front', {str(run)!r}]) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
