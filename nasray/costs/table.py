"""Multiply-adds and parameters of every operation of a space, counted on the meta device.

Counted as papers on NAS do: multiply-adds ("macs") of convolutions and linear layers, half of what torch's FLOP
counter says of them; parameters of everything but the auxiliary head. One table of a space at a size gives the
cost of any of its architectures exactly and of any gates as an expectation, so both are one truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nasray.gates import Gates, Mask, architecture_masks, candidate_mask
from nasray.networks.needs import Needs
from nasray.networks.network import Network
from nasray.networks.operations import build_operation
from nasray.spaces import Architecture, CellSpace, NetworkSize, Normalisation

Cost_EO = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CostTable:
    """Costs of a space at a size, in single multiply-adds and parameters (not millions)."""

    base_macs: int
    """Stem, the cells' preprocessing, classifier: what every architecture pays."""
    base_params: int
    macs_EO: tuple[Cost_EO, ...]
    """For every cell position (edges, operations)."""
    params_EO: tuple[Cost_EO, ...]

    def macs(self, masks: Sequence[Mask]) -> float:
        """Exact multiply-adds, in M, of what the masks, one for each position, choose."""
        return (self.base_macs + _chosen(self.macs_EO, masks)) / 1e6

    def params(self, masks: Sequence[Mask]) -> float:
        """Exact parameters, in M, of what the masks choose."""
        return (self.base_params + _chosen(self.params_EO, masks)) / 1e6


def _chosen(costs: Sequence[Cost_EO], masks: Sequence[Mask]) -> int:
    return sum(int(cost[mask].sum()) for cost, mask in zip(costs, masks, strict=True))


def cost_table(space: CellSpace, size: NetworkSize) -> CostTable:
    """The cost table of a space's target networks at a size; the last ones asked for are kept."""
    return _cost_table(_BySpace(space), size)


@dataclass(frozen=True)
class _BySpace:
    # Spaces hold dictionaries and cannot be hashed; two spaces of one name may differ, so identity is the key.
    space: CellSpace

    def __hash__(self) -> int:
        return id(self.space)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BySpace) and other.space is self.space


@lru_cache(maxsize=32)
def _cost_table(key: _BySpace, size: NetworkSize) -> CostTable:
    # Cells repeat: a network without operations gives the base and every cell's resolution, and an operation is
    # counted once for each (channels, stride, resolution) at which it occurs.
    space = key.space
    masks = [candidate_mask(space.cells[kind]) for kind in space.kinds(size.cells)]
    with torch.device("meta"):
        empty = [np.zeros_like(mask) for mask in masks]
        network = Network(space, size, empty, space.evaluation_normalisation, auxiliary=False, needs=Needs()).eval()
        shapes: list[torch.Size] = []
        for cell in network.cells:
            cell.preprocess[-1].register_forward_hook(lambda _module, _x, y: shapes.append(y.shape))  # type: ignore
        base = count_macs(network, torch.empty(1, *size.input_shape))
    macs_EO, params_EO = [], []
    for kind, mask, (_, channels, *resolution) in zip(space.kinds(size.cells), masks, shapes, strict=True):
        graph = space.cells[kind]
        after = tuple(-(-length // graph.stride) for length in resolution)
        cell_macs, cell_params = np.zeros(mask.shape, dtype=np.int64), np.zeros(mask.shape, dtype=np.int64)
        for edge, index in np.argwhere(mask):
            stride = graph.edge_stride(graph.edges[edge])
            at = tuple(resolution) if graph.edges[edge][0] < graph.inputs else after
            cell_macs[edge, index], cell_params[edge, index] = _operation_cost(
                graph.operations[index], channels, stride, at, space.evaluation_normalisation
            )
        macs_EO.append(cell_macs)
        params_EO.append(cell_params)
    return CostTable(
        base_macs=sum(base.values()),
        base_params=count_params(network),
        macs_EO=tuple(macs_EO),
        params_EO=tuple(params_EO),
    )


@lru_cache(maxsize=4096)
def _operation_cost(
    name: str, channels: int, stride: int, resolution: tuple[int, ...], normalisation: Normalisation
) -> tuple[int, int]:
    with torch.device("meta"):
        operation = build_operation(name, channels, stride, normalisation).eval()
        counted = count_macs(operation, torch.empty(1, channels, *resolution))
    return sum(counted.values()), count_params(operation)


def count_params(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(network: nn.Module, x: Tensor) -> dict[nn.Module, int]:
    """Multiply-adds of every convolution and linear layer in one forward pass of a batch of one."""
    counted: dict[nn.Module, int] = {}

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output.numel() // weight.shape[0]  # pixels of a convolution's output, 1 of a linear layer's
        counted[module] = counted.get(module, 0) + weight.numel() * positions

    layers = [m for m in network.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return counted


def macs(space: CellSpace, architecture: Architecture, size: NetworkSize) -> float:
    """Exact multiply-adds of an architecture at a size, in M.

    Raises:
        InvalidInput: the architecture fixes another number of cells.
    """
    return cost_table(space, size).macs(architecture_masks(space, architecture, size.cells))


def params(space: CellSpace, architecture: Architecture, size: NetworkSize) -> float:
    """Exact parameters of an architecture's target network at a size, in M, without the auxiliary head.

    Raises:
        InvalidInput: the architecture fixes another number of cells.
    """
    return cost_table(space, size).params(architecture_masks(space, architecture, size.cells))


def expected_macs(space: CellSpace, gates: Sequence[Gates], size: NetworkSize) -> Tensor:
    """Multiply-adds of gates at a size, in M, differentiable: every operation counts as much as its gate.

    Equal to :func:`macs` whenever all gates are 0 or 1. A scalar on the gates' device.
    """
    table = cost_table(space, size)
    total: Tensor | float = table.base_macs / 1e6
    for position, position_gates in enumerate(gates):
        values = position_gates.values_EO
        cost = torch.as_tensor(table.macs_EO[position] / 1e6, dtype=values.dtype, device=values.device)
        total = total + (values * cost).sum()
    assert isinstance(total, Tensor)
    return total
