"""What is typed of a sweep reaches what it is of: every arm, the training, the execution."""

from __future__ import annotations

import dataclasses

import pytest

from nasray import registry
from nasray.cli.all_verbs import VERBS
from nasray.cli.sweep_options import selected
from nasray.errors import InvalidInput
from nasray.settings import Range
from nasray.sweeps import AccuracySource, Budget, Sweep
from nasray.sweeps.options import with_options


def typed(name: str, command: str = "") -> Sweep:
    values = VERBS["sweep"].taken([name, *command.split()])
    return with_options(selected(values.pop("sweep")), values)


@pytest.mark.parametrize("name", registry.names("sweep"))
def test_nothing_typed_changes_nothing(name: str) -> None:
    found = registry.find("sweep", name)
    assert typed(name) == getattr(found, "like", found)  # of a fitted one


def test_a_setting_reaches_every_arm_that_has_it_also_as_a_flag_that_says_no() -> None:
    sweep = typed("all_methods_digits", "--no-decay-normalisations --epochs 3 --learning-rate=0.2 --sparsity 3")
    for arm in sweep.arms:
        settings = arm.settings.to_dict()
        assert (settings["decay_normalisations"], settings["epochs"], settings["learning_rate"]) == (False, 3, 0.2)
        # One that only some have, and the first has not; what was varied there is fixed.
        assert settings.get("sparsity", 3) == 3
        assert "sparsity" not in arm.param_space
    assert [arm.method for arm in sweep.arms if "sparsity" in arm.settings.to_dict()] == [
        "ista_nas", "ista_nas_one_stage",
    ]  # fmt: skip
    assert dict(sweep.arms[0].param_space) == {"lambda0": (0.01, 0.1)}


def test_a_value_that_an_arm_has_already_is_fixed_too() -> None:
    sweep = typed("digits", "--mu 30")
    assert dict(sweep.arms[0].param_space) == {"lambda0": (0.003, 0.01, 0.03, 0.1)}
    assert len(sweep.searches()) == 4


def test_training_and_execution() -> None:
    before = registry.find("sweep", "digits", Sweep)
    sweep = typed("digits", "--training.epochs 3 --training.select final --training.seeds 4 5 --training.no-nesterov")
    assert (sweep.training.settings.epochs, sweep.training.select, sweep.training.seeds) == (3, "final", (4, 5))
    assert sweep.arms == before.arms  # epochs of the training are not those of the searches
    moved = typed("digits", "--storage /elsewhere --cpus-per-trial 2 --gpus-per-trial auto --trackers optuna mlflow")
    assert moved.identity() == before.identity()
    assert (moved.execution.storage, moved.execution.cpus_per_trial) == ("/elsewhere", 2.0)
    assert (moved.execution.gpus_per_trial, moved.execution.trackers) == ("auto", ("optuna", "mlflow"))


def test_budget_table_method_and_space() -> None:
    sweep = typed("nas_bench_201", "--table t.csv --table-columns a=12 b=200 --table-unit fraction --budget 120")
    assert sweep.table == AccuracySource(path="t.csv", columns=("a=12", "b=200"), unit="fraction")
    assert sweep.budget == Budget(120.0)
    costly = typed("nas_bench_201", "--table t.csv --table-costs joules --objectives accuracy raspi4")
    assert costly.table == AccuracySource(path="t.csv", costs=("joules", "raspi4"))
    assert [arm.method for arm in typed("nas_bench_201", "--method tpe").arms] == ["tpe"]
    assert {arm.space for arm in typed("nas_bench_201", "--space gold").arms} == {"gold"}


def test_a_table_of_another_dataset_says_what_its_networks_take() -> None:
    described = "--dataset scenes --table t.csv --table-columns a=90 --table-input-shape 3 64 64 --table-classes 63"
    sweep = typed("nas_bench_201", described)
    size = sweep.network_size(sweep.arms[0], None)
    assert (size.input_shape, size.classes) == ((3, 64, 64), 63)


def test_draws_are_those_of_every_arm_with_ranges() -> None:
    sweep = registry.find("sweep", "all_methods_digits", Sweep)
    ranges = {"lambda0": Range(low=0.01, high=0.1)}
    sweep = dataclasses.replace(sweep, arms=(dataclasses.replace(sweep.arms[0], param_space=ranges), *sweep.arms[1:]))
    assert [arm.samples for arm in with_options(sweep, {"draws": 3}).arms] == [3] + [1] * 9
    with pytest.raises(InvalidInput, match=r"draws 3: no method varies anything over a range"):
        typed("digits", "--draws 3")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--table-unit fraction", "--table FILE"),
        ("--budget 0", "budget 0.0"),
        ("--training.epoch 3", "did you mean --training.epochs?"),
        ("--sparsty 3", "did you mean --sparsity?"),
        ("--training.workers 1000", "a batch has 64 examples"),
        ("--sparsity 0", "sparsity 0"),
    ],
)
def test_what_cannot_be_is_refused(command: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        typed("all_methods_digits", command)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
