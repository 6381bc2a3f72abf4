"""Importance and effects of what searches varied, of tables made by hand whose answers are known."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import nasray
from nasray.errors import InvalidInput
from nasray.runs import Storage
from tests.run_files import WriteRun


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasray.results.importance._TREES", 16)  # each takes 10 ms


def searched(trial: str, accuracy: float, macs: float = 10.0, **more: Any) -> dict[str, Any]:
    """The one candidate of a search."""
    row = {"trial_id": trial, "epoch": 1, "snapshot": 0, "architecture_id": trial, "seed": 0}
    return {**row, "accuracy": accuracy, "macs": macs, **more}


def shares(told: pd.DataFrame, metric: str) -> dict[str, float]:
    own = told[told["metric"] == metric]
    return dict(zip(own["setting"], own["importance"], strict=True))


@pytest.fixture
def additive(write_run: WriteRun) -> Storage:
    """Four steps of one setting, and as many of another with half of its effect on accuracy: four times the variance.

    Macs are the second's alone, whose steps are as far apart on no scale; of a third nothing depends.
    """
    rows = []
    for place, (one, other) in enumerate(itertools.product(range(4), range(4))):
        third = "even" if (one + other) % 2 else "odd"
        accuracy, macs = 0.5 + 0.06 * one + 0.03 * other, 10.0 + 5 * other
        given = {"lambda0": [0.001, 0.002, 0.1, 0.5][other], "mu": float(one), "order": third}
        rows.append(searched(f"t{place:02d}", accuracy, macs, **given))
    return write_run("additive", rows)


def test_importance_is_the_share_of_the_variance(additive: Storage) -> None:
    told = nasray.importance(str(additive))
    of_accuracy, of_macs = shares(told, "accuracy"), shares(told, "macs")
    assert of_accuracy["mu"] == pytest.approx(0.8, abs=0.06)
    assert of_accuracy["lambda0"] == pytest.approx(0.2, abs=0.06)
    assert of_macs["lambda0"] > 0.95
    assert told.groupby("metric")["importance"].sum().tolist() == pytest.approx([1.0] * 3)
    assert set(told["metric"]) == {"accuracy", "macs", "hypervolume"}
    assert told["searches"].eq(16).all()
    assert told["note"].eq("").all()
    assert told.loc[told["metric"] == "macs", "explained"].min() > 0.8
    pd.testing.assert_frame_equal(nasray.importance(nasray.open(str(additive))), told)
    assert not nasray.importance(str(additive), seed=1).equals(told)


def test_effects_are_means_with_students_intervals(additive: Storage) -> None:
    told = nasray.effects(str(additive), setting="mu")
    own = told[told["metric"] == "accuracy"]
    assert own["value"].tolist() == [0, 1, 2, 3]
    assert own["mean"].tolist() == pytest.approx([0.545, 0.605, 0.665, 0.725])
    # Each value's four searches differ by what lambda0 does; the spread is that of all bins.
    spread = np.std(0.03 * np.arange(4), ddof=0) * np.sqrt(16 / 12)
    half = stats.t.ppf(0.975, 12) * spread / 2
    assert (own["high"] - own["mean"]).tolist() == pytest.approx([half] * 4)
    assert (own["mean"] - own["low"]).tolist() == pytest.approx([half] * 4)
    assert own["searches"].tolist() == [4] * 4
    assert set(nasray.effects(str(additive))["setting"]) == {"lambda0", "mu", "order"}
    texts = nasray.effects(str(additive), setting="order")
    assert texts["value"].tolist() == ["even", "odd"] * 3
    with pytest.raises(InvalidInput, match=r"^setting 'beta': not varied\. Varied are lambda0, mu, order\.$"):
        nasray.effects(str(additive), setting="beta")


def test_hypervolume_is_of_all_that_a_search_gave(write_run: WriteRun) -> None:
    # From (100 M, 0.1): the first search's two points dominate 90 x 0.3 and 50 x 0.2 more; the second's last is worse.
    rows = [
        searched("a", 0.4, 10.0, lambda0=0.1, architecture_id="a1"),
        searched("a", 0.6, 50.0, lambda0=0.1, epoch=2, architecture_id="a2"),
        searched("b", 0.5, 20.0, lambda0=0.2, architecture_id="b1"),
        searched("b", 0.3, 40.0, lambda0=0.2, epoch=2, architecture_id="b2"),
    ]
    told = nasray.effects(str(write_run("r", rows)))
    means = {(metric, value): mean for metric, value, mean in told[["metric", "value", "mean"]].to_numpy()}
    assert means["hypervolume", 0.1] == pytest.approx(90 * 0.3 + 50 * 0.2)
    assert means["hypervolume", 0.2] == pytest.approx(80 * 0.4)
    # What ended a search is its own.
    assert (means["accuracy", 0.2], means["macs", 0.2]) == pytest.approx((0.3, 40.0))


def test_what_is_chance_has_no_importance(write_run: WriteRun) -> None:
    draw = np.random.default_rng(3)
    rows = [
        searched(f"t{place:02d}", 0.5 + 0.1 * float(draw.normal()), 5.0, lambda0=float(x), mu=float(y))
        for place, (x, y) in enumerate(zip(draw.permutation(16) + 1, draw.permutation(16) + 1, strict=True))
    ]
    told = nasray.importance(str(write_run("noise", rows)))
    assert told["importance"].isna().all()
    notes = dict(zip(told["metric"], told["note"], strict=True))
    assert notes["accuracy"] == "the settings predict no accuracy of an unseen search: importance would be chance"
    assert notes["macs"] == "macs is the same in all searches"
    few = nasray.importance(str(write_run("few", rows[:7])))
    assert few["importance"].isna().all()
    assert set(few["note"]) == {"too few searches: 7, of at least 8"}
    # Four points of two settings, with each of which there are four searches: either could explain them.
    twins = [searched(f"u{i:02d}", 0.5 + 0.01 * i, lambda0=float(i % 4), mu=float(3 - i % 4)) for i in range(16)]
    assert set(nasray.importance(str(write_run("twins", twins)))["note"]) == {
        "too few combinations of 2 settings: 4, of at least 8"
    }
    same = [{**row, "lambda0": 1.0, "mu": 1.0} for row in rows]
    with pytest.raises(InvalidInput, match=r"^Nothing differs in same: all rows of a method have the same settings"):
        nasray.importance(str(write_run("same", same)))
    with pytest.raises(InvalidInput, match="run 'none' has no evaluations"):
        nasray.importance(str(write_run("none", [])))


def test_drawn_numbers_are_binned_and_counted_by_their_logarithm(write_run: WriteRun) -> None:
    # A step at 0.01, which on a linear scale from 0.0001 to 1 is a hundredth of the range: half of it by logarithm.
    values = 10.0 ** np.linspace(-4, 0, 24)
    others = np.random.default_rng(0).permutation(24) / 24
    rows = [
        searched(f"t{place:02d}", 0.4 + 0.2 * (x > 0.01) + 0.1 * (y > 0.5), lambda0=float(x), mu=float(y))
        for place, (x, y) in enumerate(zip(values, others, strict=True))
    ]
    run = str(write_run("drawn", rows))
    found = shares(nasray.importance(run), "accuracy")
    assert found["lambda0"] == pytest.approx(0.8, abs=0.1)
    bins = nasray.effects(run, setting="lambda0").query("metric == 'accuracy'")
    assert bins["searches"].tolist() == [4] * 6
    assert (bins["least"].to_numpy()[1:] > bins["most"].to_numpy()[:-1]).all()
    assert bins["mean"].iloc[-1] - bins["mean"].iloc[0] > 0.1


def test_settings_of_the_training_are_told_of_what_was_trained(write_run: WriteRun) -> None:
    rate = "training.learning_rate"
    rows = []
    for place in range(12):
        search, given = f"t{place:02d}", 0.01 * (1 + place % 3)
        common = {"architecture_id": search, "macs": 5.0 + place % 2, "lambda0": 0.1 * (1 + place % 2)}
        rows.append(searched(search, 0.3, **common))
        settings = json.dumps({"learning_rate": given, "epochs": 5})
        for seed in (0, 1):  # which are averaged
            accuracy = 0.5 + 10 * given + 0.02 * seed
            trained = {**common, "seed": seed, "accuracy": accuracy, "settings": settings, rate: given}
            rows.append({**trained, "search_trial_id": search})
        baseline = {**trained, "architecture_id": f"r{search}", "accuracy": 0.1, "baseline_of": search}
        rows.append({**baseline, "method": "random", "search_trial_id": None})
    run = str(write_run("trained", rows))
    told = nasray.importance(run)
    assert set(told["method"]) == {"gold_nas"}
    assert set(told["searches"]) == {12}
    assert shares(told, "accuracy")[rate] > 0.95
    assert shares(told, "macs")["lambda0"] > 0.95
    effect = nasray.effects(run, setting=rate).query("metric == 'accuracy'")
    assert effect["mean"].tolist() == pytest.approx([0.61, 0.71, 0.81])
    # Inherited, the accuracies are all the same.
    assert nasray.importance(run, table="candidates")["setting"].unique().tolist() == ["lambda0"]


def test_networks_of_a_black_box_search_stand_each_for_itself(write_run: WriteRun) -> None:
    rate = "training.learning_rate"
    rows = [
        {
            **{
                "architecture_id": f"a{place}",
                "method": "tpe",
                "search_trial_id": "tpe-0",
                "accuracy": 0.5 + 5 * given,
            },
            **{"macs": 5.0 + place, rate: given, "settings": json.dumps({"learning_rate": given, "epochs": 5})},
        }
        for place, given in enumerate([0.01, 0.02] * 6)
    ]
    told = nasray.importance(str(write_run("proposed", rows)))
    assert set(told["searches"]) == {12}
    assert shares(told, "accuracy") == {rate: 1.0}


def test_what_differs_between_runs_is_a_setting_too(write_run: WriteRun) -> None:
    def settings(epochs: int, threads: int) -> str:
        return json.dumps({"method": "gold_nas", "seed": 0, "settings": {"epochs": epochs, "threads": threads}})

    runs = []
    for name, epochs in (("short", 5), ("long", 50)):
        rows = [
            searched(f"t{place}", 0.4 + 0.004 * epochs + 0.01 * (place % 2), lambda0=0.1 * (1 + place % 2))
            for place in range(6)
        ]
        runs.append(write_run(name, [{**row, "settings": settings(epochs, epochs)} for row in rows]))
    told = nasray.importance([str(run) for run in runs])
    assert set(told["searches"]) == {12}
    assert set(told["setting"]) == {"lambda0", "epochs"}  # threads change no result
    assert shares(told, "accuracy")["epochs"] > 0.9
    other = write_run("other", [searched("t", 0.5, dataset="cifar10", lambda0=0.1)])
    with pytest.raises(InvalidInput, match="dataset"):
        nasray.importance([str(runs[0]), nasray.open(str(other))])


def test_only_a_few_of_many_searches_are_taken(write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasray.results.importance._MOST", 12)
    rows = [searched(f"t{place:02d}", 0.02 * place, lambda0=float(place)) for place in range(20)]
    told = nasray.importance(str(write_run("many", rows))).query("metric == 'accuracy'")
    assert told["note"].tolist() == ["of 12 searches, drawn from 20"]
    assert told["importance"].tolist() == [1.0]


def test_the_report_leaves_out_what_is_too_little(write_run: WriteRun, additive: Storage) -> None:
    pytest.importorskip("plotly")
    few = write_run("few", [searched(f"t{place}", 0.5 + 0.1 * place, lambda0=float(place)) for place in range(3)])
    from tests.results.test_reporting import figures

    page = figures(Path(nasray.report(str(few))).read_text(encoding="utf-8"))
    assert page["mattered"] == []
    (own,) = figures(Path(nasray.report(str(additive))).read_text(encoding="utf-8"))["mattered"]
    assert (own["method"], own["searches"], own["kind"]) == ("gold_nas", 16, "inherited weights, validation split")
    told = nasray.importance(str(additive))
    assert own["importance"]["importance"] == pytest.approx(told["importance"].tolist(), rel=1e-6)
    assert set(own["effects"]) == {"lambda0", "mu", "order"}
