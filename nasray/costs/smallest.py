"""The smallest network of a space: what a budget must allow at the least."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nasray.costs.table import cost_table
from nasray.gates import Mask, candidate_mask
from nasray.spaces import CellGraph, CellSpace, NetworkSize


def smallest_macs(space: CellSpace, size: NetworkSize) -> float:
    """Multiply-adds (M) of the space's smallest architecture at a size."""
    table = cost_table(space, size)
    return table.macs(smallest_masks(space, size))


def smallest_masks(space: CellSpace, size: NetworkSize) -> list[Mask]:
    """For every cell position the (edges, operations) of the architecture with the fewest multiply-adds.

    Costs of a cell's operations add up, so each node that must receive something takes the cheapest operation; in a
    block, the output takes the cheapest way from the input. Where positions share a choice their costs are summed.
    """
    table, layout = cost_table(space, size), space.layout(size.cells)
    chosen: dict[str, Mask] = {}
    for name in dict.fromkeys(layout):
        positions = [position for position, other in enumerate(layout) if other == name]
        graph = space.graph(name)
        costs_EO = np.sum([table.macs_EO[position] for position in positions], axis=0)
        costs_N = np.sum([table.macs_N[position] for position in positions], axis=0)
        chosen[name] = _smallest_cell(graph, costs_EO, costs_N)
    return [chosen[name] for name in layout]


def _smallest_cell(graph: CellGraph, costs_EO: npt.NDArray[np.int64], costs_N: npt.NDArray[np.int64]) -> Mask:
    candidates = candidate_mask(graph)
    mask = np.zeros_like(candidates)
    cheapest_E = np.where(candidates, costs_EO, np.iinfo(np.int64).max).argmin(axis=1)
    if graph.one_per_edge:
        if graph.none is None:
            mask[np.arange(len(mask)), cheapest_E] = True
        return mask
    for node in graph.required:
        if not graph.node_operations:
            # What it takes its input from may itself receive nothing.
            edge = min(graph.incoming[node], key=lambda edge: costs_EO[edge, cheapest_E[edge]])
            mask[edge, cheapest_E[edge]] = True
            continue
        ways = _cheapest_ways(graph, costs_EO[:, 0], costs_N)
        while node >= graph.inputs:
            mask[ways[node], 0] = True
            node = graph.edges[ways[node]][0]
    return mask


def _cheapest_ways(graph: CellGraph, costs_E: npt.NDArray[np.int64], costs_N: npt.NDArray[np.int64]) -> dict[int, int]:
    """For every node of a block the edge by which the cheapest way from the input comes to it."""
    cost, ways = dict.fromkeys(range(graph.inputs), 0), dict[int, int]()
    for place, (node, edges) in enumerate(graph.incoming.items()):
        reach = {edge: cost[graph.edges[edge][0]] + int(costs_E[edge]) for edge in edges}
        ways[node] = min(reach, key=lambda edge: reach[edge])
        cost[node] = reach[ways[node]] + int(costs_N[place])
    return ways
