"""Tables of tasks that nasray does not have yet: perplexity, of which less is better, and mean IoU.

All figures are compared with a reading of every pair, or of every unit square.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.fronts import (
    attained,
    attainment_surfaces,
    average_over_seeds,
    front_across,
    hypervolume,
    near_front,
    pareto_front,
    repetitions,
)
from nasray.pictures.plots import front_figure
from nasray.runs import EVALUATIONS, Storage, compact, read, write_row
from nasray.runs.schema import metric_of
from nasray.spaces.metric import ACCURACY, MEAN_IOU, METRICS, PERPLEXITY, Metric, metric_of_task
from tests.run_files import Row, WriteRun

POINTS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=15)
ALL = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def frame_of(points: Any, metric: Metric) -> pd.DataFrame:
    return pd.DataFrame(points, columns=["macs", metric.name], dtype=float).assign(metric=metric.name)


def better(one: float, other: float, metric: Metric) -> bool:
    return one > other if metric.higher_is_better else one < other


def beats(one: Any, other: Any, metric: Metric) -> bool:
    no_worse = one[0] <= other[0] and not better(other[1], one[1], metric)
    return no_worse and (one[0] < other[0] or better(one[1], other[1], metric))


@ALL
@given(points=POINTS, within=st.integers(0, 4))
def test_fronts_go_the_metric_s_way(metric: Metric, points: list[Any], within: int) -> None:
    frame = frame_of(points, metric)
    front = pareto_front(frame)
    on_front = {p for p in map(tuple, points) if not any(beats(other, p, metric) for other in points)}
    assert sorted(zip(front["macs"], front[metric.name], strict=True)) == sorted(on_front)
    # The column alone tells the metric too.
    pd.testing.assert_frame_equal(pareto_front(frame.drop(columns="metric")), front.drop(columns="metric"))
    near = near_front(frame, within)
    expected = {(m, v) for m, v in points if not any(m2 <= m and -metric.sign * (v2 - v) > within for m2, v2 in points)}
    assert set(zip(near["macs"], near[metric.name], strict=True)) == expected


@ALL
@given(points=POINTS, x=st.integers(0, 12), y=st.integers(0, 12))
def test_hypervolume_counts_the_squares_that_are_dominated(metric: Metric, points: list[Any], x: int, y: int) -> None:
    squares = {
        (i, j)
        for m, v in points
        for i in range(m, x)
        for j in (range(y, v) if metric.higher_is_better else range(v, y))
    }
    assert hypervolume(frame_of(points, metric), (x, y)) == pytest.approx(len(squares))


@ALL
@given(fronts=st.lists(POINTS, min_size=1, max_size=4), fraction=st.sampled_from([0.25, 0.5, 1.0]))
def test_surfaces_are_what_so_many_attain(metric: Metric, fronts: list[Any], fraction: float) -> None:
    surface = attainment_surfaces([frame_of(points, metric) for points in fronts], [fraction])
    costs = range(-1, 13)
    found = attained(surface, costs)
    needed = int(np.ceil(fraction * len(fronts)))
    for cost, value in zip(costs, found, strict=True):
        reach = [[v for m, v in points if m <= cost] for points in fronts]
        best = sorted((min(own, key=lambda v: metric.sign * v) for own in reach if own), key=lambda v: metric.sign * v)
        assert np.isnan(value) if len(best) < needed else value == best[needed - 1]


def rows_of(metric: Metric, points: list[tuple[float, float]], **more: Any) -> list[dict[str, Any]]:
    return [
        {"architecture_id": f"a{i}", "macs": macs, "metric": metric.name, "accuracy": None, "test_accuracy": None}
        | {metric.name: value, metric.test_column: value, **more}
        for i, (macs, value) in enumerate(points)
    ]


WORDS = [(10.0, 90.0), (20.0, 60.0), (30.0, 70.0)]


def test_a_run_of_another_metric_is_read_fronted_and_drawn(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {
        name: write_run(name, rows_of(PERPLEXITY, points), reference=(100.0, worst))
        for name, points, worst in (("a", WORDS, 200.0), ("b", [(15.0, 50.0)], 300.0))
    }
    for run in runs.values():
        compact(run, EVALUATIONS)
    found = front_across(runs)
    assert found.rows.metric is PERPLEXITY
    assert found.front[["macs", "perplexity"]].to_numpy().tolist() == [[10, 90], [15, 50]]
    assert found.reference == (100.0, 300.0)
    assert found.hypervolume == pytest.approx(90 * (300 - 90) + 85 * (90 - 50))
    same = {name: write_run(f"r{name}", rows_of(PERPLEXITY, WORDS), reference=(100.0, 200.0)) for name in "ab"}
    repeated = repetitions(same)
    assert set(repeated.volumes["hypervolume"]) == {90 * 110 + 80 * 30}
    assert repeated.spread["gold_nas"]["mean"].tolist() == [90, 60]
    assert main(["front", *map(str, runs.values()), "--plot", str(tmp_path / "front.svg")]) == 0
    out = capsys.readouterr().out
    assert "test_perplexity" in out
    assert "accuracy" not in out
    assert "perplexity: trained from scratch, validation split, 5 epochs" in out
    assert "(reference point: 100 M, perplexity 300)" in out
    assert "perplexity (trained from scratch, validation split)" in (tmp_path / "front.svg").read_text()
    assert main(["front", *map(str, runs.values()), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reference"] == {"macs": 100, "perplexity": 300}
    (axes,) = front_figure({"a": found.fronts["a"]}, bands={"a": repeated.surfaces["gold_nas"]}).axes
    assert axes.get_ylabel() == "perplexity (trained from scratch, validation split)"


def test_single_searches_have_their_own_worst_corner(write_run: WriteRun) -> None:
    ups = {"a": write_run("a", rows_of(MEAN_IOU, [(10.0, 0.25), (20.0, 0.5)]), reference=None)}
    assert front_across(ups).reference == (20.0, 0.0)
    downs = {"b": write_run("b", rows_of(PERPLEXITY, WORDS), reference=None)}
    assert front_across(downs).reference == (30.0, 90.0)


def test_seeds_are_averaged_in_the_metric_s_columns(write_run: WriteRun) -> None:
    run = write_run("a", [row for seed in range(2) for row in rows_of(MEAN_IOU, [(1.0, 0.25 + seed / 2)], seed=seed)])
    (row,) = average_over_seeds(read(run, EVALUATIONS)).to_dict("records")
    assert (row["mean_iou"], row["test_mean_iou"], row["metric"]) == (0.5, 0.5, "mean_iou")
    assert row["mean_iou_std"] == pytest.approx(0.5**0.5 / 2)


def test_metrics_never_mix(write_run: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    runs = {
        "a": write_run("a", rows_of(PERPLEXITY, WORDS)),
        "b": write_run("b", rows_of(ACCURACY, [(1.0, 0.5)])),
    }
    frame = pd.concat([read(run, EVALUATIONS) for run in runs.values()], ignore_index=True)
    said = "metric accuracy, perplexity"
    for act in (
        pareto_front,
        average_over_seeds,
        lambda f: near_front(f, 0.1),
        lambda f: hypervolume(f, (100.0, 0.0)),
        lambda f: pareto_front(f, metric="accuracy"),
        lambda f: attainment_surfaces([f]),
        lambda _: attainment_surfaces([frame[frame["metric"] == name] for name in ("accuracy", "perplexity")]),
        lambda _: front_across(runs),
        lambda _: repetitions(runs),
    ):
        with pytest.raises(InvalidInput, match=said) as caught:
            act(frame)
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInput, match="one metric"):
        front_figure({name: read(run, EVALUATIONS) for name, run in runs.items()})
    assert main(["front", *map(str, runs.values())]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(InvalidInput, match="'f1'"):
        pareto_front(frame[frame["metric"] == "accuracy"], metric="f1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "colour"}, "metric"),
        ({"metric": None}, "metric"),
        ({"perplexity": None}, "perplexity"),
        ({"perplexity": 0.5}, "perplexity"),
        ({"perplexity": "low"}, "perplexity"),
        ({"accuracy": 0.5}, "accuracy"),
        ({"mean_iou": 0.5}, "mean_iou"),
    ],
)
def test_a_row_has_the_columns_of_its_metric_and_no_others(
    storage: Storage, evaluation: Row, changes: dict[str, Any], said: str
) -> None:
    (row,) = rows_of(PERPLEXITY, [(1.0, 20.0)])
    write_row(storage, EVALUATIONS, evaluation(**row))
    with pytest.raises(InvalidInput, match=said):
        write_row(storage, EVALUATIONS, evaluation(**{**row, **changes}))
    with pytest.raises(InvalidInput, match="knob 'perplexity'"):
        EVALUATIONS.check_knobs(["perplexity"])


def test_a_task_names_its_metric() -> None:
    assert metric_of_task("classification") is ACCURACY
    with pytest.raises(InvalidInput, match="'detection'"):
        metric_of_task("detection")
    for metric in METRICS.values():
        assert metric_of(pd.DataFrame({"metric": [metric.name]})) is metric
    assert metric_of(pd.DataFrame({"macs": [1.0]})) is ACCURACY
    with pytest.raises(InvalidInput, match="metric colour"):
        metric_of(pd.DataFrame({"metric": ["colour"]}))
