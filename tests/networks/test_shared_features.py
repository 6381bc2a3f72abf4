"""Feature sharing, against a cell in which every edge has operations of its own that hold the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nasray.gates import Gates, candidate_mask
from nasray.networks import Needs
from nasray.networks.cell import Cell
from search_spaces.architectures.darts import DARTS


def shared_name(name: str) -> str:
    """operations.SOURCE_TARGET_OPERATION.rest without the target."""
    parts = name.split(".")
    if parts[0] == "operations":
        source, _, operation = parts[1].split("_", 2)
        parts[1] = f"{source}_{operation}"
    return ".".join(parts)


def cells(kind: str) -> tuple[Cell, Cell]:
    torch.manual_seed(0)
    graph = DARTS.cells[kind]
    shared, unshared = (
        Cell(graph, candidate_mask(graph), 4, (6, 6), False, DARTS.search_normalisation, needs).double()
        for needs in (Needs(shared_features=True), Needs())
    )
    weights = shared.state_dict()
    unshared.load_state_dict({name: weights[shared_name(name)] for name in unshared.state_dict()})
    return shared, unshared


@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_same_output_and_gradients_as_unshared_operations(kind: str) -> None:
    shared, unshared = cells(kind)
    mask = candidate_mask(shared.graph) & (torch.rand(14, 8) < 0.7).numpy()
    values = (torch.rand(14, 8, dtype=torch.float64) * torch.from_numpy(mask)).requires_grad_()
    inputs = tuple(torch.randn(3, 6, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    outputs = [cell(inputs, Gates(values, mask)) for cell in (shared, unshared)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-10)
    upstream = torch.randn_like(outputs[0])
    found: list[tuple[list[Tensor], dict[str, Tensor]]] = []
    for cell, output in zip((shared, unshared), outputs, strict=True):
        output.backward(upstream)
        summed: dict[str, Tensor] = {}
        for name, weight in cell.named_parameters():
            if weight.grad is not None:
                key = shared_name(name) if cell is unshared else name
                summed[key] = summed.get(key, torch.zeros_like(weight)) + weight.grad
        tensors = [values, *inputs]
        found.append(([t.grad for t in tensors if t.grad is not None], summed))
        for tensor in tensors:
            tensor.grad = None
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-10)


def test_a_cell_holds_one_operation_for_each_source() -> None:
    shared, unshared = cells("normal")
    assert len(shared.operations) == 5 * 7  # of the inputs and all nodes but the last
    assert len(unshared.operations) == 14 * 7
