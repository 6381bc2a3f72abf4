"""Warm restarts against torch's, and dropout before the classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasray import registry
from nasray.networks import target_network
from nasray.settings import TrainingSettings
from nasray.spaces import NetworkSize, from_genotype
from nasray.training.learner import NetworkLearner, learning_rate
from nasray.training.tasks import TASKS


def test_restarts_are_torchs_and_dso_nas_s_630_epochs_are_six_periods() -> None:
    settings = TrainingSettings(
        epochs=630, learning_rate=0.05, learning_rate_min=1e-4, schedule="cosine_restarts", restart_epochs=10
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2, eta_min=1e-4)
    rates = []
    for epoch in range(630):
        rates.append(optimizer.param_groups[0]["lr"])
        assert learning_rate(settings, epoch, 630) == pytest.approx(rates[-1], rel=1e-9)
        optimizer.step()
        theirs.step()
    assert [e for e, rate in enumerate(rates) if rate == 0.05] == [0, 10, 30, 70, 150, 310]


def test_dropout_zeroes_features_in_training_only() -> None:
    space = registry.find("space", "darts")
    size = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
    network = target_network(space, from_genotype(space, space.references["DARTS_V2"].genotype), size)
    learner = NetworkLearner(network, TASKS[space.task], TrainingSettings(epochs=3, classifier_dropout=0.4))
    learner.start_epoch(0)
    seen: list[np.ndarray] = []
    network.classifier.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach().numpy()))
    x = torch.randn(64, 1, 8, 8)
    with torch.no_grad():
        network(x)
        network.eval()
        network(x)
        network(x)
    trained, evaluated, again = seen
    assert np.mean(trained == 0) - np.mean(evaluated == 0) == pytest.approx(0.4, abs=0.05)
    assert np.array_equal(evaluated, again)
