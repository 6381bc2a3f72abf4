from __future__ import annotations

import base64
import gzip
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nasray
from nasray.cli import main
from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.gates import architecture_of
from nasray.methods.random import random_mask
from nasray.pictures.report import document
from nasray.pictures.report.cells import Cells
from nasray.results.cell_costs import costs_of_rows
from nasray.runs import EVALUATIONS, open_storage, write_row
from nasray.spaces import CellSpace
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.dso import DSO
from search_spaces.architectures.gold import GOLD
from tests.report_runs import SIZE, made_run
from tests.run_files import Row, WriteRun


def figures(text: str) -> dict[str, Any]:
    """What a page draws."""
    (packed,) = re.findall(r'id="figures">([^<]*)<', text)
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return found


def column(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [None if i < 0 else values["of"][i] for i in values["is"]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "digits"
    made_run(folder)
    return folder


@pytest.fixture(scope="module")
def text(made: Path) -> str:
    return Path(nasray.open(made).report()).read_text(encoding="utf-8")


def test_the_page_has_every_row_and_what_its_run_says(made: Path, text: str) -> None:
    run, drawn = nasray.open(made), figures(text)
    rows = drawn["rows"]
    for name, called in (("architecture_id", "id"), ("macs", "macs"), ("accuracy", "value"), ("seed", "seed")):
        expected = [*run.evaluations[name], *run.candidates[name]]
        assert column(rows[called]) == (pytest.approx(expected) if name in ("macs", "accuracy") else expected)
    assert drawn["parts"] == ["trained from scratch, 15 epochs", "inherited weights"]
    assert list(drawn["knobs"]) == ["lambda0"]
    by_trial = run.candidates.set_index(["trial_id", "architecture_id"])["accuracy"].to_dict()
    found_by = zip(run.evaluations["search_trial_id"], run.evaluations["architecture_id"], strict=True)
    inherited = [by_trial.get(key) for key in found_by]
    assert sum(one is not None for one in inherited) == 18
    assert rows["inherited"][: len(inherited)] == pytest.approx(inherited)
    for said in (
        "trained with 3 seeds",
        "1 failed",
        "search00000: RuntimeError: made up",
        "test split is only",
    ):
        assert said in html.unescape(text)
    assert "nasray resume digits" in text
    hours = (8 * 16 + len(run.evaluations) * 9) / 3600
    assert drawn["hours"] == pytest.approx(hours)


def test_what_the_page_sums_up_are_the_multiply_adds_of_the_rows(text: str) -> None:
    drawn = figures(text)
    assert summed(drawn, range(drawn["count"])) == pytest.approx([1e6 * one for one in drawn["rows"]["macs"]], abs=0.5)


@pytest.mark.parametrize("space", [GOLD, DARTS, DSO], ids=lambda space: space.name)
def test_operations_add_up_to_the_network_in_cells_and_in_blocks(space: CellSpace) -> None:
    size = SIZE.replace(channels=6, cells=6 if space is DSO else 3)
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(8):
        masks = {name: random_mask(space.graph(name), 3, generator) for name in dict.fromkeys(space.layout(size.cells))}
        architecture = architecture_of(space, [masks[name] for name in space.layout(size.cells)])
        own = {
            "space": space.name,
            "channels": 6,
            "cells": size.cells,
            "settings": "{}",
            "macs": macs(space, architecture, size),
        }
        rows.append({**own, "architecture": architecture.to_json()})
    cells = Cells(lambda _: space)
    numbers = [cells.of(row["architecture"]) for row in rows]
    data = {"input_shape": list(size.input_shape), "classes": size.classes}
    sizes, places = costs_of_rows(pd.DataFrame(rows), data, lambda _: space, cells.choice)
    assert places == [0] * len(rows)
    drawn = {**cells.to_dict(), "sizes": sizes, "rows": {"cells": numbers, "size": places}}
    drawn = json.loads(json.dumps(drawn))
    assert summed(drawn, range(len(rows))) == pytest.approx([1e6 * row["macs"] for row in rows], abs=0.5)
    # Of data that the row was not made with, nothing is shown.
    other = {**data, "input_shape": [3, 16, 16]}
    assert costs_of_rows(pd.DataFrame(rows), other, lambda _: space, cells.choice) == ([], [-1] * len(rows))


def summed(drawn: dict[str, Any], rows: Any) -> list[float]:
    """What the page's script adds up, added up otherwise: position by position."""
    totals = []
    for row in rows:
        size = drawn["sizes"][drawn["rows"]["size"][row]]
        cells = {drawn["cells"][number]["name"]: drawn["cells"][number] for number in drawn["rows"]["cells"][row]}
        total = size["base"]
        for name, table in size["positions"]:
            used = [one for one in cells[name]["choices"] if one not in cells[name].get("dead", [])]
            total += sum(size["tables"][table][str(one)] for one in used)
            entered = {drawn["choices"][one][1] for one in used} if "nodes" in cells[name] else set()
            total += sum(size["nodes"][table][str(node)] for node in entered)
        totals.append(total)
    return totals


EVIL = "<script>window.evil=1</script>"


def test_nothing_of_a_run_becomes_part_of_the_page(tmp_path: Path, evaluation: Row) -> None:
    storage = open_storage(tmp_path / EVIL.replace("/", "_"))
    row = evaluation(
        run=EVIL, method=EVIL, dataset=EVIL, host=EVIL, device=EVIL, architecture=json.dumps({"cells": EVIL})
    )
    write_row(storage, EVALUATIONS, row, knobs={EVIL: EVIL})
    storage.write_json("run.json", {"sweep": {"name": EVIL, "</pre>": EVIL}, "versions": {EVIL: EVIL}, "command": EVIL})
    text = Path(nasray.report(str(storage))).read_text(encoding="utf-8")
    assert "window.evil" in html.unescape(text)
    assert "<script>window" not in text
    assert text.count("</pre>") == 1
    assert len(re.findall(r"<script\b", text)) == 3
    shown = nasray.open(str(storage))._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown


def test_a_run_shows_its_front_in_a_notebook(write_run: WriteRun) -> None:
    points = [(float(m), m / 100) for m in range(1, 31)]
    rows = [{"architecture_id": f"a{m:g}", "macs": m, "accuracy": a} for m, a in points]
    shown = nasray.open(str(write_run("run", rows)))._repr_html_()
    assert re.findall(r"<td>(a\d+)</td>", shown) == [f"a{m}" for m in range(1, 13)]
    assert "30 architectures on its front, of which 12 are shown" in shown
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert len(shown) < 150_000
    assert "no front yet" in nasray.open(str(write_run("empty", [])))._repr_html_()


def test_refusals_are_one_line(made: Path, write_run: WriteRun, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"has no candidates and no evaluations yet: there is nothing to report\.$"):
        nasray.report(str(write_run("empty", [])))
    with pytest.raises(InvalidInput, match=r"^No run to report"):
        nasray.report()
    assert main(["report", str(made), "--out", str(made / "no" / "x.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["report"]) == 2
    monkeypatch.setattr(document, "files", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)))
    with pytest.raises(InvalidInput, match=r"^The report needs plotly, which is not installed: pip install plotly\.$"):
        document.plotly_script()


def test_several_runs_share_a_page(tmp_path: Path, capsys: Any) -> None:
    for draw in (0, 1):
        made_run(tmp_path / f"part{draw}" / "same", draw=draw, searches=2, trained=2, seeds=(draw,), failed=0)
    folders = [str(tmp_path / f"part{draw}" / "same") for draw in (0, 1)]
    out = tmp_path / "both.html"
    assert main(["report", *folders, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    drawn = figures(out.read_text(encoding="utf-8"))
    assert drawn["rows"]["run"]["of"] == ["same (1)", "same (2)"]
    assert len(drawn["parts"]) == 2
    assert drawn["surfaces"]["over"] == "runs"
    assert set(drawn["surfaces"]["of"]) == {"gold_nas", "random"}
