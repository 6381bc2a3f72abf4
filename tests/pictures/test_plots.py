from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from nasray.errors import InvalidInput
from nasray.fronts import attainment_surfaces, pareto_front
from nasray.pictures import plot_front
from nasray.pictures.plots import front_figure
from tests.run_files import Row


def rows(macs: list[float]) -> pd.DataFrame:
    accuracies = [0.5 + 0.1 * i for i in range(len(macs))]
    return pd.DataFrame({"macs": macs, "accuracy": accuracies, "epochs": 9, "complete": True})


def text_of(path: Path) -> str:
    # Text lies in the SVG as comments beside its outlines.
    return path.read_text()


@pytest.mark.parametrize(("ending", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_ending_chooses_the_format(tmp_path: Path, ending: str, begin: bytes) -> None:
    path = tmp_path / "new" / f"front.{ending}"
    plot_front({"gold": rows([1.0, 2.0, 4.0])}, path, points={"gold": rows([1.0, 2.0, 3.0, 4.0])}, title="digits")
    assert path.read_bytes().startswith(begin)
    if ending == "png":
        assert matplotlib.image.imread(path).std() > 0.01
    if ending == "svg":
        ElementTree.parse(path)
        for said in ("multiply-adds (M)", "accuracy (trained from scratch, validation split)", "gold (3 on its front)"):
            assert said in text_of(path)


def test_the_axis_says_what_was_looked_up() -> None:
    found = rows([1.0, 2.0]).assign(training="looked up")
    trained = rows([1.0, 2.0]).assign(training="from scratch")
    for points, said in ((found, "looked up in a table"), (trained, "trained from scratch, validation split")):
        (axes,) = front_figure({"run": found}, points={"run": points}).axes
        assert axes.get_ylabel() == f"accuracy ({said})"


def test_the_axis_is_logarithmic_over_more_than_a_decade(tmp_path: Path) -> None:
    # A linear axis of 1 to 200 has a tick at 150; a logarithmic one at powers of ten alone.
    plot_front({"a": rows([1.0, 50.0, 200.0])}, tmp_path / "log.svg")
    plot_front({"a": rows([100.0, 150.0, 200.0])}, tmp_path / "linear.svg")
    assert "<!-- 150 -->" not in text_of(tmp_path / "log.svg")
    assert "<!-- 10 -->" in text_of(tmp_path / "log.svg")
    assert "<!-- 140 -->" in text_of(tmp_path / "linear.svg")


def test_references_are_hollow_and_named_as_published() -> None:
    references = pd.DataFrame({"name": ["A", "B"], "macs": [500.0, 600.0], "accuracy": [0.97, 0.98]})
    figure = front_figure({"run": rows([1.0, 2.0])}, references=references.assign(accuracy_std=[0.001, float("nan")]))
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["run (2 on its front)", "A, published (test)", "B, published (test)"]
    marks = {
        tuple(line.get_xydata()[0]): line
        for line in axes.lines
        if line.get_marker() != "None" and len(line.get_xydata()) == 1
    }
    for x, y in ((500.0, 0.97), (600.0, 0.98)):
        assert marks[x, y].get_markerfacecolor() == "none"
    front = next(line for line in axes.lines if line.get_label() == named[0])
    assert front.get_markerfacecolor() != "none"
    # The front ends with its run's last row: nothing is said of what it would have at a reference's cost.
    assert max(x for line in axes.lines if len(line.get_xydata()) > 1 for x in line.get_xdata()) == 2.0
    assert axes.get_xscale() == "log"


def test_a_band_lies_between_the_outer_surfaces() -> None:
    fronts = [pd.DataFrame({"macs": [1.0, 2.0 + i], "accuracy": [0.5 + 0.01 * i, 0.8]}) for i in range(4)]
    surfaces = attainment_surfaces(fronts)
    figure = front_figure({}, bands={"gold": surfaces}, points={"gold": pd.concat(fronts)})
    (axes,) = figure.axes
    (legend,) = axes.get_legend_handles_labels()[1]
    assert legend == "gold: attained by 50 % of repetitions (band: 25 % to 75 %)"
    drawn = {tuple(map(tuple, line.get_xydata())) for line in axes.lines}
    for fraction in (0.25, 0.5, 0.75):
        corners = surfaces.loc[surfaces["fraction"] == fraction, ["macs", "accuracy"]].to_numpy()
        # A surface holds to the right of its last corner, to where the rows end.
        assert (*map(tuple, corners), (5.0, corners[-1][1])) in drawn
    (band,) = [one for one in axes.collections if type(one).__name__ == "FillBetweenPolyCollection"]
    y = band.get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == (pytest.approx(0.51), pytest.approx(0.8))
    front_figure({}, bands={"empty": attainment_surfaces([rows([])])})
    front_figure({}, bands={"one": attainment_surfaces(fronts, [1.0])})


def test_frames_without_rows_and_of_other_shapes_are_drawn(tmp_path: Path) -> None:
    plot_front({}, tmp_path / "nothing.svg")
    plot_front({"a": rows([])}, tmp_path / "empty.svg", points={"a": rows([0.0, 1.0]), "b": rows([float("nan")])})
    plot_front({"a": rows([2.0]).assign(accuracy_std=float("nan"))}, tmp_path / "one.svg")
    assert all("<svg" in (tmp_path / name).read_text() for name in ("nothing.svg", "empty.svg", "one.svg"))


def test_bad_input(tmp_path: Path, candidate: Row, evaluation: Row) -> None:
    with pytest.raises(InvalidInput, match=r"\.png, \.svg, \.pdf"):
        plot_front({}, tmp_path / "front.bmp")
    with pytest.raises(InvalidInput, match="'gold' has no column macs"):
        plot_front({"gold": pd.DataFrame({"accuracy": [1.0]})}, tmp_path / "front.png")
    fronts = {name: pareto_front(pd.DataFrame([row()])) for name, row in (("c", candidate), ("e", evaluation))}
    with pytest.raises(InvalidInput, match="one kind of accuracy"):
        plot_front(fronts, tmp_path / "front.png")
    assert list(tmp_path.iterdir()) == []


def test_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys, pandas as pd, nasray.pictures as r; assert 'matplotlib' not in sys.modules\n"
        "frame = pd.DataFrame({'macs': [1.0, 2.0], 'accuracy': [0.1, 0.2]})\n"
        f"r.plot_front({{'a': frame}}, {str(tmp_path / 'a.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"MPLBACKEND": "TkAgg", "HOME": str(tmp_path)})


def test_a_row_far_off_does_not_press_the_front_together() -> None:
    front = pd.DataFrame({"macs": [1.0, 2.0, 3.0, 4.0, 5.0], "accuracy": [0.90, 0.92, 0.94, 0.95, 0.96]})
    for far, axis in (({"macs": 1.5, "accuracy": 0.1}, "y"), ({"macs": 40_000.0, "accuracy": 0.9}, "x")):
        together = pd.concat([front, front, pd.DataFrame([far])], ignore_index=True)
        (axes,) = front_figure({"run": front}, points={"run": together}).axes
        low, high = axes.get_ylim()
        assert low <= 0.90
        assert high >= 0.96
        assert high - low < 0.2
        assert axes.get_xlim()[1] < 10
        assert axes.get_title(loc="right") == "1 row lies outside of this picture", axis
    (axes,) = front_figure({"run": front}, points={"run": front}).axes
    assert axes.get_title(loc="right") == ""


def test_labels_stand_at_their_marks() -> None:
    front = pd.DataFrame({"macs": [1.0, 2.0], "accuracy": [0.5, 0.7]})
    (axes,) = front_figure({"run": front}, labels={"run": ["A", "$B$"]}).axes
    labels = {text.get_text(): text.xy for text in axes.texts}  # type: ignore[attr-defined]
    assert labels == {"A": (1.0, 0.5), "$B$": (2.0, 0.7)}
