"""What a sweep refuses before it writes anything, and that nothing is left of a refused start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from nasray import registry
from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.runs import open_storage
from nasray.searchers.random import RandomSearch
from nasray.sweeps import Arm, Budget, EvaluationSettings, Range, Sweep, Training
from nasray.sweeps.changes import with_execution, with_training
from nasray.sweeps.check import check
from nasray.sweeps.run import run_sweep

SMALL = dict(channels=2, cells=3, batch_size=16, augmentation="none", auxiliary_weight=0.0, epochs=1)

MINE = """
import dataclasses
import torch
from nasray import registry
from nasray.methods.random import Random
from nasray.networks.operations import Operation
from nasray.training import Dataset

def plain(root):
    # As the README's: without an augmentation of its own.
    part = torch.zeros(40, 1, 8, 8), torch.arange(40) % 4
    return Dataset(name="plain", task="classification", classes=4, input_shape=(1, 8, 8), train=part, test=part,
                   augmentations={"none": lambda x, g: x})

def deep(root):
    part = torch.zeros(40, 1, 8, 8), torch.zeros(40, 8, 8)
    return Dataset(name="deep", task="depth", classes=1, input_shape=(1, 8, 8), train=part, test=part,
                   augmentations={"none": lambda x, g: x})

class Breaks(torch.nn.Module):
    def forward(self, x):
        # Where its own cost is counted it has one example.
        if len(x) > 1:
            raise RuntimeError("shapes do not fit")
        return x

def breaks(*given, **named):
    return Operation.of(Breaks())

GOLD = registry.find("space", "gold")
CELLS = {name: dataclasses.replace(one, operations=("skip_connect", __file__ + ":breaks"))
         for name, one in GOLD.cells.items()}
BREAKS = dataclasses.replace(GOLD, name="breaks", cells=CELLS, references={})

class Unmade(Random):
    def __init__(self, config, problem):
        1 / 0
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return str(file)


@pytest.fixture
def sweep(mine: str, tmp_path: Path) -> Sweep:
    made = Sweep(
        name="mine",
        dataset=f"{mine}:plain",
        arms=(Arm(method="random", space="gold", settings=Random.Config(**SMALL)),),
        training=Training(settings=EvaluationSettings(**SMALL)),
    )
    return with_execution(made, storage=str(tmp_path / "runs"))


def with_arm(sweep: Sweep, **changes: object) -> Sweep:
    (arm,) = sweep.arms
    return dataclasses.replace(sweep, arms=(dataclasses.replace(arm, **changes),))


def also(sweep: Sweep, arm: Arm) -> Sweep:
    return dataclasses.replace(sweep, arms=(*sweep.arms, arm))


def test_what_can_run_passes(sweep: Sweep, tmp_path: Path) -> None:
    check(sweep, open_storage(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


REFUSED: dict[str, tuple[Callable[[Sweep], Sweep], str]] = {
    "augmentation of a training": (
        lambda sweep: with_training(sweep, augmentation="cutout"),
        r"augmentation 'cutout': dataset 'plain' has none\. Give --training\.augmentation none$",
    ),
    "augmentation of a search": (
        lambda sweep: with_arm(sweep, settings=Random.Config(**{**SMALL, "augmentation": "standard"})),
        r"augmentation 'standard': dataset 'plain' has none\. Give --augmentation none$",
    ),
    "a value of a grid": (
        lambda sweep: with_arm(sweep, param_space={"augmentation": ("none", "standard")}),
        "augmentation 'standard'",
    ),
    "the second arm": (
        lambda sweep: also(
            sweep, Arm(method="gold_nas", space="gold", settings=GoldNAS.Config(**SMALL, stop_macs=240.0))
        ),
        "stop_macs 240: expected a value below",
    ),
    "an end of a range": (
        lambda sweep: dataclasses.replace(
            sweep,
            arms=(
                Arm(
                    method="gold_nas",
                    space="gold",
                    settings=GoldNAS.Config(**SMALL, stop_macs=0.001),
                    param_space={"stop_macs": Range(low=0.001, high=9.0)},
                ),
            ),
        ),
        "stop_macs 9: expected a value below",
    ),
    "skeleton of a search": (
        lambda sweep: with_arm(sweep, settings=Random.Config(**SMALL, skeleton="cifat")),
        "skeleton 'cifat'",
    ),
    "skeleton of a training": (lambda sweep: with_training(sweep, skeleton="cifat"), "skeleton 'cifat'"),
    "cells at evaluation": (lambda sweep: with_training(sweep, cells=5), "5 cells after a search with 3"),
    "cells of a staged space": (
        lambda sweep: with_arm(sweep, space="dso", settings=Random.Config(**SMALL)),
        "3 cells for 'dso'",
    ),
    "cells in which a kind of cell is missing": (
        lambda sweep: with_arm(sweep, space="darts", settings=Random.Config(**{**SMALL, "cells": 1})),
        "cells 1 on 'darts'",
    ),
    "another task": (
        lambda sweep: dataclasses.replace(sweep, dataset=sweep.dataset.replace("plain", "deep")),
        "task 'depth'",
    ),
    "an own operation that fails": (
        lambda sweep: with_arm(sweep, space=sweep.dataset.replace("plain", "BREAKS")),
        r"RuntimeError: shapes do not fit\)\. Change the size, or the code that fails$",
    ),
    "an own method that fails": (
        lambda sweep: with_arm(sweep, method=sweep.dataset.replace("plain", "Unmade")),
        r"ZeroDivisionError: division by zero\)",
    ),
    "budget": (
        lambda sweep: dataclasses.replace(sweep, budget=Budget(1e-6)),
        r"^budget of 1e-06 M multiply-adds: no network of space 'gold' is that small\. The smallest, with one channel "
        r"and 3 cells, has [0-9.]+ M: give --budget [0-9.]+ or more$",
    ),
    "budget of a black-box search": (
        lambda sweep: dataclasses.replace(
            sweep,
            arms=(Arm(method="random_search", space="nas_bench_201", settings=RandomSearch.Config(evaluations=2)),),
            budget=Budget(1e-6),
        ),
        "no network of space 'nas_bench_201' is that small",
    ),
    "budget of the width": (
        lambda sweep: with_training(sweep, width_budget=1e-6),
        r"give --training\.width-budget [0-9.]+ or more$",
    ),
    "tracker": (lambda sweep: with_execution(sweep, trackers=("wandb",)), "tracker 'wandb'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_not_run_is_refused_and_leaves_nothing(
    name: str, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    change, said = REFUSED[name]
    with pytest.raises(InvalidInput, match=said) as caught:
        run_sweep(change(sweep))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_candidates_are_counted_at_their_width_where_nothing_is_trained(sweep: Sweep, tmp_path: Path) -> None:
    # As a narrower network they would obey it, but no network is made of them.
    narrow = dataclasses.replace(with_arm(sweep, space="gold"), budget=Budget(0.004))
    check(narrow, open_storage(tmp_path))
    with pytest.raises(InvalidInput, match="with 2 channels and 3 cells"):
        check(with_training(narrow, select="nothing"), open_storage(tmp_path))


def test_the_command_says_what_to_type_and_leaves_no_run(
    mine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "digits", "--budget", "0.000001"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "give --budget 0.00" in said
    assert main(["sweep", "digits", "--dataset", f"{mine}:plain"]) == 2
    assert "Give --augmentation none" in capsys.readouterr().err
    assert main(["sweep", "digits", "--dataset", f"{mine}:plain", "--augmentation", "none"]) == 2
    assert "Give --training.augmentation none" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "name", ["digits", "nas_bench_201", pytest.param("all_methods_digits", marks=pytest.mark.slow)]
)
def test_the_ready_sweeps_that_need_no_download_can_run(name: str, tmp_path: Path) -> None:
    sweep: Sweep = registry.find("sweep", name, Sweep)
    if sweep.dataset != "digits":
        sweep = dataclasses.replace(sweep, dataset="digits")
    check(sweep, open_storage(tmp_path))
