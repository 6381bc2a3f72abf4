"""Sweeps as values: what they accept, what they expand to."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.searchers.searchers import find_searcher
from nasray.sweeps import EvaluationSettings, Range, Sweep
from nasray.sweeps.sweep import latin_hypercube, with_method
from nasray.trials.rows import knob_columns, trial_id


def make(**changes: object) -> Sweep:
    fields: dict = dict(
        name="s", method="gold_nas", space="gold", dataset="digits", settings=GoldNAS.Config(channels=4, cells=3)
    )
    return Sweep(**{**fields, **changes})


def test_searches_are_all_combinations_of_seeds_grids_and_draws() -> None:
    sweep = make(
        param_space={"lambda0": Range(low=1e-5, high=1e-2, log=True), "mu": (0.0, 1.0), "channels": (4, 8)},
        samples=3,
        seeds=(5, 6),
    )
    configs = sweep.searches()
    combinations = {(c.seed, c.settings.lambda0, c.settings.mu, c.settings.channels) for c in configs}
    assert len(configs) == len(combinations) == 2 * 3 * 2 * 2
    assert len({trial_id(c) for c in configs}) == len(configs)
    assert [c.to_dict() for c in sweep.searches()] == [c.to_dict() for c in configs]


@pytest.mark.parametrize("samples", [1, 2, 7, 20])
def test_latin_hypercube_falls_into_each_part_of_each_range_once(samples: int) -> None:
    ranges = {"a": Range(low=1e-4, high=1.0, log=True), "b": Range(low=-2.0, high=3.0)}
    draws = latin_hypercube(ranges, samples)
    for name, places in {
        "a": [np.log(d["a"] / 1e-4) / np.log(1e4) for d in draws],
        "b": [(d["b"] + 2) / 5 for d in draws],
    }.items():
        assert sorted(int(np.clip(p, 0, 1 - 1e-9) * samples) for p in places) == list(range(samples)), name


def test_trial_id_depends_on_the_settings_and_not_on_where_the_data_lie() -> None:
    (one,) = make().searches()
    assert trial_id(one) == trial_id(dataclasses.replace(one, data_root="/elsewhere"))
    assert trial_id(one) != trial_id(dataclasses.replace(one, seed=1))
    assert trial_id(one) != trial_id(dataclasses.replace(one, settings=GoldNAS.Config(channels=4, cells=3, mu=1.0)))


@pytest.mark.parametrize("arm", [{}, {"method": "evolution", "settings": find_searcher("evolution").Config()}])
def test_candidates_count_at_the_size_of_the_evaluation(arm: dict) -> None:
    size = {"channels": 5, "cells": 3, "skeleton": "imagenet", "width_budget": 0.25}
    sweep = make(**arm, evaluation=EvaluationSettings(**size))
    made = sweep.search_config(sweep.arms[0])
    assert {name: getattr(made, f"evaluation_{name}") for name in size} == size


def test_candidates_count_at_the_size_of_a_tables_networks() -> None:
    sweep = make(
        method="random", space="nas_bench_201", dataset="cifar10", table="table.csv", settings=Random.Config(cells=5),
        evaluation=EvaluationSettings(channels=3, cells=5),
    )  # fmt: skip
    made = sweep.search_config(sweep.arms[0])
    published = registry.find("space", "nas_bench_201").published_sizes["cifar10"]
    assert (made.evaluation_channels, made.evaluation_cells) == (published.channels, published.cells) == (16, 15)


@pytest.mark.parametrize("name", registry.names("sweep"))
def test_every_ready_sweep_survives_json(name: str) -> None:
    sweep = registry.find("sweep", name)
    again = Sweep.of(json.loads(json.dumps(sweep.to_dict())))
    assert again == sweep
    assert [c.to_dict() for c in again.searches()] == [c.to_dict() for c in sweep.searches()]


def test_with_method_keeps_what_both_methods_have() -> None:
    sweep = make(param_space={"lambda0": (1e-3, 1e-2), "learning_rate": (0.1, 0.2)})
    other = with_method(sweep, "random")
    assert type(other.settings) is Random.Config
    assert (other.settings.channels, other.settings.cells) == (4, 3)
    assert dict(other.param_space) == {"learning_rate": (0.1, 0.2)}


def test_knob_columns_never_take_the_name_of_a_column() -> None:
    columns = knob_columns(GoldNAS.Config(channels=4, epochs=3), ["channels", "epochs", "learning_rate"])
    assert columns == {
        "lambda0": 1e-5,
        "mu": 0.0,
        "stop_macs": 240.0,
        "search_channels": 4,
        "search_epochs": 3,
        "learning_rate": 0.01,
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"method": "nope"}, "'nope'"),
        ({"space": "nope"}, "'nope'"),
        ({"dataset": "nope"}, "'nope'"),
        ({"settings": Random.Config()}, "Random.Config"),
        ({"seeds": ()}, "seeds ()"),
        ({"seeds": (1, 1)}, "seeds (1, 1)"),
        ({"samples": 0}, "samples 0"),
        ({"samples": 3}, "samples 3"),
        ({"name": "../out"}, "'../out'"),
        ({"param_space": {"lamda0": (1.0,)}}, "'lamda0'"),
        ({"param_space": {"lambda0": (1.0, 100.0)}}, "lambda0 100.0"),
        ({"param_space": {"lambda0": Range(low=1e-9, high=1.0)}}, "lambda0 1e-09"),
    ],
)
def test_what_a_sweep_refuses(changes: dict, named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make(**changes)
    assert named in str(caught.value)
    assert "accepted" in str(caught.value)
    assert "\n" not in str(caught.value)
