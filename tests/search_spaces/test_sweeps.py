"""The ready sweeps: their paper presets against the published schedules (methods.md), and what they expand to."""

from __future__ import annotations

from typing import Any

import pytest

from nasray import registry
from nasray.spaces import CellSpace
from nasray.sweeps import Sweep
from nasray.sweeps.arm import config_of
from nasray.trials.search_config import find_method

# Epochs of the search and of the training from scratch, batch sizes, learning rates, each as published.
PUBLISHED: dict[str, dict[str, Any]] = {
    "gold_cifar10": dict(search=(200, 96, 0.01), training=(600, 96, 0.025, 0.2, "cosine")),
    "ista_cifar10": dict(search=(50, 256, 0.1), training=(600, 96, 0.025, 0.2, "cosine")),
    "entrannas_cifar10": dict(search=(50, 256, 0.1), training=(600, 96, 0.025, 0.2, "cosine")),
    "data_cifar10": dict(search=(100, 64, 0.025), training=(600, 96, 0.035, 0.2, "cosine")),
    "dso_cifar10": dict(search=(240, 128, 0.1), training=(630, 128, 0.05, 0.5, "cosine_restarts")),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_paper_preset_has_the_published_schedule(name: str) -> None:
    sweep = registry.find("sweep", name, Sweep).presets["paper"]
    search, training = sweep.arms[0].settings, sweep.training.settings
    assert (search.epochs, search.batch_size, search.learning_rate) == PUBLISHED[name]["search"]
    assert (
        training.epochs,
        training.batch_size,
        training.learning_rate,
        training.drop_path,
        training.schedule,
    ) == PUBLISHED[name]["training"]
    assert (training.auxiliary_weight, training.augmentation) == (0.4, "cutout")
    assert training.train_examples is None
    for arm in sweep.arms:  # at the space's own size, in search and evaluation
        space = registry.find("space", arm.space, CellSpace)
        assert arm.settings.channels in (None, space.evaluation_channels)
        assert training.channels is None
        assert (space.evaluation_channels, space.evaluation_cells) == {
            "gold": (36, 14),
            "darts": (36, 20),
            "dso": (48, 26),
            "dso_full": (48, 26),
        }[arm.space]


def test_the_one_stage_arm_trains_as_long_as_the_others_are_trained() -> None:
    sweep = registry.find("sweep", "ista_cifar10", Sweep)
    for one in (sweep, sweep.presets["paper"], registry.find("sweep", "all_methods_digits", Sweep)):
        (arm,) = (arm for arm in one.arms if arm.method == "ista_nas_one_stage")
        assert find_method(arm.method).trained_epochs(arm.settings) == one.training.settings.epochs
        assert {c.method for c in one.searches()} == {arm.method for arm in one.arms}


@pytest.mark.parametrize("name", ["all_methods_digits", "methods_cifar10"])
def test_all_methods_are_in_the_comparisons_at_one_size(name: str) -> None:
    sweep = registry.find("sweep", name, Sweep)
    assert {arm.method for arm in sweep.arms} == set(registry.names("method"))
    for config in sweep.searches():
        settings = sweep.training.settings
        assert (config.settings.channels, config.settings.cells) == (settings.channels, settings.cells)


@pytest.mark.parametrize("name", registry.names("sweep"))
def test_ready_sweeps_vary_knobs_and_searchers_vary_nothing(name: str) -> None:
    found = registry.find("sweep", name)
    for arm in getattr(found, "like", found).arms:  # of a fitted one
        assert set(arm.param_space) <= set(config_of(arm.method).knobs()), (name, arm.method)
