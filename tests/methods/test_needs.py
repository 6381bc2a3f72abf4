"""Whole searches by the methods that ask something of the supernet: reproducible, and the same after a restart."""

from __future__ import annotations

import math
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import torch

from nasray.costs import macs
from nasray.training.dataset import Dataset
from nasray.training.datasets import digits
from nasray.trials.search import Epoch, Search
from nasray.trials.search_config import SearchConfig, find_method
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.dso import DSO
from search_spaces.architectures.gold import GOLD

METHODS = ("pc_darts", "entrannas", "entrannas_dst")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return digits()


def search(method: str, space: str, dataset: Dataset) -> Search:
    settings = find_method(method).Config.of(
        {"epochs": 2, "channels": 4, "cells": 3, "batch_size": 8, "train_examples": 16, "validation_fraction": 0.2}
    )
    config = SearchConfig(method=method, space=space, dataset="digits", settings=settings, seed=1)
    return Search(config, dataset, device="cpu")


@pytest.mark.parametrize("method", METHODS)
def test_spaces_that_are_not_of_image_cells_are_refused(method: str) -> None:
    unsupported = find_method(method).unsupported
    assert unsupported(DARTS) is None
    assert unsupported(GOLD) is None
    assert "nodes carry operations" in str(unsupported(DSO))
    assert "its task is language" in str(unsupported(replace(DARTS, task="language")))


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def comparable(epoch: Epoch) -> tuple[Any, ...]:
    measured = {name: epoch.metrics[name] for name in ("loss", "train_accuracy", "supernet_accuracy", "macs")}
    return measured, epoch.candidates


@pytest.mark.parametrize("space", ["darts", "gold"])
@pytest.mark.parametrize("method", METHODS)
def test_a_search_is_repeatable_and_restorable(method: str, space: str, dataset: Dataset) -> None:
    undisturbed = search(method, space, dataset)
    first = undisturbed.run_epoch()
    state = through_a_file(undisturbed.state_dict())
    last = undisturbed.run_epoch()

    restored = search(method, space, dataset)
    restored.load_state_dict(state)
    assert comparable(restored.run_epoch()) == comparable(last)
    for one, other in ((restored.method, undisturbed.method), (restored.learner.network, undisturbed.learner.network)):
        expected = other.state_dict()
        for name, value in one.state_dict().items():
            same = torch.equal(value, expected[name]) if isinstance(value, torch.Tensor) else value == expected[name]
            assert same, name

    assert comparable(search(method, space, dataset).run_epoch()) == comparable(first)  # the same seed
    (candidate,) = last.candidates
    assert math.isfinite(last.metrics["loss"])
    assert candidate.macs == macs(undisturbed.space, candidate.architecture, undisturbed.evaluation_size)
    assert 0 <= candidate.accuracy <= 1
