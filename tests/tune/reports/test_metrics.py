"""A run's live figures: what is exported of which trials, and that it harms nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

import nasray
from nasray.fronts import pareto_front
from nasray.runs import Storage, open_storage
from nasray.sweeps import Sweep
from nasray.sweeps.changes import with_device
from nasray.sweeps.run import Outcome
from nasray.trials.fidelity import Fidelity
from nasray.tune.reports import metrics as live
from nasray.tune.reports.metrics import FIGURES, OF_RUN, Metrics

GOLD, DARTS = ("gold_nas", "gold"), ("darts", "gold")


class Recorded:
    """In place of Ray's gauge: the last value for each set of labels, until it is cleared."""

    all: dict[str, Recorded]

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.values: dict[frozenset[tuple[str, str]], float] = {}
        self.labels = set(tag_keys)
        Recorded.all[name] = self

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == self.labels
        self.values[frozenset(tags.items())] = value


def values(name: str, **labels: str) -> list[float]:
    """Of all series of a figure that have these labels."""
    return [value for tags, value in Recorded.all[name].values.items() if set(labels.items()) <= tags]


def forget() -> None:
    for gauge in Recorded.all.values():
        gauge.values.clear()


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded.all = {}
    monkeypatch.setattr(live, "Gauge", Recorded)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = open_storage(tmp_path)
    storage.write_json("run.json", {"reference": [10.0, 0.1]})
    return storage


ARMS: dict[str, tuple[str, str]] = {}
"""Of all trials of a test by their names."""


class Trial:
    """As much of Tune's trial as the metrics ask."""

    def __init__(self, name: str, arm: tuple[str, str], status: str, **result: Any) -> None:
        self.name = name
        self.config = {"trial": name}
        ARMS[name] = arm
        self.status = status
        self.run_metadata = SimpleNamespace(last_result=result)

    def __str__(self) -> str:
        return self.name


def searches(storage: Storage, **changes: Any) -> Metrics:
    metrics = Metrics("mine", "digits", "searches", {GOLD: 3, DARTS: 2}, storage, **changes)
    metrics.arms = ARMS
    metrics.setup(stop=None, num_samples=1)
    return metrics


@pytest.mark.usefixtures("gauges")
def test_trials_are_counted_and_fronts_are_each_methods_own(storage: Storage) -> None:
    metrics = searches(storage, seconds=0.0)
    trials = [
        Trial("a", GOLD, "TERMINATED", points=[(2.0, 0.5), (6.0, 0.9)], ended=True),
        Trial("b", GOLD, "TERMINATED", points=[(7.0, 0.8)], ended=True, given_up="it gave up"),
        Trial("c", DARTS, "RUNNING", points=[(4.0, 0.6)], epoch=3, supernet_accuracy=0.25, macs=1.5, gap=-0.125),
        Trial("d", DARTS, "ERROR"),
    ]
    metrics.on_step_end(1, trials)
    of_gold, of_darts = dict(method="gold_nas"), dict(method="darts")
    assert {state: values("nasray_trials", state=state, **of_gold) for state in live.STATES} == {
        "waiting": [1.0], "running": [0.0], "done": [1.0], "failed": [1.0],
    }  # fmt: skip
    assert {state: values("nasray_trials", state=state, **of_darts) for state in live.STATES} == {
        "waiting": [0.0], "running": [1.0], "done": [0.0], "failed": [1.0],
    }  # fmt: skip
    # Rectangles by hand, from the reference (10, 0.1).
    assert values("nasray_hypervolume_macs", **of_gold) == [pytest.approx((4 * 0.4 + 4 * 0.8) * 1e6)]
    assert values("nasray_hypervolume_macs", **of_darts) == [pytest.approx(6 * 0.5 * 1e6)]
    assert values("nasray_hypervolume_macs", method="all") == [pytest.approx((2 * 0.4 + 2 * 0.5 + 4 * 0.8) * 1e6)]
    assert values("nasray_front_size", method="all", space="all", kind="searches", run="mine") == [3.0]
    assert values("nasray_front_size", **of_gold) == [2.0]
    # Units are those of the names, and only what runs is exported of trials.
    assert values("nasray_macs") == [1.5e6]
    assert values("nasray_discretisation_gap_ratio", trial="c") == [-0.125]
    assert values("nasray_epoch") == values("nasray_epoch", trial="c", dataset="digits") == [3.0]
    assert values("nasray_peak_memory_bytes") == []


@pytest.mark.usefixtures("gauges")
def test_of_a_trial_that_ended_its_last_figures_are_exported_once(storage: Storage) -> None:
    metrics = searches(storage, seconds=0.0)
    trial = Trial("a", GOLD, "RUNNING", epoch=1)
    metrics.on_step_end(1, [trial])
    trial.run_metadata.last_result.update(epoch=2, supernet_accuracy=float("nan"))
    metrics.on_trial_complete(2, [trial], trial)
    assert values("nasray_epoch") == [2.0]
    assert values("nasray_supernet_accuracy_ratio") == []
    forget()
    trial.status = "TERMINATED"
    metrics.on_step_end(3, [trial])
    assert values("nasray_epoch") == []
    assert values("nasray_trials", method="gold_nas", state="done") == [1.0]


@pytest.mark.usefixtures("gauges")
def test_what_a_search_gave_counts_no_more_once_a_rung_stopped_it(storage: Storage) -> None:
    metrics = searches(storage, seconds=0.0)
    kept = Trial("a", GOLD, "RUNNING", points=[(2.0, 0.5)])
    stopped = Trial("b", GOLD, "RUNNING", points=[(6.0, 0.9)])
    metrics.on_step_end(1, [kept, stopped])
    assert values("nasray_hypervolume_macs", method="all") == [pytest.approx((4 * 0.4 + 4 * 0.8) * 1e6)]
    stopped.status = "TERMINATED"
    # As many points as before: the other one gave another in the same seconds.
    kept.run_metadata.last_result["points"].append((1.0, 0.2))
    metrics.on_step_end(2, [kept, stopped])
    assert values("nasray_hypervolume_macs", method="all") == [pytest.approx((1 * 0.1 + 8 * 0.4) * 1e6)]
    assert values("nasray_trials", method="gold_nas", state="done") == [1.0]


@pytest.mark.usefixtures("gauges")
def test_a_budget_holds_for_the_front_and_methods_that_found_the_same_share_it(storage: Storage) -> None:
    metrics = searches(storage, seconds=0.0, budget=5.0)
    shared = ("darts, gold_nas", "gold")
    metrics.on_step_end(1, [Trial("a", shared, "TERMINATED", points=[(2.0, 0.5), (6.0, 0.9)], ended=True)])
    for method in ("darts", "gold_nas", "all"):
        assert values("nasray_hypervolume_macs", method=method) == [pytest.approx(8 * 0.4 * 1e6)]


@pytest.mark.usefixtures("gauges")
def test_what_is_looked_up_is_counted_and_not_watched(storage: Storage) -> None:
    metrics = Metrics("mine", "cifar10", "trainings", {("tpe", "nas_bench_201"): 9}, storage, watched=False)
    metrics.setup()
    proposed = Trial("a", GOLD, "RUNNING", epoch=200, accuracy=0.9, points=[(2.0, 0.9)])
    proposed.config = {"trial": "proposed", "architecture": "{}"}
    metrics.on_step_end(1, [proposed])
    metrics.on_trial_complete(1, [proposed], proposed)
    assert values("nasray_accuracy_ratio") == []
    assert values("nasray_trials", method="tpe", space="nas_bench_201", state="running") == [1.0]
    assert values("nasray_front_size", method="tpe") == [1.0]


@pytest.mark.usefixtures("gauges")
def test_a_failure_is_said_once_and_harms_nothing(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    metrics = searches(storage, seconds=0.0)
    trial = Trial("a", GOLD, "RUNNING", epoch="not a number")
    for _ in range(3):
        metrics.on_step_end(1, [trial])
        metrics.on_trial_complete(1, [trial], trial)
    metrics.on_experiment_end([trial])
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("event=metrics_failed run=mine reason=")


def test_it_can_be_pickled_as_tune_does(storage: Storage) -> None:
    assert cloudpickle.loads(cloudpickle.dumps(Metrics("mine", "digits", "searches", {GOLD: 1}, storage))).run == "mine"


@pytest.mark.usefixtures("gauges")
def test_what_earlier_phases_trained_is_on_the_front(tiny_sweep: Sweep, tiny_run: Outcome) -> None:
    metrics = Metrics(
        "tiny",
        "digits",
        "trainings",
        {},
        open_storage(tiny_run.folder),
        fidelity=with_device(tiny_sweep, "cpu").fidelity,
        seconds=0.0,
    )
    metrics.setup()
    metrics.on_step_end(0, [])
    front = pareto_front(nasray.load(tiny_run.folder))
    assert values("nasray_front_size", method="random") == [len(front)]
    forget()
    other = Metrics(
        "tiny", "digits", "trainings", {}, open_storage(tiny_run.folder), fidelity=Fidelity(("{}",)), seconds=0.0
    )
    other.setup()
    other.on_step_end(0, [])
    assert values("nasray_front_size", method="all") == [0.0]


def test_names_say_their_units() -> None:
    for name in (*OF_RUN, *(figure.name for figure in FIGURES)):
        assert name.startswith("nasray_")
    assert {figure.scale for figure in FIGURES if figure.name.endswith("_macs")} == {1e6}
