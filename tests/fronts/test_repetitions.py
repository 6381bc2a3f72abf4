"""Repetitions of a sweep: figures by hand, and everything that is no repetition refused."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

from nasray.errors import InvalidInput
from nasray.fronts import attained, repetitions
from tests.run_files import WriteRun


def row(name: str, macs: float, accuracy: float, **more: Any) -> dict[str, Any]:
    return {"architecture_id": name, "macs": macs, "accuracy": accuracy, **more}


def test_surfaces_and_volumes_of_three_runs(write_run: WriteRun) -> None:
    points = {"r0": [(10, 0.5), (30, 0.9)], "r1": [(20, 0.8)], "r2": [(10, 0.6), (40, 0.7), (50, 0.65)]}
    runs = {
        name: write_run(name, [row(f"{name}{i}", *point) for i, point in enumerate(own)], seeds=[int(name[1])])
        for name, own in points.items()
    }
    found = repetitions(runs)
    assert found.names == ("r0", "r1", "r2")
    assert found.reference == (100.0, 0.1)
    by_hand = {"r0": 20 * 0.4 + 70 * 0.8, "r1": 80 * 0.7, "r2": 30 * 0.5 + 60 * 0.6}
    volumes = found.volumes.set_index("repetition")["hypervolume"]
    assert volumes.to_dict() == pytest.approx(by_hand)
    assert set(found.volumes["method"]) == {"gold_nas"}
    surface = found.surfaces["gold_nas"]
    corners = {f: surface.loc[surface["fraction"] == f, ["macs", "accuracy"]].to_numpy().tolist() for f in (0.25, 0.75)}
    assert corners[0.25] == [[10, 0.6], [20, 0.8], [30, 0.9]]  # the best of three
    assert corners[0.75] == [[20, 0.5], [30, 0.6], [40, 0.7]]  # the worst of three
    spread = found.spread["gold_nas"]
    assert spread["macs"].tolist() == [10, 20, 30]
    assert spread["50 %"].tolist() == [0.5, 0.6, 0.8]
    # At 10 M one attains nothing, so no mean is told.
    assert np.isnan(spread["mean"][0])
    assert np.isnan(spread["std"][0])
    at_20, at_30 = [0.5, 0.8, 0.6], [0.9, 0.8, 0.6]
    assert spread["mean"][1:].tolist() == pytest.approx([statistics.mean(at_20), statistics.mean(at_30)])
    assert spread["std"][1:].tolist() == pytest.approx([statistics.stdev(at_20), statistics.stdev(at_30)])


def test_another_cost_stretches_the_surfaces(write_run: WriteRun) -> None:
    points = {"r0": [(10, 0.5), (30, 0.9)], "r1": [(20, 0.8)]}
    runs = {
        name: write_run(name, [row(f"{name}{i}", 50 - macs, best, joules=2.0 * macs) for i, (macs, best) in own])
        for name, own in ((name, list(enumerate(own))) for name, own in points.items())
    }
    found = repetitions(runs, cost="joules")
    assert found.reference == (60.0, 0.1)
    volumes = found.volumes.set_index("repetition")["hypervolume"].to_dict()
    assert volumes == pytest.approx({"r0": 40 * 0.4, "r1": 20 * 0.7})
    assert found.spread["gold_nas"]["joules"].tolist() == [20, 40, 60]


def test_each_method_has_its_own(write_run: WriteRun) -> None:
    runs = {
        "r0": write_run("r0", [row("a", 10, 0.9), row("b", 20, 0.6, method="random")]),
        "r1": write_run("r1", [row("a", 10, 0.8)]),
        "r2": write_run("r2", [row("a", 30, 0.7, method="gold_nas, random")]),
    }
    found = repetitions(runs)
    assert list(found.fronts) == ["gold_nas", "random"]
    volumes = found.volumes.groupby("method")["hypervolume"].apply(list).to_dict()
    assert volumes["gold_nas"] == pytest.approx([90 * 0.8, 90 * 0.7, 70 * 0.6])
    # A repetition in which a method has nothing attains nothing, and counts.
    assert volumes["random"] == pytest.approx([80 * 0.5, 0, 70 * 0.6])
    median = found.surfaces["random"].query("fraction == 0.5")
    assert median[["macs", "accuracy"]].to_numpy().tolist() == [[30, 0.6]]
    assert set(found.surfaces["random"]["fraction"]) == {0.25, 0.5}


def test_seeds_of_one_run(write_run: WriteRun) -> None:
    accuracies = np.random.default_rng(0).uniform(0.2, 0.9, (3, 4)).round(3)
    rows = [row(f"a{i}", 10.0 * (i + 1), float(accuracies[s, i]), seed=s) for s in range(3) for i in range(4)]
    found = repetitions({"run": write_run("run", rows)}, "seeds")
    assert found.names == ("seed 0", "seed 1", "seed 2")
    for seed, name in enumerate(found.names):
        best = np.maximum.accumulate(accuracies[seed])
        np.testing.assert_array_equal(attained(found.fronts["gold_nas"][name], [10, 20, 30, 40]), best)
    two = {name: write_run(name, [{**one, "run": name} for one in rows]) for name in ("a", "b")}
    assert repetitions(two, "seeds").names[:4] == ("a, seed 0", "a, seed 1", "a, seed 2", "b, seed 0")
    # Over runs the seeds of one are averaged first.
    means = accuracies.mean(axis=0)
    front = repetitions(two).fronts["gold_nas"]["a"]
    np.testing.assert_allclose(attained(front, [10, 20, 30, 40]), np.maximum.accumulate(means))


def test_candidates_can_be_repeated(write_run: WriteRun) -> None:
    runs = {f"r{i}": write_run(f"r{i}", [row("a", 10, 0.5 + i / 10, snapshot=0)]) for i in range(3)}
    found = repetitions(runs, fractions=[0.1, 1.0])
    assert found.rows.kind == "inherited weights, validation split"
    assert found.surfaces["gold_nas"].to_numpy().tolist() == [[0.1, 10.0, 0.7], [1.0, 10.0, 0.5]]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({}, {"reference": (90.0, 0.1)}, r"reference points that differ: a \(100 M, 0\.1\), b \(90 M, 0\.1\)"),
        ({}, {"reference": None}, "run 'b' has no reference point"),
        ({}, {"method": "darts"}, r"method \('darts', 'gold_nas'\)"),
        ({}, {"settings": {"lambda0": 0.2}}, r"settings\.lambda0 \(0\.1, 0\.2\)"),
        ({"arms": [{"method": "darts"}]}, {"arms": [{"method": "random"}]}, r"arms\.0\.method"),
        ({}, {"budget": 3.0}, r"budget \(3\.0, missing\)"),
    ],
)
def test_what_is_no_repetition_is_refused(
    write_run: WriteRun, first: dict[str, Any], second: dict[str, Any], said: str
) -> None:
    runs = {"a": write_run("a", [row("a", 1, 0.5)], **first), "b": write_run("b", [row("b", 2, 0.6)], **second)}
    with pytest.raises(InvalidInput, match=said) as caught:
        repetitions(runs)
    assert "\n" not in str(caught.value)


def test_repetitions_differ_in_their_seeds_and_in_where_they_ran(write_run: WriteRun) -> None:
    execution = {"storage": "/elsewhere", "gpus_per_trial": 1.0, "address": "auto", "trackers": ["optuna"]}
    other = {"seeds": [1], "training": {"seeds": [5]}, "execution": execution}
    settings = {"lambda0": 0.1, "split_seed": 1}
    rows = [row("a", 1, 0.5, settings=f'{{"split_seed": {seed}}}') for seed in (0, 1)]
    runs = {"a": write_run("a", rows[:1]), "b": write_run("b", rows[1:], settings=settings, **other)}
    assert len(repetitions(runs).volumes) == 2


def test_one_is_no_repetition_and_rows_must_compare(write_run: WriteRun) -> None:
    run = write_run("a", [row("a", 1, 0.5)])
    for over in ("runs", "seeds"):
        with pytest.raises(InvalidInput, match=f"1 repetition over {over}: expected two or more"):
            repetitions({"a": run}, over)
    other = write_run("b", [row("a", 1, 0.5, settings='{"learning_rate": 1.0}')])
    with pytest.raises(InvalidInput, match="learning_rate"):
        repetitions({"a": run, "b": other})
    assert (
        len(repetitions({"a": run, "c": write_run("c", [row("a", 5, 0.5)])}, budget=2.0).fronts["gold_nas"]["c"]) == 0
    )
