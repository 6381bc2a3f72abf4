"""``nasray front``: what it prints, draws and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nasray
from nasray.cli import main
from nasray.cli.comparison import marks
from nasray.errors import DamagedFilesWarning
from nasray.runs import EVALUATIONS, open_storage, write_row

ROW = {
    "method": "random", "space": "darts", "dataset": "digits", "seed": 0, "architecture": "{}", "params": 1.0,
    "settings": '{"learning_rate": 0.025}', "versions": "{}", "host": "h", "device": "cpu", "train_examples": 9,
    "architecture_examples": 0, "validation_examples": 9, "test_examples": 9, "channels": 16, "cells": 8, "epochs": 5,
    "metric": "accuracy",
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


HOSTILE = "x\x1b[31m\x07\n\r\u202eevil\u2066\x9b2J$\\frac{$_"


def is_plain(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--repeats", "runs"], ["--repeats", "runs", "--json"]])
def test_what_a_foreign_table_says_is_printed_and_drawn_as_text(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = dict.fromkeys(["method", "space", "dataset", "architecture_id", "run", "device", "host"], HOSTILE)
    runs = [write_run(tmp_path / f"r{i}", [(10 + i, 0.5), (20, 0.5 + i / 10)], **text) for i in range(2)]
    for ending in ("svg", "png"):
        assert main(["front", *runs, *arguments, "--plot", str(tmp_path / f"front.{ending}")]) == 0
    out, err = capsys.readouterr()
    assert is_plain(out)
    assert err == ""
    assert "evil" in out
    if arguments == ["--repeats", "runs"]:
        assert r"x\x1b[31m" in (tmp_path / "front.svg").read_text()


def test_what_a_foreign_table_says_is_plain_in_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, column in enumerate(["dataset", "settings", "method", "metric"]):
        value = json.dumps({"schedule": HOSTILE}) if column == "settings" else HOSTILE
        changes = {} if column == "metric" else {column: value}
        runs = [write_run(tmp_path / f"{column}{j}", [(10, 0.5)], **(changes if j else {})) for j in range(2)]
        if column == "metric":
            (path,) = Path(runs[0], "evaluations").glob("*.parquet")
            rows = pq.read_table(path)
            foreign = rows.set_column(rows.column_names.index("metric"), "metric", pa.array([HOSTILE]))
            pq.write_table(foreign, path.with_name(f"\x1b[31m{i}.parquet"))
            with pytest.warns(DamagedFilesWarning) as caught:
                nasray.load(runs[0])
            assert all(str(one.message).isprintable() for one in caught)
        code = main(["front", runs[1], "--only", "method=nothing"] if column == "method" else ["front", *runs])
        assert code == (1 if column == "metric" else 2)
        out, err = capsys.readouterr()
        assert is_plain(out)
        assert is_plain(err)
        assert "1b" in err


def test_the_refused_can_be_told_apart(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "r0", [(5, 0.95)], epochs=50)
    assert main(["front", *runs]) == 2
    assert "epochs (5, 50)" in capsys.readouterr().err
    assert main(["front", *runs, "--only", "epochs=5"]) == 0
    assert "5 epochs" in capsys.readouterr().out


def test_a_front_over_a_cost_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "r", [(10, 0.5)], joules=3.0)
    write_run(tmp_path / "r", [(20, 0.4)], joules=1.0, architecture_id="thrifty")
    assert main(["front", run, "--cost", "joules", "--plot", str(tmp_path / "front.svg")]) == 0
    out = capsys.readouterr().out
    assert out.split()[:3] == ["mark", "joules", "macs"]
    assert "thrifty" in out
    assert "(reference point: joules 3, accuracy 0.1)" in out
    assert "joules" in (tmp_path / "front.svg").read_text()
    assert main(["front", run, "--cost", "joules", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reference"] == {"joules": 3.0, "accuracy": 0.1}
    assert main(["front", run, "--cost", "joules", "--references", "all"]) == 2
    assert capsys.readouterr().err == (
        "nasray: --references with --cost 'joules': published architectures have macs only\n"
    )


def test_table_and_picture_call_rows_by_the_same_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / name, points) for name, points in (("r", [(10, 0.5), (30, 0.7)]), ("s", [(20, 0.6)]))]
    assert main(["front", *runs, "--plot", str(tmp_path / "front.svg")]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()[1:4]]
    assert [(row[0], float(row[1])) for row in table] == [("A", 10.0), ("B", 20.0), ("C", 30.0)]
    drawn = (tmp_path / "front.svg").read_text()
    assert all(f"<!-- {mark} -->" in drawn for mark in "ABC")
    assert "<!-- D -->" not in drawn
    assert main(["front", *runs]) == 0
    assert "mark" not in capsys.readouterr().out
    assert (marks(27)[-2:], marks(703)[-1]) == (["Z", "AA"], "AAA")


def test_a_budget_that_nothing_meets_says_the_smallest(write_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(write_run("run", [{"architecture_id": "a", "macs": 2.0, "accuracy": 0.5}]))
    for budget, said in (("0.5", "is within 0.5 M multiply-adds: the smallest has 2 M"), ("nan", "a number above 0")):
        assert main(["front", run, "--budget", budget]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_spreadsheet_computes_nothing_of_a_front(write_run: Any, tmp_path: Path) -> None:
    run = str(write_run("run", [{"architecture_id": "=1+1", "macs": 2.0, "accuracy": 0.5, "host": "@here"}]))
    assert main(["front", run, "--csv", str(tmp_path / "front.csv")]) == 0
    (row,) = pd.read_csv(tmp_path / "front.csv").to_dict("records")
    assert (row["architecture_id"], row["host"], row["macs"]) == ("'=1+1", "'@here", 2.0)
