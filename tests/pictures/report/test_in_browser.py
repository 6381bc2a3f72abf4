"""The report in headless Chromium: filtered, sorted and clicked, by mouse and keyboard, on a desktop and a phone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray.fronts import average_over_seeds, pareto_front
from nasray.results import Run
from nasray.runs import EVALUATIONS, open_storage, write_row
from tests.browser import Browser, wait
from tests.report_runs import epochs_frame, made_run
from tests.run_files import Row

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]

TAB, DOWN, LEFT, RIGHT, END, SPACE = "\ue004", "\ue015", "\ue012", "\ue014", "\ue010", " "
FRONT = """
return document.getElementById('front-plot').data.filter(trace => trace.mode === 'markers' && trace.name)
  .map(trace => [trace.name, trace.x, trace.y, trace.error_y ? trace.error_y.array : []]);
"""
# A real click at a mark: where it stands on the screen.
MARK = """
const plot = document.getElementById('front-plot'), box = plot.getBoundingClientRect();
const trace = plot.data.find(one => one.name), {xaxis, yaxis} = plot._fullLayout;
const x = xaxis._offset + xaxis.d2p(trace.x[PLACE]), y = yaxis._offset + yaxis.d2p(trace.y[PLACE]);
return [Math.round(box.x + x), Math.round(box.y + y)];
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "made_up"
    made_run(folder)
    patch = pytest.MonkeyPatch()
    patch.setattr(Run, "epochs", property(lambda _: epochs_frame()), raising=False)
    nasray.open(folder).report()
    patch.undo()
    return folder


def open_page(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    wait(lambda: browser.run("return document.documentElement.dataset.ready"), 60)


def cells(browser: Browser, column: int) -> list[str]:
    return list(
        browser.run(f"return [...document.querySelectorAll('#table tbody tr')].map(r => r.cells[{column}].textContent)")
    )


def headings(browser: Browser) -> list[str]:
    return [
        text.rstrip(" ▲▼")
        for text in browser.run("return [...document.querySelectorAll('#table th')].map(h => h.textContent)")
    ]


def selected(browser: Browser) -> str:
    return str(browser.run("return document.querySelector('#details h3').textContent")).removeprefix("Architecture ")


def fronts(browser: Browser) -> dict[str, pd.DataFrame]:
    drawn = {name.split()[0]: (x, y, error) for name, x, y, error in browser.run(FRONT)}
    return {
        name: pd.DataFrame({"macs": x, "accuracy": y, "std": error or 0.0}) for name, (x, y, error) in drawn.items()
    }


def choose(browser: Browser, id: str, value: str) -> None:
    set_value = f"const one = document.getElementById('{id}'); one.value = {json.dumps(value)};"
    browser.run(f"{set_value} one.dispatchEvent(new Event('change'))")


def test_the_page_is_filtered_sorted_and_clicked(browser: Browser, made: Path) -> None:
    browser.size(1280, 900)
    open_page(browser, made / "report.html")
    run = nasray.open(made)

    # Its fronts are those of means over seeds, as pareto_front has them.
    def expected(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        return {method: pareto_front(average_over_seeds(own)) for method, own in rows.groupby("method")}

    def check(rows: pd.DataFrame) -> None:
        drawn, wanted = fronts(browser), expected(rows)
        assert drawn.keys() == wanted.keys()
        for method, own in wanted.items():
            assert drawn[method]["macs"].tolist() == pytest.approx(own["macs"].tolist())
            assert drawn[method]["accuracy"].tolist() == pytest.approx(own["accuracy"].tolist())
            if own["seeds"].max() > 1:
                assert drawn[method]["std"].tolist() == pytest.approx(own["accuracy_std"].tolist())

    rows = run.evaluations
    check(rows)
    choose(browser, "budget-number", "0.1")
    check(rows[rows["macs"] <= 0.1])
    browser.click("#seeds input", 0)
    check(rows[(rows["macs"] <= 0.1) & (rows["seed"] != 0)])
    browser.click("#methods input", 1)
    check(rows[(rows["macs"] <= 0.1) & (rows["seed"] != 0) & (rows["method"] == "gold_nas")])
    browser.click("#methods input", 1)
    browser.click("#seeds input", 0)
    choose(browser, "budget-number", "")

    # A heading sorts, and again the other way round.
    macs = headings(browser).index("Macs (M)")
    for direction in ("ascending", "descending"):
        browser.click("#table th button", macs)
        assert browser.run(f"return document.querySelectorAll('#table th')[{macs}].ariaSort") == direction
        shown = [float(text) for text in cells(browser, macs)]
        order = rows["macs"].sort_values(ascending=direction == "ascending").head(len(shown))
        assert shown == pytest.approx(order.tolist(), rel=1e-3)

    # A row and a mark select, and the cells are drawn with what they cost.
    identity = headings(browser).index("Architecture")
    browser.click("#table tbody tr", 2)
    assert selected(browser) == cells(browser, identity)[2]
    assert len(browser.elements("#details svg.cell")) == 3
    assert "multiply-adds" in browser.run("return document.querySelector('#details h4').textContent")
    browser.run("scrollTo(0, 0)")
    front = expected(rows)["gold_nas"]
    x, y = browser.run(MARK.replace("PLACE", str(len(front) - 1)))
    moves = [
        {"type": "pointerMove", "x": x, "y": y},
        {"type": "pointerDown", "button": 0},
        {"type": "pointerUp", "button": 0},
    ]
    # Plotly knows what lies under the pointer from its last move.
    moves = [{"type": "pointerMove", "x": x - 3, "y": y}, {"type": "pause", "duration": 200}, *moves]
    browser.act("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})
    wait(lambda: selected(browser) == front["architecture_id"].iloc[-1], 10)

    # Candidates, of which every search's prunings are drawn, and all other figures.
    choose(browser, "part", "1")
    assert browser.run("return document.getElementById('rows-said').textContent").startswith(
        f"{len(run.candidates)} rows"
    )
    browser.click("#table tbody tr", 0)
    assert browser.elements("#details table.choices")
    choose(browser, "part", "0")
    for section in ("search", "knobs", "importance", "retrained", "curves"):
        browser.run(f"document.getElementById('{section}').scrollIntoView()")
        wait(lambda one=section: browser.run(f"return (document.getElementById('{one}-plot').data || []).length"), 20)
    assert browser.run("return document.getElementById('search-plot').data.length") == 8
    assert "Kendall's tau is " in browser.text()
    assert browser.run("return document.getElementById('curves-plot').data[0].x.length") == 15
    # The one knob has all of the importance, and its effect is that of eight searches at four values, with intervals.
    told = nasray.importance(made)
    bars = browser.run("return document.getElementById('importance-plot').data.map(one => one.x[0])")
    assert bars == pytest.approx(told["importance"].tolist())
    effect = nasray.effects(made, setting="lambda0")
    for panel, name in enumerate(("accuracy", "macs", "hypervolume")):
        own = effect[effect["metric"] == name]
        line = browser.run(f"const one = document.getElementById('effects-plot').data[{panel}]; return [one.x, one.y]")
        assert line == [pytest.approx(own["value"].tolist()), pytest.approx(own["mean"].tolist())]
    assert "8 searches of gold_nas on gold" in browser.text()
    picture(browser, "report_desktop.png")

    severe = [one for one in browser.log() if one["level"] == "SEVERE"]
    assert not severe
    assert {address.partition(":")[0] for address in browser.traffic()} <= {"file", "data", "blob"}


def test_the_keyboard_is_enough(browser: Browser, made: Path) -> None:
    browser.size(1280, 900)
    open_page(browser, made / "report.html")
    identity = headings(browser).index("Architecture")
    browser.run("document.querySelector('#table tbody tr[tabindex=\"0\"]').focus()")
    place = browser.run("return document.activeElement.rowIndex")
    browser.press(DOWN)
    assert browser.run("return document.activeElement.rowIndex") == place + 1
    assert selected(browser) == cells(browser, identity)[place]
    browser.press(END)
    assert selected(browser) == cells(browser, identity)[-1]
    assert browser.run("return document.activeElement.getAttribute('aria-selected')") == "true"
    assert browser.run("return document.getElementById('page-said').textContent") == "Page 2 of 2"

    browser.run("document.getElementById('front-plot').focus()")
    browser.press(LEFT)
    last = selected(browser)
    browser.press(LEFT)
    assert selected(browser) != last
    browser.press(RIGHT)
    assert selected(browser) == last

    browser.run("document.getElementById('effect').focus()")
    assert browser.run("return document.activeElement.id") == "effect"
    browser.run("document.querySelector('#methods input').focus()")
    browser.press(SPACE)
    assert list(fronts(browser)) == ["random"]
    # From the top every control is reached by Tab, and each says what it is.
    browser.run("document.querySelector('#filters-box summary').focus()")
    reached = set()
    for _ in range(60):
        browser.press(TAB)
        name = browser.run("const one = document.activeElement; return one.id || one.closest('[id]')?.id")
        reached.add(name)
    assert {
        "part",
        "cost",
        "budget",
        "budget-number",
        "methods",
        "seeds",
        "front-plot",
        "table",
        "only-front",
    } <= reached
    unnamed = """
    return [...document.querySelectorAll('select, input, button')].filter(one => one.offsetParent &&
      !(one.labels?.length || one.ariaLabel || one.textContent.trim())).map(one => one.outerHTML);
    """
    assert browser.run(unnamed) == []


def test_a_phone_shows_all_of_it(browser: Browser, made: Path) -> None:
    browser.size(390, 844, phone=True)
    open_page(browser, made / "report.html")
    assert browser.run("return document.documentElement.scrollWidth") == 390
    assert not browser.run("return document.getElementById('filters-box').open")
    browser.click("#filters-box summary")
    choose(browser, "budget-number", "0.1")
    assert max(fronts(browser)["gold_nas"]["macs"]) <= 0.1
    browser.run("document.getElementById('rows').scrollIntoView()")
    browser.click("#table tbody tr", 1)
    assert selected(browser) == cells(browser, headings(browser).index("Architecture"))[1]
    assert browser.run("return document.documentElement.scrollWidth") == 390
    browser.run("document.getElementById('importance').scrollIntoView()")
    wait(lambda: browser.run("return (document.getElementById('effects-plot').data || []).length"), 20)
    assert browser.run("return document.documentElement.scrollWidth") == 390
    choose(browser, "budget-number", "")
    browser.click("#filters-box summary")
    picture(browser, "report_phone.png")


def picture(browser: Browser, name: str) -> None:
    """Kept where somebody asks for pictures."""
    if "NASRAY_PICTURES" in os.environ:
        browser.run("scrollTo(0, 0)")
        browser.picture(Path(os.environ["NASRAY_PICTURES"]) / name)


EVIL = "<img src=x onerror='window.evil=1'><script>window.evil=1</script>"


def test_nothing_of_a_run_runs(browser: Browser, tmp_path: Path, evaluation: Row, candidate: Row) -> None:
    storage = open_storage(tmp_path / EVIL.replace("/", ""))
    evil: dict[str, Any] = dict.fromkeys(("run", "method", "dataset", "host", "device", "architecture_id"), EVIL)
    architecture = json.dumps({"space": EVIL, "cells": {EVIL: [[0, 2, EVIL], [1, 2, EVIL]]}})
    for number, macs in enumerate((1.0, 2.0)):
        row = evaluation(**evil, architecture=architecture, macs=macs, search_trial_id=EVIL, seed=number)
        write_row(storage, EVALUATIONS, row, knobs={EVIL: f"{EVIL}{number}"})
    storage.write_json("run.json", {"sweep": {"name": EVIL}, "command": EVIL})
    page = Path(nasray.report(str(storage), out=tmp_path / "evil.html"))
    open_page(browser, page)
    for section in ("knobs", "made"):
        browser.run(f"document.getElementById('{section}').scrollIntoView()")
    wait(lambda: browser.run("return (document.getElementById('knobs-plot').data || []).length"), 20)
    assert browser.run("return window.evil === undefined")
    assert not browser.elements("img[src=x]")
    assert EVIL in browser.text()
    assert not [one for one in browser.log() if one["level"] == "SEVERE"]
