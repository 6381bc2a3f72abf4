"""Partial channels, against the formulas of PC-DARTS written out edge by edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask, candidate_mask
from nasray.networks import Needs, supernet
from nasray.networks.cell import Cell
from nasray.spaces import NetworkSize
from search_spaces.architectures.darts import DARTS

C, K = 8, 4


def made(kind: str) -> Cell:
    torch.manual_seed(0)
    graph = DARTS.cells[kind]
    cell = Cell(graph, candidate_mask(graph), C, (6, 6), False, DARTS.search_normalisation, Needs(channel_fraction=K))
    return cell.double()


def random_inputs(side: int = 4) -> tuple[Tensor, Tensor]:
    return (torch.randn(3, 6, side, side).double(), torch.randn(3, 6, side, side).double())


def bypass(x: Tensor, stride: int) -> Tensor:
    if stride == 1:
        return x
    height, width = x.shape[-2:]
    return F.max_pool2d(F.pad(x, (0, width % 2, 0, height % 2), value=-torch.inf), 2, 2)


def shuffle(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, K, c // K, h, w).transpose(1, 2).reshape(n, c, h, w)


def slow(cell: Cell, inputs: tuple[Tensor, Tensor], alpha_EO: Tensor, beta_E: Tensor) -> Tensor:
    """x_j = sum_i softmax(beta_j)_i shuffle([sum_o softmax(alpha_ij)_o o(first channels), bypass(the others)])."""
    graph = cell.graph
    states = [module(x) for module, x in zip(cell.preprocess, inputs, strict=True)]
    for node in graph.targets:
        edges = graph.incoming[node]
        total = torch.zeros((), dtype=torch.float64)
        for share, edge in zip(torch.softmax(beta_E[list(edges)], dim=0), edges, strict=True):
            source = graph.edges[edge][0]
            stride = graph.edge_stride((source, node))
            first, rest = states[source][:, : C // K], states[source][:, C // K :]
            mixed = torch.zeros((), dtype=torch.float64)
            for weight, name in zip(torch.softmax(alpha_EO[edge], 0), graph.operations, strict=True):
                if name == "none":
                    continue
                begins_with_relu = "conv" in name or (name == "skip_connect" and stride == 2)
                module = cell.operations[f"{source}_{node}_{name}"]
                mixed = mixed + weight * module(F.relu(first) if begins_with_relu else first)
            total = total + share * shuffle(torch.cat([mixed, bypass(rest, stride)], dim=1))
        states.append(total)
    return torch.cat(states[2:], dim=1)


@pytest.mark.parametrize(("kind", "side"), [("normal", 4), ("reduce", 4), ("reduce", 5)])
def test_output_and_gradients_are_those_of_the_formulas(kind: str, side: int) -> None:
    cell = made(kind)
    alpha = torch.randn(14, 8, dtype=torch.float64, requires_grad=True)
    beta = torch.randn(14, dtype=torch.float64, requires_grad=True)
    inputs = random_inputs(side)
    shares = torch.cat([torch.softmax(beta[list(edges)], dim=0) for edges in cell.graph.incoming.values()])
    gates = Gates(torch.softmax(alpha, dim=1) * shares[:, None], candidate_mask(cell.graph))
    fast, reference = cell(inputs, gates), slow(cell, inputs, alpha, beta)
    torch.testing.assert_close(fast, reference, rtol=0, atol=1e-10)
    upstream = torch.randn_like(fast)
    wanted = [alpha, beta, *cell.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(fast, wanted, upstream, allow_unused=True),
        torch.autograd.grad(reference, wanted, upstream, allow_unused=True),
        rtol=0,
        atol=1e-10,
    )


def chosen(cell: Cell, *choices: tuple[int, int, str]) -> Mask:
    mask = np.zeros((14, 8), dtype=bool)
    for source, target, name in choices:
        mask[cell.graph.edge_index[source, target], cell.graph.operation_index[name]] = True
    return mask


class NotANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((x.shape[0], C, *x.shape[2:]), torch.nan, dtype=x.dtype)


def test_an_edge_without_active_gates_is_not_computed() -> None:
    cell = made("normal")
    cell.preprocess[1] = NotANumber()  # which zero times its output, or its bypass, would still be
    mask = chosen(cell, *((0, node, "sep_conv_3x3") for node in cell.graph.targets))
    assert cell(random_inputs(), Gates(torch.from_numpy(mask).double(), mask)).isfinite().all()


def test_under_binary_gates_the_bypass_counts_once_for_each_operation() -> None:
    cell = made("reduce")
    inputs = random_inputs()
    pair = [(0, node, name) for node in cell.graph.targets for name in ("max_pool_3x3", "sep_conv_3x3")]
    mask = chosen(cell, *pair)
    x = cell.preprocess[0](inputs[0])
    first, rest = x[:, : C // K], x[:, C // K :]
    nodes = []
    for node in cell.graph.targets:
        mixed = cell.operations[f"0_{node}_max_pool_3x3"](first) + cell.operations[f"0_{node}_sep_conv_3x3"](
            F.relu(first)
        )
        nodes.append(shuffle(torch.cat([mixed, 2 * bypass(rest, 2)], dim=1)))
    output = cell(inputs, Gates(torch.from_numpy(mask).double(), mask))
    torch.testing.assert_close(output, torch.cat(nodes, dim=1), rtol=0, atol=1e-10)


def test_without_gates_all_gates_are_one() -> None:
    cell = made("normal")
    inputs = random_inputs()
    mask = candidate_mask(cell.graph)
    ones = Gates(torch.from_numpy(mask).double(), mask)
    torch.testing.assert_close(cell(inputs), cell(inputs, ones), rtol=0, atol=1e-9)


def test_channels_that_do_not_divide_are_refused() -> None:
    size = NetworkSize(channels=6, cells=3, input_shape=(1, 8, 8), classes=5)
    with pytest.raises(InvalidInput, match=r"channels 6 .* expected multiples of 4"):
        supernet(DARTS, size, needs=Needs(channel_fraction=4))
