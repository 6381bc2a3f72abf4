"""Cells that are computed again for their gradients, and networks that compute in 16 bits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from nasray import registry
from nasray.gates import Gates, candidate_mask
from nasray.networks import Network, supernet
from nasray.spaces import CellSpace, NetworkSize

SIZE = NetworkSize(channels=8, cells=3, input_shape=(3, 8, 8), classes=10)
SPACES = ["darts", "gold", "nas_bench_201"]


def gates_of(space: CellSpace) -> list[Gates]:
    torch.manual_seed(1)
    masks = [candidate_mask(space.cells[kind]) for kind in space.kinds(SIZE.cells)]
    return [Gates(torch.rand(mask.shape).requires_grad_(), mask) for mask in masks]


def found(network: Network, gates: Sequence[Gates] | None) -> list[Tensor | None]:
    """Outputs, gradients and statistics of one batch in training."""
    torch.manual_seed(2)
    y = network(torch.randn(6, 3, 8, 8), gates)
    y.square().sum().backward()
    of_gates = [] if gates is None else [one.values_EO.grad for one in gates]
    return [y, *of_gates, *(p.grad for p in network.parameters()), *network.buffers()]


@pytest.mark.parametrize("drop_path", [0.0, 0.3])
@pytest.mark.parametrize("space", SPACES)
def test_recomputed_cells_give_the_same_and_see_a_batch_once(space: str, drop_path: float) -> None:
    searched = registry.find("space", space)
    results = []
    for recompute_cells in (False, True):
        torch.manual_seed(0)
        network = supernet(searched, SIZE)
        network.recompute_cells, network.drop_path = recompute_cells, drop_path
        results.append(found(network, None if drop_path else gates_of(searched)))
    for kept, recomputed in zip(*results, strict=True):
        assert (kept is None) == (recomputed is None)
        if kept is not None:
            torch.testing.assert_close(kept, recomputed)


def saved_bytes(network: Network, gates: Sequence[Gates]) -> int:
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    kept_outputs: list[Tensor] = []
    # What enters a cell is held by what computes it again, and not told to the hooks.
    entering = [*network.cells, network.stem]
    hooks = [
        one.register_forward_hook(lambda _one, _given, y: kept_outputs.extend([y] if isinstance(y, Tensor) else y))
        for one in entering
    ]
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.randn(16, 3, 8, 8), gates).sum()
    for hook in hooks:
        hook.remove()
    for tensor in kept_outputs:
        keep(tensor)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_recomputed_cells_keep_a_fifth() -> None:
    searched = registry.find("space", "darts")
    network = supernet(searched, SIZE)
    before = saved_bytes(network, gates_of(searched))
    network.recompute_cells = True
    assert saved_bytes(network, gates_of(searched)) < before / 5


@pytest.mark.parametrize("space", SPACES)
def test_in_16_bits_all_but_what_is_learnt_from_is_rounded(space: str) -> None:
    searched = registry.find("space", space)
    results = []
    for precision in (None, torch.bfloat16):
        torch.manual_seed(0)
        network = supernet(searched, SIZE)
        network.precision = precision
        results.append(found(network, gates_of(searched)))
    for exact, rounded in zip(*results, strict=True):
        assert (exact is None) == (rounded is None)
        if exact is not None and exact.is_floating_point():
            assert rounded.dtype == torch.float32
            assert (exact - rounded).norm() < 0.4 * exact.norm() + 0.01
    for gate in results[1][1 : 1 + SIZE.cells]:
        # What is of 16 bits alone has nothing in the lower half of 32.
        assert gate is not None
        assert (gate != gate.bfloat16().float())[gate != 0].all()
