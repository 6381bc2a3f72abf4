"""Weights whose operations begin to be computed later than others', against SGD with momentum written out."""

from __future__ import annotations

from copy import deepcopy

import torch

from nasray.gates import Gates, candidate_mask
from nasray.networks import supernet
from nasray.settings import TrainingSettings
from nasray.spaces import NetworkSize
from nasray.training.learner import NetworkLearner
from nasray.training.tasks import TASKS
from search_spaces.architectures.gold import GOLD

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 4, 4), classes=5)
LEARNING_RATE, MOMENTUM, DECAY = 0.1, 0.9, 3e-4


def gates_of(*names: str) -> list[Gates]:
    gates = []
    for kind in GOLD.kinds(SIZE.cells):
        graph = GOLD.cells[kind]
        mask = candidate_mask(graph)
        mask[:, [name not in names for name in graph.operations]] = False
        gates.append(Gates(torch.from_numpy(mask).double(), mask))
    return gates


def test_steps_are_those_of_sgd_whatever_was_computed_before() -> None:
    torch.manual_seed(0)
    network = supernet(GOLD, SIZE).double()
    reference = deepcopy(network)
    settings = TrainingSettings(
        learning_rate=LEARNING_RATE, schedule="constant", momentum=MOMENTUM, weight_decay=DECAY, gradient_clip=1e9
    )
    learner = NetworkLearner(network, TASKS["classification"], settings)
    learner.start_epoch(0)
    momenta: dict[torch.nn.Parameter, torch.Tensor] = {}
    for names in (("skip_connect",), ("skip_connect", "sep_conv_3x3"), ("sep_conv_3x3",), ("skip_connect",)):
        batch = torch.randn(8, 1, 4, 4, dtype=torch.float64), torch.randint(5, (8,))
        learner.loss(batch, gates_of(*names)).backward()
        learner.update()
        torch.nn.functional.cross_entropy(reference(batch[0], gates_of(*names)), batch[1]).backward()
        with torch.no_grad():
            for weight in reference.parameters():
                if weight.grad is not None:
                    step = weight.grad + DECAY * weight
                    momenta[weight] = step + MOMENTUM * momenta[weight] if weight in momenta else step
                    weight -= LEARNING_RATE * momenta[weight]
                    weight.grad = None
    torch.testing.assert_close(dict(network.named_parameters()), dict(reference.named_parameters()), rtol=0, atol=1e-9)
