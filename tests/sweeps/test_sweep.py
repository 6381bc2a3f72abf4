"""Sweeps as values: what they accept, what they expand to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.sweeps import AccuracySource, Arm, Budget, EvaluationSettings, Execution, Range, Sweep, Training
from nasray.sweeps.changes import with_execution, with_method, with_training
from nasray.trials.rows import knob_columns
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import SearchTrial


def make(**changes: object) -> Sweep:
    """A sweep of one arm; changes are of whichever has the field."""
    names = {field.name for field in dataclasses.fields(Arm)}
    arm: dict = dict(method="gold_nas", space="gold", settings=GoldNAS.Config(channels=4, cells=3))
    arm |= {name: value for name, value in changes.items() if name in names}
    rest = {name: value for name, value in changes.items() if name not in names}
    return Sweep(**{"name": "s", "dataset": "digits", "arms": (Arm(**arm),), **rest})


def name_of(config: SearchConfig) -> str:
    return SearchTrial(run="s", config=config).name


def test_searches_are_all_combinations_of_seeds_grids_and_draws() -> None:
    sweep = make(
        param_space={"lambda0": Range(low=1e-5, high=1e-2, log=True), "mu": (0.0, 1.0), "channels": (4, 8)},
        samples=3,
        seeds=(5, 6),
    )
    configs = sweep.searches()
    combinations = {(c.seed, c.settings.lambda0, c.settings.mu, c.settings.channels) for c in configs}
    assert len(configs) == len(combinations) == 2 * 3 * 2 * 2
    assert len({name_of(c) for c in configs}) == len(configs)
    assert [c.to_dict() for c in sweep.searches()] == [c.to_dict() for c in configs]


def test_trial_id_depends_on_the_settings_and_not_on_where_the_data_lie() -> None:
    (one,) = make().searches()
    assert name_of(one) == name_of(dataclasses.replace(one, data_root="/elsewhere"))
    assert name_of(one) != name_of(dataclasses.replace(one, seed=1))
    assert name_of(one) != name_of(dataclasses.replace(one, settings=GoldNAS.Config(channels=4, cells=3, mu=1.0)))


def test_candidates_count_at_the_size_of_the_evaluation() -> None:
    size = {"channels": 5, "cells": 3, "skeleton": "imagenet", "width_budget": 0.25}
    (made,) = make(training=Training(settings=EvaluationSettings(**size))).searches()
    assert {name: getattr(made, f"evaluation_{name}") for name in size} == size


def test_candidates_count_at_the_size_of_a_tables_networks() -> None:
    sweep = make(
        method="random", space="nas_bench_201", dataset="cifar10", table=AccuracySource(path="table.csv"),
        settings=Random.Config(cells=5), training=Training(settings=EvaluationSettings(channels=3, cells=5)),
    )  # fmt: skip
    (made,) = sweep.searches()
    published = registry.find("space", "nas_bench_201").published_sizes["cifar10"]
    assert (made.evaluation_channels, made.evaluation_cells) == (published.channels, published.cells) == (16, 15)


@pytest.mark.parametrize("name", registry.names("sweep"))
def test_every_ready_sweep_survives_json(name: str) -> None:
    found = registry.find("sweep", name)
    sweep = getattr(found, "like", found)  # of a fitted one
    again = Sweep.of(json.loads(json.dumps(sweep.to_dict())))
    assert again == sweep
    assert [c.to_dict() for c in again.searches()] == [c.to_dict() for c in sweep.searches()]


def test_with_method_keeps_what_both_methods_have() -> None:
    sweep = make(param_space={"lambda0": (1e-3, 1e-2), "learning_rate": (0.1, 0.2)})
    other = with_method(sweep, "random")
    (arm,) = other.arms
    assert type(arm.settings) is Random.Config
    assert (arm.settings.channels, arm.settings.cells) == (4, 3)
    assert dict(arm.param_space) == {"learning_rate": (0.1, 0.2)}


def test_knob_columns_never_take_the_name_of_a_column() -> None:
    columns = knob_columns(
        GoldNAS.Config(channels=4, epochs=3, stop_macs=240.0), ["channels", "epochs", "learning_rate"]
    )
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
        ({"seeds": (-1,)}, "seeds -1"),
        ({"seeds": (0.5,)}, "seeds 0.5"),
        ({"name": "../out"}, "'../out'"),
        ({"arms": ()}, "arms ()"),
        ({"budget": 3.0}, "budget 3.0"),
        ({"reference": (1.0,)}, "reference (1.0,)"),
        ({"name": 5}, "name 5"),
        ({"seeds": 0}, "seeds 0"),
        ({"objectives": None}, "objectives None"),
        ({"reference": 5.0}, "reference 5.0"),
        ({"random_baseline": "no"}, "random_baseline 'no'"),
        ({"training": None}, "training None"),
        ({"execution": {}}, "execution {}"),
        ({"param_space": {"lamda0": (1.0,)}}, "'lamda0'"),
        ({"param_space": None}, "param_space None"),
        ({"param_space": {3: (1,)}}, "3 in a param space"),
        ({"param_space": {"epochs": 3}}, "epochs in a param space: 3"),
        ({"param_space": {"augmentation": "standard"}}, "augmentation in a param space: 'standard'"),
        ({"param_space": {"lambda0": ()}}, "lambda0 () in a param space"),
        ({"param_space": {"lambda0": (1.0, 100.0)}}, "lambda0 100.0"),
        ({"param_space": {"lambda0": Range(low=1e-9, high=1.0)}}, "lambda0 1e-09"),
    ],
)
def test_what_a_sweep_refuses(changes: dict, named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make(**changes)
    assert named in str(caught.value)
    assert "expected" in str(caught.value) or "did you mean" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make_it", "named"),
    [
        (lambda: Training(select="all"), "training.select 'all'"),
        (lambda: Training(within=float("nan")), "training.within nan"),
        (lambda: Training(seeds=()), "training.seeds ()"),
        (lambda: Training(seeds=3), "training.seeds 3"),
        (lambda: Training(rungs=None), "training.rungs None"),
        (lambda: Execution(trackers=None), "trackers None"),
        (lambda: Training(rungs=(12, 4)), "training.rungs (12, 4)"),
        (lambda: Training(rungs=(0,)), "training.rungs 0"),
        (lambda: Training(reduction_factor=1.0), "training.reduction_factor 1.0"),
        (lambda: Training(workers=1.5), "training.workers 1.5"),
        (lambda: Execution(cpus_per_trial=0), "cpus_per_trial 0"),
        (lambda: Execution(cpus_per_trial=float("nan")), "cpus_per_trial nan"),
        (lambda: Execution(gpus_per_trial="all"), "gpus_per_trial 'all'"),
        (lambda: Execution(max_failures=-1), "max_failures -1"),
        (lambda: Execution(storage=3), "storage 3"),
        (lambda: Execution(trackers=("optuna", "optuna")), "trackers"),
        (lambda: Budget(0.0), "budget 0.0"),
        (lambda: Budget(float("inf")), "budget inf"),
    ],
)
def test_each_part_refuses_what_it_cannot_be(make_it: Callable[[], object], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_it()
    assert named in str(caught.value)
    assert "expected" in str(caught.value) or "did you mean" in str(caught.value)


def test_a_param_space_is_read_once() -> None:
    sweep = make(param_space={"lambda0": (value for value in (0.1, 0.2))})
    assert dict(sweep.arms[0].param_space) == {"lambda0": (0.1, 0.2)}
    with pytest.raises(InvalidInput, match="device in a param space"):
        make(param_space={"device": ("cpu",)})


def test_identity_is_everything_but_the_execution() -> None:
    sweep = make()
    elsewhere = with_execution(
        sweep, storage="s3://bucket", data_root="/data", address="auto", cpus_per_trial=2.0, gpus_per_trial="auto",
        max_failures=0, trackers=("optuna",), quiet=True,
    )  # fmt: skip
    assert {f.name for f in dataclasses.fields(Execution)} == {
        f.name for f in dataclasses.fields(Execution)
        if getattr(elsewhere.execution, f.name) != getattr(sweep.execution, f.name)
    }  # fmt: skip
    assert elsewhere.identity() == sweep.identity()
    for other in (
        make(seeds=(1,)),
        make(param_space={"mu": (1.0,)}),
        make(budget=Budget(3.0)),
        make(dataset="cifar10"),
        with_training(sweep, workers=2),
        with_training(sweep, epochs=3),
    ):
        assert other.identity() != sweep.identity()
