"""Regularised evolution: who is a parent, what is never proposed, and how good its fronts are on NAS-Bench-201."""

from __future__ import annotations

import json
import math
import os
from itertools import product
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pandas as pd
import pytest

from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.searchers.evolution import RegularisedEvolution
from nasray.spaces import Architecture, CellGraph, CellSpace, NetworkSize, from_string, to_string
from nasray.spaces.encoding import decode, encode
from nasray.tune.evolution_search import EvolutionSearch
from search_spaces.architectures.gold import GOLD
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201, OPERATIONS

CIFAR = NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=10)


def worth(architecture: Architecture) -> tuple[float, float]:
    """Two objectives that pull apart, to be minimised and maximised."""
    text = architecture.to_json()
    return float(text.count("conv_3x3") * 9 + text.count("conv_1x1")), math.sqrt(text.count("conv")) + len(text) / 1e3


def evolution(space: CellSpace = NAS_BENCH_201, **arguments: Any) -> RegularisedEvolution:
    return RegularisedEvolution(space, 15 if space is NAS_BENCH_201 else 3, ["min", "max"], **arguments)


def evolve(one: RegularisedEvolution, evaluations: int) -> list[Architecture]:
    proposed = []
    for _ in range(evaluations):
        architecture = one.ask()
        assert architecture is not None
        proposed.append(architecture)
        one.tell(architecture, worth(architecture))
    return proposed


def distance(one: Architecture, other: Architecture) -> int:
    a, b = encode(NAS_BENCH_201, one), encode(NAS_BENCH_201, other)
    return sum(a[name] != b[name] for name in a)


def test_every_mutant_is_one_change_from_a_living_parent_that_none_living_dominates() -> None:
    proposed = evolve(evolution(population=8, sample=8, initial=5, seed=3), 100)
    for index in range(5, 100):
        living = proposed[max(0, index - 8) : index]
        values = [worth(one) for one in living]
        front = [
            one
            for one, (low, high) in zip(living, values, strict=True)
            if not any(a <= low and b >= high and (a, b) != (low, high) for a, b in values)
        ]
        # Where all neighbours of the front are known, one is drawn at random.
        neighbours = {
            to_string(NAS_BENCH_201, decode(NAS_BENCH_201, {**encode(NAS_BENCH_201, one), name: operation}, 15))
            for one in front
            for name, operation in product(encode(NAS_BENCH_201, one), OPERATIONS)
        }
        known = {to_string(NAS_BENCH_201, one) for one in proposed[:index]}
        assert min(distance(proposed[index], one) for one in front) == 1 or neighbours <= known


def test_a_sample_of_one_makes_any_living_one_a_parent() -> None:
    proposed = evolve(evolution(population=8, sample=1, initial=8, seed=3), 60)
    parents = {min(range(1, 9), key=lambda age: distance(proposed[i], proposed[i - age])) for i in range(8, 60)}
    assert len(parents) > 4


@pytest.mark.parametrize("space", [NAS_BENCH_201, GOLD], ids=["nas_bench_201", "gold"])
def test_nothing_is_proposed_twice_nor_above_the_budget(space: CellSpace) -> None:
    size = CIFAR if space is NAS_BENCH_201 else CIFAR.replace(cells=3, channels=4)
    budget = 60.0 if space is NAS_BENCH_201 else 1.5
    one = evolution(space, violation=lambda architecture: macs(space, architecture, size) - budget, seed=1)
    known = one.ask()
    assert known is not None
    one.tell(known, (1.0, math.nan))  # as good as failed: not a parent, and not proposed again
    proposed = [known, *evolve(one, 150)]
    pending = [one.ask() for _ in range(20)]  # asked at once, not yet told
    found = {architecture.id for architecture in (*proposed, *pending) if architecture is not None}
    assert len(found) == 171
    costs = [macs(space, architecture, size) for architecture in (*proposed, *pending) if architecture is not None]
    assert max(costs) <= budget
    assert min(costs) < budget / 1.5


def test_a_budget_that_nothing_meets_is_refused() -> None:
    one = evolution(violation=lambda architecture: worth(architecture)[0] + 2)
    with pytest.raises(InvalidInput, match=r"^budget that no architecture of 'nas_bench_201' was found to meet"):
        one.ask()


def test_a_small_space_is_gone_through_once() -> None:
    graph = CellGraph(inputs=1, nodes=1, operations=OPERATIONS, none="none", one_per_edge=True, output="sum")
    fields = {name: getattr(NAS_BENCH_201, name) for name in NAS_BENCH_201.__dataclass_fields__}
    space = CellSpace(**{**fields, "name": "five", "cells": {"normal": graph}})
    one = RegularisedEvolution(space, 15, ["min", "max"], initial=2)
    assert len({architecture.id for architecture in evolve(one, 5)}) == 5
    assert one.ask() is None


def test_told_state_asks_for_the_same() -> None:
    one, other = evolution(seed=5), evolution(seed=6)
    evolve(one, 130)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert evolve(one, 40) == evolve(other, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population": 0}, "population 0: accepted are whole numbers from 1 up"),
        ({"sample": 0}, "sample 0: .*"),
        ({"initial": 0}, "initial 0: .*"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        evolution(**arguments)
    with pytest.raises(InvalidInput, match=r"^modes .*: accepted are 'min' or 'max'"):
        RegularisedEvolution(NAS_BENCH_201, 15, ["least"])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match=r"^3 values: accepted are 2, "):
        evolution().tell(from_string(NAS_BENCH_201, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"), (1.0, 2.0, 3.0))


@pytest.mark.data
def test_on_nas_bench_201_it_comes_within_a_hundredth_of_the_true_front() -> None:
    path = Path(os.environ.get("NASRAY_DATA", "")) / "nasbench201.parquet"
    if not path.is_file():
        pytest.skip("no nasbench201.parquet in NASRAY_DATA")
    table = pd.read_parquet(path)
    row = {text: index for index, text in enumerate(table.arch)}
    # Every convolution costs as much in all of the 15 cells; 7.783 M is the rest.
    costs = (table.n_nor_conv_3x3 + table.n_nor_conv_1x1 / 9) * (9 * 16 * 16 * 32 * 32 * 15 / 1e6) + 7.783
    points = np.column_stack([costs, 100 - table.cifar10_test_acc_200_nats])
    reached = []
    for seed in range(3):
        one = RegularisedEvolution(NAS_BENCH_201, 15, ["min", "min"], seed=seed)
        found = []
        for _ in range(1000):
            architecture = one.ask()
            assert architecture is not None
            found.append(row[to_string(NAS_BENCH_201, architecture)])
            one.tell(architecture, points[found[-1]].tolist())
        reached.append(moocore.hypervolume(points[found], ref=[221.0, 14.0]))
    assert np.median(reached) > 0.99 * moocore.hypervolume(points, ref=[221.0, 14.0])


# As a searcher.


def test_only_trials_that_ran_to_the_end_are_told(tmp_path: Path) -> None:
    told = []

    class Told(RegularisedEvolution):
        def tell(self, architecture: Architecture, values: Any) -> None:
            told.append((architecture.id, tuple(values)))
            super().tell(architecture, values)

    search = EvolutionSearch(Told(NAS_BENCH_201, 15, ["min", "max"]), ["macs", "accuracy"], 4, "epoch")
    configs = [search.suggest(str(i)) for i in range(6)]
    architectures = [Architecture.from_json(NAS_BENCH_201, config["architecture"]) for config in configs]
    end = {"epoch": 4, "macs": 1.0, "accuracy": 0.5}
    search.on_trial_complete("0", {**end, "epoch": 1})  # stopped
    search.on_trial_complete("1", error=True)
    search.on_trial_complete("2")
    search.on_trial_complete("3", end)
    search.on_trial_complete("3", end)
    search.save(str(tmp_path / "state"))
    restored = EvolutionSearch(Told(NAS_BENCH_201, 15, ["min", "max"], seed=9), ["macs", "accuracy"], 4, "epoch")
    restored.restore(str(tmp_path / "state"))
    restored.on_trial_complete("4", {**end, "epoch": 5})
    assert told == [(architectures[3].id, (1.0, 0.5)), (architectures[4].id, (1.0, 0.5))]
    with pytest.raises(InvalidInput, match=r"^result of trial 5 without 'accuracy': "):
        restored.on_trial_complete("5", {"epoch": 4, "macs": 1.0})
    assert restored.suggest("6") == search.suggest("6")


TUNE = """
from ray import tune
from nasray.spaces import from_string, to_string
from nasray.spaces.architecture import Architecture
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

class Toy(tune.Trainable):
    def setup(self, config):
        self.epoch, self.architecture = 0, Architecture.from_json(NAS_BENCH_201, config["architecture"])
    def reset_config(self, config):
        self.setup(config)
        return True
    def step(self):
        self.epoch += 1
        text = to_string(NAS_BENCH_201, self.architecture)
        cost = 9.0 * text.count("3x3") + text.count("1x1")
        return {"epoch": self.epoch, "accuracy": cost ** 0.5 + text.count("skip") * self.epoch, "macs": cost}
    def save_checkpoint(self, folder):
        pass
"""


def test_under_ray_tune_beside_pareto_asha(ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import tune

    from nasray.tune.pareto_asha import ParetoASHA

    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    namespace: dict[str, Any] = {}
    exec(TUNE, namespace)
    search = EvolutionSearch(
        RegularisedEvolution(NAS_BENCH_201, 15, ["max", "min"], initial=5), ["accuracy", "macs"], 3, "epoch"
    )
    asha = ParetoASHA(["accuracy", "macs"], ["max", "min"], "epoch", rungs=(1, 3))
    tuner = tune.Tuner(
        namespace["Toy"],
        tune_config=tune.TuneConfig(search_alg=search, scheduler=asha, reuse_actors=True, num_samples=20),
        run_config=tune.RunConfig(name="toy", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    assert len({result.config["architecture"] for result in results}) == 20
    complete = {result.config["architecture"] for result in results if result.metrics["epoch"] == 3}
    assert 5 < len(complete) < 20
    assert {text for text, _ in search.evolution.state_dict()["alive"]} == complete
