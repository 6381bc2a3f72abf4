"""What a search and a training report of an epoch beside losses and accuracies."""

from __future__ import annotations

from typing import Any

import pytest

from nasray import registry
from nasray.costs import cost_table
from nasray.methods.darts import DARTS
from nasray.methods.random import Random
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig

SMALL = dict(batch_size=32, channels=2, auxiliary_weight=0.0, augmentation="standard", train_examples=96, epochs=2)


@pytest.mark.parametrize(("space", "cells"), [("darts", 5), ("gold", 3), ("nas_bench_201", 3)])
def test_gates_of_zero_and_one_expect_what_the_architecture_costs(space: str, cells: int) -> None:
    settings = Random.Config(**SMALL, cells=cells)
    # Spaces whose cells repeat are evaluated with another number of them.
    evaluation_cells = None if space == "gold" else cells + 3
    search = Search(
        SearchConfig(
            method="random", space=space, dataset="digits", settings=settings, evaluation_channels=3,
            evaluation_cells=evaluation_cells,
        )
    )  # fmt: skip
    first, last = search.run_epoch(), search.run_epoch()
    assert first.metrics["expected_macs"] == pytest.approx(first.metrics["macs"], rel=1e-6)
    assert "gap" not in first.metrics
    assert last.metrics["gap"] == last.candidates[-1].gap


def test_even_gates_expect_the_mean_of_an_edges_operations() -> None:
    space = registry.find("space", "darts")
    # Learning rates of zero: DARTS's softmax stays all but even.
    settings = DARTS.Config(**SMALL, cells=5, architecture_learning_rate=1e-12)
    search = Search(SearchConfig(method="darts", space="darts", dataset="digits", settings=settings))
    costs = cost_table(space, search.evaluation_size)
    even = sum(float(macs_EO.sum()) / macs_EO.shape[1] for macs_EO in costs.macs_EO)
    assert search.run_epoch().metrics["expected_macs"] == pytest.approx((costs.base_macs + even) / 1e6, rel=1e-3)


@pytest.mark.parametrize(
    "size",
    [
        {},
        {"channels": 3, "cells": 6},
        {"skeleton": "imagenet"},
        {"width_budget": 0.5},
        {"width_budget": 0.05, "skeleton": "imagenet", "cells": 7},
    ],
    ids=lambda size: "-".join(size) or "own",
)
def test_a_candidate_costs_what_its_training_from_scratch_says(size: dict[str, Any]) -> None:
    settings = Random.Config(**{**SMALL, "epochs": 1}, cells=5)
    search = Search(
        SearchConfig(
            method="random", space="darts", dataset="digits", settings=settings,
            **{f"evaluation_{name}": value for name, value in size.items()},
        )
    )  # fmt: skip
    epoch = search.run_epoch()
    (candidate,) = epoch.candidates
    evaluation = Evaluation(
        EvaluationConfig(
            space="darts",
            dataset="digits",
            architecture=candidate.architecture,
            settings=EvaluationSettings(**{**SMALL, "channels": None, **size}, drop_path=0.0),
        )
    )
    assert (candidate.size, candidate.macs, candidate.params) == (evaluation.size, evaluation.macs, evaluation.params)
    assert epoch.metrics["macs"] == candidate.macs


def test_a_training_says_how_many_images_a_second_it_sees() -> None:
    search = Search(
        SearchConfig(
            method="random", space="gold", dataset="digits", settings=Random.Config(**SMALL, cells=3),
            evaluation_channels=2,
        )
    )  # fmt: skip
    search.run_epoch()
    (candidate,) = search.run_epoch().candidates
    evaluation = Evaluation(
        EvaluationConfig(
            space="gold",
            dataset="digits",
            architecture=candidate.architecture,
            settings=EvaluationSettings(**SMALL, cells=3, drop_path=0.0),
        )
    )
    metrics = evaluation.run_epoch()
    # Whole batches in less than the epoch's time, which has validation in it too.
    images = len(evaluation.splits.train) // 32 * 32
    assert metrics["examples_per_second"] > images / metrics["seconds"]
