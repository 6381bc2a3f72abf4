from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nasray import registry
from nasray.costs import macs, params
from nasray.errors import InvalidInput, NonFiniteLoss
from nasray.methods import Problem
from nasray.methods.random import Random
from nasray.spaces import NetworkSize, from_genotype
from nasray.training.dataset import load_dataset
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings

SMALL = {"epochs": 3, "channels": 4, "cells": 3, "batch_size": 16, "train_examples": 64}
TINY = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)


def config(space: str = "darts", seed: int = 0, **changes: Any) -> EvaluationConfig:
    found = registry.find("space", space)
    if space == "darts":
        architecture = from_genotype(found, found.references["DARTS_V2"].genotype)
    else:
        architecture = Random(Random.Config(), Problem(found, TINY, TINY, 0)).architecture()
    return EvaluationConfig(
        space=space,
        dataset="digits",
        architecture=architecture,
        settings=EvaluationSettings.of({**SMALL, **changes}),
        seed=seed,
    )


def saved(evaluation: Evaluation) -> bytes:
    buffer = io.BytesIO()
    torch.save(evaluation.state_dict(), buffer)
    return buffer.getvalue()


def weights(evaluation: Evaluation) -> list[bytes]:
    return [t.contiguous().numpy().tobytes() for t in evaluation.learner.network.state_dict().values()]


TIMES = ("seconds", "examples_per_second", "peak_memory_bytes")


def figures(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


@pytest.mark.parametrize("space", ["darts", "gold"])
def test_a_restored_evaluation_goes_on_bit_for_bit(space: str):
    # With drop path, an auxiliary head, augmentation and momentum: all that draws or remembers.
    made = config(space, drop_path=0.4)
    load_dataset("digits")
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002
    before = random.getstate(), legacy, torch.get_rng_state().tolist()
    alone = Evaluation(made, device="cpu")
    states, results = [], []
    while not alone.finished:
        results.append(alone.run_epoch())
        states.append((saved(alone), weights(alone)))
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert (random.getstate(), legacy, torch.get_rng_state().tolist()) == before

    other = Evaluation(made, device="cpu")
    assert figures(other.run_epoch()) == figures(results[0])
    assert weights(other) == states[0][1]
    other = Evaluation(made, device="cpu")
    for number in (1, 0):
        other.load_state_dict(torch.load(io.BytesIO(states[number][0]), weights_only=True))
        assert other.epoch == number + 1
        assert other.accuracy == results[number]["accuracy"]
        torch.manual_seed(number)
        assert figures(other.run_epoch()) == figures(results[number + 1])
        assert weights(other) == states[number + 1][1]
    with pytest.raises(RuntimeError, match="finished"):
        alone.run_epoch()


def test_another_seed_gives_other_weights_on_the_same_split():
    first, second = (Evaluation(config(seed=seed), device="cpu") for seed in (0, 1))
    assert weights(first) != weights(second)
    assert torch.equal(first.splits.validation, second.splits.validation)
    assert len(first.splits.architecture) == 0


@pytest.mark.slow
def test_a_published_cell_learns_digits():
    evaluation = Evaluation(
        config(epochs=12, channels=8, batch_size=32, train_examples=None, augmentation="standard", learning_rate=0.05),
        device="cpu",
    )
    losses = []
    while not evaluation.finished:
        losses.append(evaluation.run_epoch()["loss"])
    assert losses[-1] < 0.3 * losses[0]
    assert evaluation.accuracy > 0.9
    assert evaluation.test_accuracy() > 0.9


def test_test_accuracy_is_that_of_the_test_split():
    evaluation = Evaluation(config(epochs=1), device="cpu")
    evaluation.run_epoch()
    dataset = evaluation.data.dataset
    inputs, targets = dataset.test
    with torch.no_grad():
        right = evaluation.learner.network.eval()(dataset.augmentations["none"](inputs, None)).argmax(dim=1) == targets
    assert evaluation.test_accuracy() == pytest.approx(float(right.double().mean()), abs=1e-6)


def test_it_costs_what_its_size_costs():
    evaluation = Evaluation(config(), device="cpu")
    assert evaluation.size == TINY
    assert evaluation.macs == macs(evaluation.space, evaluation.architecture, TINY)
    assert evaluation.params == params(evaluation.space, evaluation.architecture, TINY)
    network = evaluation.learner.network
    counted = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("auxiliary"))
    assert evaluation.params * 1e6 == pytest.approx(counted, abs=0.1)
    assert network.auxiliary is not None
    own = Evaluation(config(channels=None, cells=None, auxiliary_weight=0.0, train_examples=64), device="cpu")
    assert (own.size.channels, own.size.cells) == (36, 20)
    assert own.learner.network.auxiliary is None


def test_what_is_not_finite_ends_it():
    evaluation = Evaluation(config(learning_rate=1e30), device="cpu")
    with pytest.raises(NonFiniteLoss):
        evaluation.run_epoch()
    one_step = Evaluation(config(learning_rate=1e30, batch_size=64), device="cpu")
    with pytest.raises(NonFiniteLoss):
        one_step.run_epoch()


def test_a_config_comes_back_from_json():
    for space in ("darts", "gold"):
        made = config(space, seed=3)
        assert EvaluationConfig.of(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "dart"}, r"^unknown space 'dart': did you mean 'darts'\?"),
        ({"dataset": "digit"}, r"^unknown dataset 'digit': did you mean 'digits'\?"),
        ({"space": "gold"}, r"^architecture of space 'darts': expected space 'gold'$"),
    ],
)
def test_what_cannot_be_evaluated_is_named(changes: dict[str, str], message: str):
    with pytest.raises(InvalidInput, match=message):
        Evaluation(replace(config(), **changes), device="cpu")


def test_another_number_of_cells_than_the_architecture_has():
    with pytest.raises(InvalidInput, match=r"^5 cells for an architecture of 3 cell positions: expected 3$"):
        Evaluation(config("gold", cells=5), device="cpu")


def test_a_width_budget_gives_the_widest_network_that_obeys_it():
    one = Evaluation(config(width_budget=2.0))
    assert one.macs <= 2.0 < macs(one.space, one.architecture, one.size.replace(channels=one.size.channels + 1))
    two = Evaluation(config(width_budget=4.0))
    assert two.size.channels > one.size.channels
    with pytest.raises(InvalidInput, match=r"the architecture has .* M even with one channel"):
        Evaluation(config(width_budget=1e-4))
