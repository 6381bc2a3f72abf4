"""The weights' side of training."""

from __future__ import annotations

import numpy as np
import torch

from nasray import registry
from nasray.gates import binary_gates
from nasray.networks import supernet
from nasray.settings import TrainingSettings
from nasray.spaces import NetworkSize
from nasray.training.learner import NetworkLearner
from nasray.training.tasks import TASKS


def test_an_operation_that_is_first_computed_in_a_later_step_is_trained_as_by_plain_sgd() -> None:
    space = registry.find("space", "gold")
    size = NetworkSize(channels=4, cells=2, input_shape=(1, 8, 8), classes=10)
    settings = TrainingSettings(gradient_clip=1e9)
    torch.manual_seed(0)
    network = supernet(space, size).double()
    reference = supernet(space, size).double()
    reference.load_state_dict(network.state_dict())
    learner = NetworkLearner(network, TASKS["classification"], settings)
    sgd = torch.optim.SGD(reference.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4, foreach=False)
    batch = torch.randn(8, 1, 8, 8, dtype=torch.float64), torch.arange(8)
    convolutions = np.tile([False, True], (14, 1))
    for mask in (~convolutions, convolutions, convolutions):
        gates = binary_gates([mask] * 2)
        torch.autograd.backward(learner.loss(batch, gates))
        learner.update()
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(reference(batch[0], gates), batch[1]).backward()
        sgd.step()
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
