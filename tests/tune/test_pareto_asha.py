"""ParetoASHA's order against plain loops, its decisions in a run of Ray Tune, and what a kill leaves of them."""

from __future__ import annotations

import ast
import json
import math
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasray.tune import pareto_asha
from nasray.tune.pareto_asha import ParetoASHA, epsilon_net_order, standing

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


# A trial, as much of it as a scheduler touches.


@dataclass
class Trial:
    trial_id: str
    saved: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)

    def invalidate_json_state(self) -> None:
        self.saved = True


def scheduler(objectives: int = 2, eta: float = 3, **arguments: Any) -> ParetoASHA:
    names = [f"m{i}" for i in range(objectives)]
    arguments = arguments or {"rungs": (12, 200)}
    return ParetoASHA(names, ["min"] * objectives, time_attr="epoch", reduction_factor=eta, **arguments)


def report(asha: ParetoASHA, trial: Trial | str, point: Point, epoch: float = 12) -> bool:
    """Whether the trial goes on."""
    trial = Trial(trial) if isinstance(trial, str) else trial
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
    decisions = [asha.on_trial_result(None, Trial(str(i)), result) for i, result in enumerate(results)]
    assert decisions == ["CONTINUE", "CONTINUE", "CONTINUE", "STOP"]


def test_the_first_few_keep_both_ends_of_the_front() -> None:
    assert all_decisions([(5.0, 5.0), (1.0, 9.0), (9.0, 1.0), (6.0, 4.0)], eta=4) == [True, True, True, False]


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
    trial = Trial("a")
    assert report(asha, trial, (1.0, 1.0), epoch=2)
    assert not asha.rungs[3]
    assert report(asha, trial, (1.0, 1.0), epoch=30)
    assert [list(asha.rungs[rung]) for rung in (3, 9, 27, 81)] == [[], [], ["a"], []]
    assert report(asha, trial, (2.0, 2.0), epoch=31)
    assert asha.rungs[27]["a"].values == (1.0, 1.0)
    assert not report(asha, trial, (0.0, 0.0), epoch=100)


def test_a_trial_that_ends_at_a_rung_counts_there_and_nowhere_else() -> None:
    asha = scheduler(eta=2, rungs=(2, 4, 8))
    ended, between = Trial("ended"), Trial("between")
    asha.on_trial_complete(None, ended, {"epoch": 2, "m0": 1.0, "m1": 1.0, "done": True})
    assert report(asha, between, (0.0, 0.0), epoch=2)
    asha.on_trial_complete(None, between, {"epoch": 3, "m0": 0.0, "m1": 0.0, "done": True})
    asha.on_trial_complete(None, Trial("nothing reported"), {})
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


@pytest.mark.parametrize("way", ["pickle", "save and restore", "trials"])
@given(points=point_sets(2, smallest=6, largest=20))
def test_restored_it_decides_as_if_nothing_had_been(
    tmp_path_factory: pytest.TempPathFactory, way: str, points: list[Point]
) -> None:
    points[1] = (NAN, 0.0)
    half = len(points) // 2
    first = scheduler(eta=2)
    trials = [Trial(str(i)) for i in range(len(points))]
    decisions = [report(first, trial, point) for trial, point in zip(trials, points, strict=True)][half:]

    halved = scheduler(eta=2)
    for trial, point in zip(trials[:half], points, strict=False):
        vars(trial).pop("pareto_asha_record")
        report(halved, trial, point)
    if way == "pickle":
        restored = pickle.loads(pickle.dumps(halved))
    else:
        restored = scheduler(eta=2)
        if way == "trials":  # as Tune does: last results first, every trial through JSON
            for trial in reversed(trials[:half]):
                record = json.loads(json.dumps(vars(trial)))
                again = Trial(trial.trial_id)
                vars(again).update(record)
                restored.on_trial_add(None, again)
        else:
            path = str(tmp_path_factory.mktemp("saved") / "scheduler")
            halved.save(path)
            restored.restore(path)
    assert [report(restored, t, p) for t, p in zip(trials[half:], points[half:], strict=True)] == decisions


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
    with pytest.raises(ValueError, match=f"^{word}.*accepted") as error:
        ParetoASHA(**{"max_t": 10, **arguments})
    assert "\n" not in str(error.value)


def test_a_result_without_a_metric_is_refused_by_its_name() -> None:
    asha = scheduler()
    asha.on_trial_result(None, Trial("a"), {"epoch": 3})  # needed at a rung only
    with pytest.raises(ValueError, match=r"^result of trial a at epoch 12 without 'm1': .*$"):
        asha.on_trial_result(None, Trial("a"), {"epoch": 12, "m0": 1.0})
    with pytest.raises(ValueError, match=r"^result of trial a without 'epoch': .*$"):
        asha.on_trial_result(None, Trial("a"), {"m0": 1.0, "m1": 1.0})


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

def run(folder):
    asha = ParetoASHA(["accuracy", "costs/macs"], ["max", "min"], "epoch", rungs=(2, 4, 8), reduction_factor=2)
    space = {"number": tune.grid_search(list(range(12)))}
    if tune.Tuner.can_restore(f"{folder}/toy"):
        tuner = tune.Tuner.restore(f"{folder}/toy", Toy, param_space=space)
    else:
        tuner = tune.Tuner(
            Toy,
            param_space=space,
            tune_config=tune.TuneConfig(scheduler=asha, reuse_actors=True),
            run_config=tune.RunConfig(
                name="toy", storage_path=folder, verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2),
            ),
        )
    results = tuner.fit()
    assert not results.errors, results.errors
    return {r.config["number"]: r.metrics["epoch"] for r in results}
"""


QUIET = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}


def plain_ends(numbers: list[int]) -> dict[int, int]:
    """Last epochs of the toy's trials that run one after another, by the plain order."""
    at: dict[int, list[Point]] = {2: [], 4: []}
    ends = dict.fromkeys(numbers, 8)
    for number in numbers:
        for rung, points in at.items():
            accuracy = NAN if number == 5 else (number * 7 % 12) / 12 * (1 - 0.5**rung)
            points.append((-accuracy, 50.0 + number * 5 % 12))
            position = plain_order(points).index(len(points) - 1)
            front = not any(dominates(p, points[-1]) for p in points) and number != 5
            if not (position < len(points) // 2 or (front and position < 2)):
                ends[number] = rung
                break
    return ends


def test_in_a_run_of_ray_tune_it_stops_the_trials_that_it_should(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    namespace: dict[str, Any] = {"PAUSE": 0.0}
    exec(TUNE, namespace)
    ends = plain_ends(list(range(12)))
    assert len(set(ends.values())) == 3  # some stopped at either rung, some not
    assert namespace["run"](str(tmp_path)) == ends


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sigkill_of_the_driver_costs_it_no_entry(tmp_path: Path, run_and_kill: Any) -> None:
    script = tmp_path / "toy.py"
    start_ray = "import ray; ray.init(address='local', num_cpus=1, include_dashboard=False, log_to_driver=False)"
    tell = "import json; print(json.dumps(run(sys.argv[1])))"
    script.write_text(f"PAUSE = 0.1\n{TUNE}\nif __name__ == '__main__':\n    {start_ray}\n    {tell}\n")
    command = [sys.executable, str(script), str(tmp_path / "runs")]
    environment = {**os.environ, **QUIET, "TUNE_GLOBAL_CHECKPOINT_S": "1"}

    def records() -> dict[int, list[list[Any]]]:
        """Number of a trial to its entries, as Tune's state of the run has them."""
        written = sorted((tmp_path / "runs" / "toy").glob("experiment_state-*.json"))
        try:
            state = json.loads(written[-1].read_text())
        except (IndexError, ValueError):  # none yet, or being written
            return {}
        trials = [json.loads(trial) for trial, _ in state["trial_data"]]
        return {t["config"]["number"]: t["pareto_asha_record"] for t in trials if "pareto_asha_record" in t}

    for judged in (3, 7):  # killed once so many trials have come to a rung
        run_and_kill(command, environment, lambda judged=judged: len(records()) >= judged)
    end = subprocess.run(command, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, env=environment)
    ends = {int(number): epoch for number, epoch in json.loads(end.stdout.decode().splitlines()[-1]).items()}

    # A restored run starts the trials that are left in another order; this is the one in which they came to the rungs.
    found = records()
    numbers = sorted(range(12), key=lambda number: found[number][0][1])
    assert ends == plain_ends(numbers)
    arrivals = sorted(entry[1] for record in found.values() for entry in record)
    assert arrivals == list(range(len(arrivals)))  # none lost, none counted twice
