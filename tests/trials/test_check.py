"""Searches and trainings are tried without memory, without a trace, and once of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nasray import registry
from nasray.cli import main
from nasray.methods.method import SearchMethod
from nasray.networks import Network
from nasray.spaces import CellSpace
from nasray.training.dataset import load_dataset
from nasray.trials import check
from nasray.trials.check import any_architecture, check_search, check_training
from nasray.trials.evaluation import EvaluationSettings
from nasray.trials.search_config import SearchConfig, find_method

SIZE = dict(channels=4, cells=3, batch_size=16, augmentation="standard")


def config(method: str, space: str, **settings: object) -> SearchConfig:
    made = find_method(method).Config.of({**SIZE, **settings})
    return SearchConfig(method=method, space=space, dataset="digits", settings=made)


def some_space(method: type[SearchMethod]) -> str:
    return next(name for name in ("gold", "darts", "dso") if method.unsupported(registry.find("space", name)) is None)


@pytest.mark.parametrize("name", registry.names("method"))
def test_every_method_passes_with_its_auxiliary_head_and_draws_no_random_number_of_the_caller(name: str) -> None:
    space = some_space(find_method(name))
    settings = {"gold_nas": {"stop_macs": 0.01}, "dso_nas": {"cells": 5}}.get(name, {})
    before = torch.get_rng_state()
    check_search(config(name, space, auxiliary_weight=0.4, **settings), load_dataset("digits"))
    assert torch.equal(before, torch.get_rng_state())


def test_searches_of_one_kind_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Network] = []

    def counted(*given: object) -> Network:
        built.append(real(*given))
        return built[-1]

    real = check.supernet
    monkeypatch.setattr(check, "supernet", counted)
    known: set = set()
    for rate in (0.1, 0.2, 0.3):
        check_search(config("random", "gold", learning_rate=rate), load_dataset("digits"), known)
    check_search(config("random", "gold", channels=2), load_dataset("digits"), known)
    assert len(built) == 2
    check_search(config("random", "gold", channels=600), load_dataset("digits"), known)
    # What is large takes no memory.
    assert [next(network.parameters()).is_meta for network in built] == [False, False, True]


@pytest.mark.parametrize("name", ["gold", "darts", "dso", "nas_bench_201"])
def test_a_training_of_every_kind_of_space_passes(name: str) -> None:
    space: CellSpace = registry.find("space", name)
    settings = EvaluationSettings.of({**SIZE, "cells": 5, "auxiliary_weight": 0.4})
    check_training(space, settings, load_dataset("digits"), cells=5)
    assert any_architecture(space, 5) == any_architecture(space, 5)


def test_a_single_search_that_is_refused_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = ["search", "random", "gold", "digits", "--channels", "2", "--cells", "3", "--out", str(out)]
    assert main([*command, "--augmentation", "sepia"]) == 2
    assert "Give --augmentation standard" in capsys.readouterr().err
    assert main([*command, "--skeleton", "cifat"]) == 2
    assert not out.exists()
