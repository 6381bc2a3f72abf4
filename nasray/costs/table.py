"""Multiply-adds and parameters of every operation of a space, counted by running each once on one input.

Counted as papers on NAS do: multiply-adds ("macs") of convolutions, linear layers and all else that contracts, half of
what torch's FLOP counter says of them (see ``counting``); parameters of everything but the auxiliary head. One table of
a space at a size gives the cost of any of its architectures exactly and of any gates as an expectation, so both are one
truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasray.costs.counting import count, count_built, count_params, counted_on
from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask, architecture_masks, candidate_mask, strongest_on_edges
from nasray.networks.blocks import Block
from nasray.networks.needs import Needs
from nasray.networks.network import Network
from nasray.networks.operations import build_operation
from nasray.spaces import Architecture, CellGraph, CellSpace, NetworkSize, Normalisation, live

Cost_EO = npt.NDArray[np.int64]
Cost_N = npt.NDArray[np.int64]
_CellCosts = tuple[Cost_EO, Cost_EO, Cost_N, Cost_N]
"""(multiply-adds and parameters of edges, multiply-adds and parameters of nodes)."""


@dataclass(frozen=True)
class CostTable:
    """Costs of a space at a size, in single multiply-adds and parameters (not millions)."""

    base_macs: int
    """Stem, the cells' preprocessing, reductions without a choice, classifier: what every architecture pays."""
    base_params: int
    graphs: tuple[CellGraph, ...]
    """The graph of every cell position."""
    macs_EO: tuple[Cost_EO, ...]
    """For every cell position (edges, operations)."""
    params_EO: tuple[Cost_EO, ...]
    macs_N: tuple[Cost_N, ...]
    """For every cell position (intermediate nodes): what a node costs that anything enters. Zeros in plain cells."""
    params_N: tuple[Cost_N, ...]
    _sums: dict[tuple[int, ...], npt.NDArray[np.int64]] = field(default_factory=dict, repr=False, compare=False)
    """What was summed over positions."""

    def macs(self, masks: Sequence[Mask]) -> float:
        """Exact multiply-adds, in M, of what the masks, one for each position, choose."""
        return (self.base_macs + self._chosen(masks, self.macs_EO, self.macs_N)) / 1e6

    def params(self, masks: Sequence[Mask]) -> float:
        """Exact parameters, in M, of what the masks choose."""
        return (self.base_params + self._chosen(masks, self.params_EO, self.params_N)) / 1e6

    @property
    def largest_macs(self) -> float:
        """Multiply-adds, in M, of the dearest architecture: with every candidate, or the dearest of every edge where
        it takes one."""
        masks = []
        for graph, macs_EO in zip(self.graphs, self.macs_EO, strict=True):
            everything = candidate_mask(graph)
            masks.append(strongest_on_edges(graph, macs_EO, everything) if graph.one_per_edge else everything)
        return self.macs(masks)

    def _chosen(self, masks: Sequence[Mask], costs_EO: Sequence[Cost_EO], costs_N: Sequence[Cost_N]) -> int:
        # Positions that share a mask are counted together: what is live there is the same.
        positions: dict[tuple[int, int], list[int]] = {}
        for position, (graph, mask) in enumerate(zip(self.graphs, masks, strict=True)):
            positions.setdefault((id(graph), id(mask)), []).append(position)
        total = 0
        for same in positions.values():
            graph, mask = self.graphs[same[0]], masks[same[0]]
            chosen = live(graph, mask)
            total += int(self._summed(costs_EO, same)[chosen].sum())
            if graph.node_operations:
                entered = [chosen[list(edges)].any() for edges in graph.incoming.values()]
                total += int(self._summed(costs_N, same)[entered].sum())
        return total

    def _summed(self, costs: Sequence[npt.NDArray[np.int64]], positions: Sequence[int]) -> npt.NDArray[np.int64]:
        key = (id(costs), *positions)
        if key not in self._sums:
            self._sums[key] = np.sum([costs[position] for position in positions], axis=0)
        return self._sums[key]


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


def device_of(space: CellSpace, size: NetworkSize) -> str:
    """The device on which networks of a space at a size are counted and tried: see ``counted_on``."""
    return counted_on((size.channels * max(space.widths(size.cells)), *size.input_shape[1:]))


@lru_cache(maxsize=128)
def _cost_table(key: _BySpace, size: NetworkSize) -> CostTable:
    # Cells repeat: a network without operations gives the base and every cell's resolution, and an operation is
    # counted once for each (channels, stride, resolution) at which it occurs.
    space = key.space
    masks = [candidate_mask(space.cells[kind]) for kind in space.kinds(size.cells)]
    empty = [np.zeros_like(mask) for mask in masks]
    with torch.random.fork_rng(devices=[]), torch.device(device_of(space, size)):
        network = Network(space, size, empty, space.evaluation_normalisation, auxiliary=False, needs=Needs())
        x = torch.empty(1, *size.input_shape)
    shapes: list[torch.Size] = []
    for cell in network.cells:
        cell.register_forward_pre_hook(lambda _module, given: shapes.append(given[0][-1].shape))
    base = count(network, x)
    graphs = tuple(space.cells[kind] for kind in space.kinds(size.cells))
    costs: list[_CellCosts] = []
    for graph, width, mask, (_, before, *resolution) in zip(
        graphs, space.widths(size.cells), masks, shapes, strict=True
    ):
        channels = size.channels * width
        if graph.node_operations:
            costs.append(_block_costs(graph, before, channels, tuple(resolution), space.evaluation_normalisation))
        else:
            costs.append(_cell_costs(graph, mask, channels, tuple(resolution), space.evaluation_normalisation))
    macs_EO, params_EO, macs_N, params_N = zip(*costs, strict=True)
    return CostTable(
        base_macs=base.macs,
        base_params=base.params,
        graphs=graphs,
        macs_EO=macs_EO,
        params_EO=params_EO,
        macs_N=macs_N,
        params_N=params_N,
    )


def _cell_costs(
    graph: CellGraph, mask: Mask, channels: int, resolution: tuple[int, ...], normalisation: Normalisation
) -> _CellCosts:
    after = tuple(-(-length // graph.stride) for length in resolution)
    macs_EO, params_EO = np.zeros(mask.shape, dtype=np.int64), np.zeros(mask.shape, dtype=np.int64)
    for edge, index in np.argwhere(mask):
        stride = graph.edge_stride(graph.edges[edge])
        at = resolution if graph.edges[edge][0] < graph.inputs else after
        macs_EO[edge, index], params_EO[edge, index] = _operation_cost(
            graph.operations[index], channels, stride, at, normalisation
        )
    nothing = np.zeros(graph.nodes, dtype=np.int64)
    return macs_EO, params_EO, nothing, nothing


@lru_cache(maxsize=256)
def _block_costs(
    graph: CellGraph, before: int, channels: int, resolution: tuple[int, ...], normalisation: Normalisation
) -> _CellCosts:
    after = tuple(-(-length // graph.stride) for length in resolution)
    everything = np.ones((len(graph.edges), 1), dtype=bool)
    macs_EO, params_EO = np.zeros(everything.shape, dtype=np.int64), np.zeros(everything.shape, dtype=np.int64)
    macs_N, params_N = np.zeros(graph.nodes, dtype=np.int64), np.zeros(graph.nodes, dtype=np.int64)
    with torch.random.fork_rng(devices=[]), torch.device(counted_on((max(before, channels), *resolution))):
        block = Block(graph, everything, before, channels, False, normalisation, depth=1.0)
        for index, (node, operation) in enumerate(zip(graph.targets, block.operations.values(), strict=False)):
            of_input = any(graph.edges[edge][0] < graph.inputs for edge in graph.incoming[node])
            x = torch.empty(1, before, *resolution) if of_input else torch.empty(1, channels, *after)
            counted = count(operation, x)
            macs_N[index], params_N[index] = counted.macs, counted.params
        for source, projection in block.projections.items():
            edge = graph.edge_index[int(source), graph.outputs[0]]
            counted = count(projection, torch.empty(1, channels, *after))
            macs_EO[edge], params_EO[edge] = counted.macs, counted.params
    params_N[-1] = 0 if block.norm is None else count_params(block.norm)
    return macs_EO, params_EO, macs_N, params_N


@lru_cache(maxsize=4096)
def _operation_cost(
    name: str, channels: int, stride: int, resolution: tuple[int, ...], normalisation: Normalisation
) -> tuple[int, int]:
    build = partial(build_operation, name, channels, stride, normalisation)
    counted = count_built(build, (channels, *resolution), f"operation {name!r}")
    expected = (1, channels, *(-(-length // stride) for length in resolution))
    if counted.output != expected:
        # Added to others it might be broadcast, and what follows would have another resolution than is counted.
        raise InvalidInput(
            f"operation {name!r} with stride {stride} gives shape {counted.output} for an input of shape "
            f"{(1, channels, *resolution)}: it must give {expected}"
        )
    return counted.macs, counted.params


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

    In a block a node counts as much as it is likely to lie between input and output, and a connection as much as
    it is likely to be between such nodes, were the connections independent and each present with the probability
    of its gate, cut at 1 (our choice). Equal to :func:`macs` whenever all gates are 0 or 1. A scalar on the gates'
    device.
    """
    table = cost_table(space, size)
    total: Tensor | float = table.base_macs / 1e6
    for position, position_gates in enumerate(gates):
        values = position_gates.values_EO
        cost_EO, cost_N = (
            torch.as_tensor(cost[position] / 1e6, dtype=values.dtype, device=values.device)
            for cost in (table.macs_EO, table.macs_N)
        )
        graph = table.graphs[position]
        if graph.node_operations:
            values, nodes_N = _expected_life(graph, values)
            total = total + (nodes_N * cost_N).sum()
        total = total + (values * cost_EO).sum()
    assert isinstance(total, Tensor)
    return total


def _expected_life(graph: CellGraph, gates_EO: Tensor) -> tuple[Tensor, Tensor]:
    """How likely every connection (edges, 1) and every intermediate node lies between input and output."""
    present = gates_EO[:, 0].clamp(max=1.0)
    one = torch.ones((), dtype=present.dtype, device=present.device)
    entered = dict.fromkeys(range(graph.inputs), one)
    for node, edges in graph.incoming.items():
        absent = [1 - present[e] * entered[graph.edges[e][0]] for e in edges]
        entered[node] = 1 - torch.stack(absent).prod()
    used = dict.fromkeys(graph.outputs, one)
    for node in reversed(range(graph.outputs[0])):
        absent = [1 - present[e] * used[target] for e, (source, target) in enumerate(graph.edges) if source == node]
        used[node] = 1 - torch.stack([one, *absent]).prod()
    edges_E = [present[e] * entered[source] * used[target] for e, (source, target) in enumerate(graph.edges)]
    return torch.stack(edges_E)[:, None], torch.stack([entered[node] * used[node] for node in graph.targets])
