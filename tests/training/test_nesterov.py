"""The weights' step against the equations of methods.md 5.2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nasray.errors import InvalidInput
from nasray.networks import supernet
from nasray.settings import TrainingSettings
from nasray.spaces import NetworkSize
from nasray.training.learner import NetworkLearner
from nasray.training.tasks import TASKS
from search_spaces.architectures.darts import DARTS


@pytest.mark.parametrize(("nesterov", "decay_normalisations"), [(False, True), (True, False)])
def test_steps_are_the_equations(nesterov: bool, decay_normalisations: bool) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"learning_rate": 0.1, "weight_decay": 0.05, "gradient_clip": 1e9}
    network = supernet(DARTS, NetworkSize(channels=2, cells=3, input_shape=(1, 8, 8), classes=3))
    learner = NetworkLearner(
        network,
        TASKS["classification"],
        TrainingSettings(**settings, nesterov=nesterov, decay_normalisations=decay_normalisations),
    )
    learner.start_epoch(0)
    expected = [weight.detach().double().numpy().copy() for weight in learner.weights]
    moments = [np.zeros_like(weight) for weight in expected]
    for _ in range(4):
        gradients = [torch.randn_like(weight) for weight in learner.weights]
        ahead = learner.lookahead(gradients)
        for i, gradient in enumerate(gradients):
            learner.weights[i].grad = gradient
            decay = 0.05 if decay_normalisations or expected[i].ndim > 1 else 0.0
            g = gradient.double().numpy() + decay * expected[i]
            moments[i] = 0.9 * moments[i] + g
            expected[i] -= 0.1 * (g + 0.9 * moments[i] if nesterov else moments[i])
        learner.update()
        for weight, looked, reference in zip(learner.weights, ahead, expected, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), reference, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(looked.numpy(), reference, rtol=1e-4, atol=1e-5)
    assert any(weight.ndim == 1 for weight in learner.weights)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(InvalidInput, match="nesterov true with momentum 0"):
        TrainingSettings(nesterov=True, momentum=0.0)
