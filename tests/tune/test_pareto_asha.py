"""ParetoASHA's order against plain loops, its decisions in a run of Ray Tune, and what a kill leaves of them."""

from __future__ import annotations

import ast
import math
import os
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasray.tune import pareto_asha
from nasray.tune.pareto_asha import ParetoASHA, Record, epsilon_net_order, standing

Point = tuple[float, ...]
NAN = math.nan


def dominates(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def plain_ranks(points: list[Point]) -> list[int]:
    """Fronts peeled off one after another."""
    left, ranks = set(range(len(points))), [0] * len(points)
    for rank in range(len(points)):
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in front:
            ranks[i] = rank
        left -= front
    return ranks


def plain_net(points: list[Point]) -> list[int]:
    """Farthest first, every objective in units of its range; equals by value, then by row."""
    axes = list(zip(*points, strict=True))
    scaled = [
        tuple((v - min(axis)) / ((max(axis) - min(axis)) or 1) for v, axis in zip(point, axes, strict=True))
        for point in points
    ]
    left = sorted(range(len(points)), key=lambda i: (points[i], i))
    taken = [left.pop(0)]
    while left:
        gaps = [min(sum((a - b) ** 2 for a, b in zip(scaled[i], scaled[j], strict=True)) for j in taken) for i in left]
        best = left[gaps.index(max(gaps))]
        taken.append(best)
        left.remove(best)
    return taken


def plain_order(points: list[Point]) -> list[int]:
    finite = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    ranks = plain_ranks([points[i] for i in finite])
    order: list[int] = []
    for rank in sorted(set(ranks)):
        rows = [i for i, r in zip(finite, ranks, strict=True) if r == rank]
        order += [rows[i] for i in plain_net([points[i] for i in rows])]
    return order + [i for i in range(len(points)) if i not in finite]


def point_sets(objectives: int, smallest: int = 1, largest: int = 14) -> st.SearchStrategy[list[Point]]:
    # Few different values: ties, copies and collinear points are what goes wrong.
    return st.lists(st.tuples(*[st.integers(0, 6).map(float)] * objectives), min_size=smallest, max_size=largest)


any_points = st.sampled_from([1, 2, 3]).flatmap(point_sets)


@given(any_points)
def test_epsilon_net_order_is_that_of_plain_loops(points: list[Point]) -> None:
    assert epsilon_net_order(np.array(points)).tolist() == plain_net(points)


@given(any_points, st.data())
def test_standing_is_the_place_in_the_plain_order(points: list[Point], data: st.DataObject) -> None:
    for row in data.draw(st.sets(st.integers(0, len(points) - 1), max_size=3)):
        points[row] = (data.draw(st.sampled_from([NAN, math.inf, -math.inf])), *points[row][1:])
    order = plain_order(points)
    assert [standing(np.array(points), row)[1] for row in order] == list(range(len(points)))


def scheduler(objectives: int = 2, eta: float = 3, **arguments: Any) -> ParetoASHA:
    names = [f"m{i}" for i in range(objectives)]
    arguments = arguments or {"rungs": (12, 200)}
    return ParetoASHA(names, ["min"] * objectives, time_attr="epoch", reduction_factor=eta, **arguments)


def report(asha: ParetoASHA, trial: str, point: Point, epoch: float = 12) -> bool:
    """Whether the trial goes on: all that a scheduler touches of it is its name."""
    result = {"epoch": epoch, **{f"m{i}": value for i, value in enumerate(point)}}
    return asha.on_trial_result(None, trial, result) == "CONTINUE"


def all_decisions(points: list[Point], eta: float) -> list[bool]:
    asha = scheduler(len(points[0]), eta)
    return [report(asha, str(i), point) for i, point in enumerate(points)]


etas = st.sampled_from([1.5, 2, 3, 4])


@given(any_points, etas)
def test_decisions_are_the_rule_applied_to_the_plain_order(points: list[Point], eta: float) -> None:
    for n, kept in enumerate(all_decisions(points, eta), start=1):
        seen = points[:n]
        position = plain_order(seen).index(n - 1)
        non_dominated = not any(dominates(point, seen[-1]) for point in seen)
        assert kept == (position < n // eta or (non_dominated and position < len(seen[-1])))


@given(any_points, etas)
def test_a_trial_that_dominates_all_is_kept(points: list[Point], eta: float) -> None:
    best = tuple(min(axis) - 1 for axis in zip(*points, strict=True))
    assert all_decisions([*points, best], eta)[-1]


@given(any_points, etas)
def test_a_kept_trial_that_is_dominated_is_so_by_fewer_than_there_is_room_for(points: list[Point], eta: float) -> None:
    for n, kept in enumerate(all_decisions(points, eta), start=1):
        above = sum(dominates(point, points[n - 1]) for point in points[:n])
        assert not kept or above == 0 or above < n / eta


@given(point_sets(2, smallest=2), point_sets(2), etas)
def test_what_a_newcomer_dominates_never_makes_it_stop(points: list[Point], more: list[Point], eta: float) -> None:
    newcomer = points[-1]
    worse = [tuple(max(a, b) for a, b in zip(point, newcomer, strict=True)) for point in more]
    worse = [point for point in worse if dominates(newcomer, point)]
    non_dominated = not any(dominates(point, newcomer) for point in points)
    if non_dominated and all_decisions(points, eta)[-1]:
        assert all_decisions([*points[:-1], *worse, newcomer], eta)[-1]


@given(point_sets(3, smallest=2), etas, st.randoms(use_true_random=False))
def test_a_decision_depends_neither_on_units_nor_on_the_order_of_arrival(
    points: list[Point], eta: float, random: Any
) -> None:
    kept = all_decisions(points, eta)[-1]
    assert all_decisions([(a * 1024, b / 64 - 8, c) for a, b, c in points], eta)[-1] == kept
    earlier = points[:-1]
    random.shuffle(earlier)
    assert all_decisions([*earlier, points[-1]], eta)[-1] == kept


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True), st.sampled_from([2, 3, 4]))
def test_with_one_metric_it_is_asha(losses: list[float], eta: int) -> None:
    for n, kept in enumerate(all_decisions([(loss,) for loss in losses], eta), start=1):
        assert kept == (losses[n - 1] in sorted(losses[:n])[: max(1, n // eta)])


def test_modes_turn_the_metrics_that_are_to_be_large() -> None:
    asha = ParetoASHA(["accuracy", "macs"], ["max", "min"], "epoch", rungs=(1, 3), reduction_factor=2)
    told = [(0.5, 100.0), (0.6, 100.0), (0.7, 90.0), (0.4, 95.0)]
    results = [{"epoch": 1, "accuracy": accuracy, "macs": macs} for accuracy, macs in told]
    decisions = [asha.on_trial_result(None, str(i), result) for i, result in enumerate(results)]
    assert decisions == ["CONTINUE", "CONTINUE", "CONTINUE", "STOP"]


def test_the_first_few_keep_both_ends_of_the_front() -> None:
    assert all_decisions([(5.0, 5.0), (1.0, 9.0), (9.0, 1.0), (6.0, 4.0)], eta=4) == [True, True, True, False]


def test_a_trial_is_compared_with_those_of_its_group_alone() -> None:
    points = [(float(number), float(number)) for number in range(8)]  # each worse than all before it
    alone = all_decisions(points, eta=2)
    asha = scheduler(eta=2, rungs=(12, 200), group_of=lambda name: name[0])
    told = [report(asha, f"{group}{place}", point) for place, point in enumerate(points) for group in "ab"]
    assert told == [kept for kept in alone for _ in "ab"]
    assert alone.count(False) > 0
    again = scheduler(eta=2, rungs=(12, 200), group_of=lambda name: name[0])
    again.refill(Record(name, 12, entry.values, None) for name, entry in asha.rungs[12].items())
    assert again.rungs == asha.rungs


def test_what_is_not_finite_is_stopped_and_counts() -> None:
    asha = scheduler(eta=2)
    assert not report(asha, "a", (NAN, 1.0))
    assert not report(asha, "b", (math.inf, 1.0))
    assert report(asha, "c", (9.0, 9.0))  # before any that is not finite
    assert report(asha, "d", (9.5, 9.5))  # the second of four
    assert len(asha.rungs[12]) == 4


def test_a_copy_of_a_point_comes_last_in_its_rank() -> None:
    asha = scheduler(eta=3)
    assert [report(asha, name, (1.0, 1.0)) for name in "ab"] == [True, True]  # room for two: as many as metrics
    assert not report(asha, "c", (1.0, 1.0))


def test_epochs_between_rungs_and_past_several() -> None:
    asha = scheduler(eta=3, max_t=100, grace_period=3)
    assert list(asha.rungs) == [3, 9, 27, 81]
    trial = "a"
    assert report(asha, trial, (1.0, 1.0), epoch=2)
    assert not asha.rungs[3]
    assert report(asha, trial, (1.0, 1.0), epoch=30)
    assert [list(asha.rungs[rung]) for rung in (3, 9, 27, 81)] == [[], [], ["a"], []]
    assert report(asha, trial, (2.0, 2.0), epoch=31)
    assert asha.rungs[27]["a"].values == (1.0, 1.0)
    assert not report(asha, trial, (0.0, 0.0), epoch=100)


def test_a_trial_that_ends_at_a_rung_counts_there_and_nowhere_else() -> None:
    asha = scheduler(eta=2, rungs=(2, 4, 8))
    ended, between = "ended", "between"
    asha.on_trial_complete(None, ended, {"epoch": 2, "m0": 1.0, "m1": 1.0, "done": True})
    assert report(asha, between, (0.0, 0.0), epoch=2)
    asha.on_trial_complete(None, between, {"epoch": 3, "m0": 0.0, "m1": 0.0, "done": True})
    asha.on_trial_complete(None, "nothing reported", {})
    assert [list(asha.rungs[rung]) for rung in (2, 4)] == [["ended", "between"], []]


def test_a_second_report_of_a_rung_changes_nothing() -> None:
    asha = scheduler(eta=2)
    assert report(asha, "kept", (1.0, 1.0))
    assert not report(asha, "stopped", (2.0, 2.0)) or len(asha.rungs[12]) == 2
    before = dict(asha.rungs[12])
    assert report(asha, "kept", (9.0, 9.0)) == before["kept"].kept
    assert report(asha, "stopped", (0.0, 0.0)) == before["stopped"].kept
    assert report(asha, "stopped", (0.0, 0.0), epoch=13) == before["stopped"].kept
    assert asha.rungs[12] == before


@given(points=point_sets(2, smallest=6, largest=20), data=st.data())
def test_refilled_after_a_kill_anywhere_it_decides_as_if_nothing_had_been(
    points: list[Point], data: st.DataObject
) -> None:
    points[1] = (NAN, 0.0)
    decisions = all_decisions(points, eta=2)
    killed = data.draw(st.integers(0, len(points)))
    # Of rows that were written a moment before the kill, nobody knows the decisions.
    undecided = data.draw(st.sets(st.integers(0, max(killed - 1, 0)), max_size=3))
    refilled = scheduler(eta=2)
    refilled.refill(Record(str(i), 12, points[i], None if i in undecided else not decisions[i]) for i in range(killed))
    # Those that were under way report their rung again, in whatever order, among the new ones.
    again = data.draw(st.permutations(range(killed)))
    assert [report(refilled, str(i), points[i]) for i in again] == [decisions[i] for i in again]
    later = range(killed, len(points))
    assert [report(refilled, str(i), points[i]) for i in later] == [decisions[i] for i in later]
    assert len(refilled.rungs[12]) == len(points)


def test_a_trial_that_was_taken_up_past_its_rung_is_stopped_or_goes_on_as_decided() -> None:
    asha = scheduler(eta=2, rungs=(2, 4, 8))
    asha.refill(
        [
            Record("kept", 2, (1.0, 1.0), None),
            Record("stopped", 2, (2.0, 2.0), True),
            Record("kept", 4, (1.0, 1.0), False),
            Record("undecided", 2, (3.0, 3.0), None),
        ]
    )
    assert report(asha, "kept", (0.0, 0.0), epoch=5)
    assert report(asha, "stopped", (0.0, 0.0), epoch=1)  # its checkpoints were lost, and it begins anew
    assert not report(asha, "stopped", (0.0, 0.0), epoch=3)
    assert not report(asha, "undecided", (0.0, 0.0), epoch=3)


def test_records_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^record of trial a at rung 7: the rungs are 12\.$"):
        scheduler().refill([Record("a", 7, (1.0, 1.0), None)])
    with pytest.raises(ValueError, match=r"^record of trial a with 1 values: give one for each of m0, m1\.$"):
        scheduler().refill([Record("a", 12, (1.0,), None)])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (dict(metrics=[], modes=[]), "metrics"),
        (dict(metrics="accuracy", modes=["max"]), "metrics"),
        (dict(metrics=["a", "a"], modes=["max", "max"]), "metrics"),
        (dict(metrics=["a", "b"], modes=["max"]), "modes"),
        (dict(metrics=["a"], modes=["best"]), "modes"),
        (dict(metrics=["a"], modes=["max"], reduction_factor=1), "reduction_factor"),
        (dict(metrics=["a"], modes=["max"], max_t=None), "max_t"),
        (dict(metrics=["a"], modes=["max"], rungs=(1, 2)), "max_t"),
        (dict(metrics=["a"], modes=["max"], max_t=None, rungs=(2, 2)), "rungs"),
        (dict(metrics=["a"], modes=["max"], max_t=None, rungs=(0, 2)), "rungs"),
        (dict(metrics=["a"], modes=["max"], grace_period=0), "grace_period"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_line(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word}.*expected") as error:
        ParetoASHA(**{"max_t": 10, **arguments})
    assert "\n" not in str(error.value)


def test_a_result_without_a_metric_is_refused_by_its_name() -> None:
    asha = scheduler()
    asha.on_trial_result(None, "a", {"epoch": 3})  # needed at a rung only
    with pytest.raises(ValueError, match=r"^result of trial a at epoch 12 without 'm1': .*$"):
        asha.on_trial_result(None, "a", {"epoch": 12, "m0": 1.0})
    with pytest.raises(ValueError, match=r"^result of trial a without 'epoch': .*$"):
        asha.on_trial_result(None, "a", {"m0": 1.0, "m1": 1.0})


@pytest.mark.data
@pytest.mark.parametrize("trials", [300, 1000])
def test_on_nas_bench_201_it_reaches_the_front_of_full_training(trials: int) -> None:
    """Rungs of 12 and 200 epochs: the hypervolume of full training at well under half of its epochs."""
    path = Path(os.environ.get("NASRAY_DATA", "")) / "nasbench201.parquet"
    if not path.is_file():
        pytest.skip("no nasbench201.parquet in NASRAY_DATA")
    table = pd.read_parquet(path)
    # Every 3x3 convolution costs the same multiply-adds in each of the 15 cells; the rest costs 7.78 M.
    macs = (table.n_nor_conv_3x3 + table.n_nor_conv_1x1 / 9) * (9 * 16 * 16 * 32 * 32 * 15 / 1e6) + 7.78
    cells = np.column_stack([100 - table.cifar10_test_acc_12, 100 - table.cifar10_test_acc_200_nats, macs])
    ratios, spent = [], []
    for seed in range(5):
        drawn = np.random.default_rng(seed).permutation(cells)[:trials]
        asha = scheduler(eta=3)
        kept = np.array([report(asha, str(i), (at_12, macs)) for i, (at_12, _, macs) in enumerate(drawn)])
        full, halved = (moocore.hypervolume(front[:, 1:], ref=[14.0, 221.0]) for front in (drawn, drawn[kept]))
        ratios.append(halved / full)
        spent.append((12 * trials + 188 * kept.sum()) / (200 * trials))
    assert np.median(ratios) > 0.9999
    assert max(spent) < 0.42


def test_its_file_imports_nothing_else_of_nasray() -> None:
    tree = ast.parse(Path(pareto_asha.__file__).read_text())
    imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert not [name for name in imported if name.startswith("nasray")]


# Runs of Ray Tune. One CPU: the trials run one after another, and their end can be told beforehand.

TUNE = """
import os, sys, time
from ray import tune
from nasray.tune.pareto_asha import ParetoASHA

class Toy(tune.Trainable):
    def setup(self, config):
        self.epoch, self.number = 0, config["number"]
    def reset_config(self, config):
        self.setup(config)
        return True
    def step(self):
        time.sleep(PAUSE)
        self.epoch += 1
        quality = (self.number * 7 % 12) / 12
        accuracy = float("nan") if self.number == 5 else quality * (1 - 0.5 ** self.epoch)
        return {"epoch": self.epoch, "accuracy": accuracy, "costs": {"macs": 50.0 + self.number * 5 % 12}}
    def save_checkpoint(self, folder):
        with open(os.path.join(folder, "epoch"), "w") as file:
            file.write(str(self.epoch))
    def load_checkpoint(self, folder):
        with open(os.path.join(folder, "epoch")) as file:
            self.epoch = int(file.read())

def name_of(trial):
    return f"number_{trial.config['number']}"

def run(folder, numbers, records=()):
    asha = ParetoASHA(["accuracy", "costs/macs"], ["max", "min"], "epoch", rungs=(2, 4, 8), reduction_factor=2)
    asha.refill(records)
    tuner = tune.Tuner(
        Toy,
        param_space={"number": tune.grid_search(numbers)},
        tune_config=tune.TuneConfig(scheduler=asha, reuse_actors=True, trial_name_creator=name_of),
        run_config=tune.RunConfig(name="toy", storage_path=folder, verbose=0),
    )
    results = tuner.fit()
    assert not results.errors, results.errors
    return {r.config["number"]: r.metrics["epoch"] for r in results}
"""


QUIET = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}


def accuracy_of(number: int, epoch: int) -> float:
    return NAN if number == 5 else (number * 7 % 12) / 12 * (1 - 0.5**epoch)


def macs_of(number: int) -> float:
    return 50.0 + number * 5 % 12


def plain_ends(numbers: list[int]) -> dict[int, int]:
    """Last epochs of the toy's trials that run one after another, by the plain order."""
    at: dict[int, list[Point]] = {2: [], 4: []}
    ends = dict.fromkeys(numbers, 8)
    for number in numbers:
        for rung, points in at.items():
            points.append((-accuracy_of(number, rung), macs_of(number)))
            position = plain_order(points).index(len(points) - 1)
            front = not any(dominates(p, points[-1]) for p in points) and number != 5
            if not (position < len(points) // 2 or (front and position < 2)):
                ends[number] = rung
                break
    return ends


@pytest.mark.slow
def test_in_a_run_of_ray_tune_it_stops_the_trials_that_it_should(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    namespace: dict[str, Any] = {"PAUSE": 0.0}
    exec(TUNE, namespace)
    ends = plain_ends(list(range(12)))
    assert len(set(ends.values())) == 3  # some stopped at either rung, some not
    assert namespace["run"](str(tmp_path / "undisturbed"), list(range(12))) == ends


@pytest.mark.slow
def test_a_second_run_goes_on_where_the_first_was_killed(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After six trials, of which the last was being trained: it had come to its first rung, and was not decided."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    namespace: dict[str, Any] = {"PAUSE": 0.0}
    exec(TUNE, namespace)
    ends = plain_ends(list(range(12)))
    records = [
        Record(f"number_{number}", rung, (accuracy_of(number, rung), macs_of(number)), stopped)
        for number in range(7)
        for rung in (2, 4)
        if rung <= (2 if number == 6 else ends[number])
        for stopped in [None if number == 6 else ends[number] == rung]
    ]
    assert namespace["run"](str(tmp_path), list(range(6, 12)), records) == {n: ends[n] for n in range(6, 12)}
