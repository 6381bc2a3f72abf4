"""Bytes of a training step, counted without taking them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasray import registry
from nasray.costs.memory import training_bytes
from nasray.gates import Gates, candidate_mask
from nasray.networks import Network, supernet
from nasray.spaces import CellSpace, NetworkSize

SIZE = NetworkSize(channels=4, cells=3, input_shape=(3, 16, 16), classes=10)


class _TwoLayers(nn.Module):
    """10 inputs, a ReLU, 5 outputs: what it keeps can be counted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 8)
        self.second = nn.Linear(8, 5)

    def forward_with_auxiliary(self, x: Tensor, gates: object) -> tuple[Tensor, None]:
        return self.second(torch.relu(self.first(x))), None


def _on_meta(space: CellSpace, size: NetworkSize = SIZE) -> Network:
    with torch.device("meta"):
        return supernet(space, size)


def test_it_is_what_can_be_counted_by_hand():
    with torch.device("meta"):
        network = _TwoLayers()
    weights = 10 * 8 + 8 + 8 * 5 + 5
    # The first layer keeps its input, the ReLU its output, which is the second layer's input: once.
    kept = 32 * (10 + 8)
    assert training_bytes(network, (10,), 32) == 4 * (kept + 3 * weights)  # type: ignore[arg-type]


def test_what_is_kept_rises_with_the_batch_and_weights_do_not():
    network = _on_meta(registry.find("space", "gold"))
    one, two, three = (training_bytes(network, SIZE.input_shape, batch) for batch in (16, 32, 48))
    assert two - one == three - two > 0


def test_operations_whose_gates_are_zero_keep_nothing():
    space: CellSpace = registry.find("space", "darts")
    network = _on_meta(space)

    def with_operations(count: int) -> int:
        gates = []
        for kind in space.kinds(SIZE.cells):
            mask = candidate_mask(space.cells[kind])
            mask[:, count:] = False
            gates.append(Gates(torch.from_numpy(mask.astype(np.float32)), mask))
        return training_bytes(network, SIZE.input_shape, 8, gates)

    kept = [with_operations(count) for count in (2, 4, 8)]
    assert kept == sorted(set(kept))


@pytest.mark.gpu
def test_it_is_about_what_a_gpu_allocates():
    space: CellSpace = registry.find("space", "darts")
    size = NetworkSize(channels=16, cells=8, input_shape=(3, 32, 32), classes=10)
    counted = training_bytes(_on_meta(space, size), size.input_shape, 64)
    network = supernet(space, size).cuda()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    torch.cuda.reset_peak_memory_stats()
    outputs, _ = network.forward_with_auxiliary(torch.randn(64, *size.input_shape, device="cuda"))
    torch.autograd.backward(outputs.sum())
    optimizer.step()
    assert counted == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.3)
