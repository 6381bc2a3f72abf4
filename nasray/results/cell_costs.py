"""Multiply-adds of every operation of a run's cells: what a report shows beside a drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.gates import architecture_masks
from nasray.results.row_size import size_of_row, skeleton_of
from nasray.spaces import Architecture, CellSpace, Choice, NetworkSize

MOST_SIZES = 100
"""Network sizes that are counted: where a budget makes networks narrower, each may have its own."""


def costs_of_rows(
    rows: pd.DataFrame,
    data: Mapping[str, Any],
    find: Callable[[str], CellSpace | None],
    number: Callable[[Choice], int],
) -> tuple[list[dict[str, Any]], list[int]]:
    """What the operations of the rows' networks cost.

    Args:
        rows: of a run's tables.
        data: run.json's entry of this name: shape of an input, and number of classes.
        find: gives a space by its name in the tables.
        number: gives the number of a choice.

    Returns:
        The costs of each size, as :func:`cell_costs` gives them, and for every row which of them are its own; -1
        where they cannot be counted, or do not add up to what the row says.
    """
    found: dict[tuple[Any, ...], int] = {}
    costs: list[dict[str, Any]] = []
    own = []
    columns = ("space", "channels", "cells", "settings", "architecture", "macs")
    for space, channels, cells, settings, architecture, macs in rows[[*columns]].itertuples(index=False, name=None):
        key = (space, channels, cells, skeleton_of(settings))
        row = {"channels": channels, "cells": cells, "settings": settings}
        if key not in found:
            found[key] = -1
            counted = _counted(find(space), row, data, architecture, macs, number) if len(costs) < MOST_SIZES else None
            if counted is not None:
                found[key] = len(costs)
                costs.append(counted)
        own.append(found[key])
    return costs, own


def cell_costs(space: CellSpace, size: NetworkSize, number: Callable[[Choice], int]) -> dict[str, Any]:
    """Multiply-adds (single ones) of everything that can be chosen in a network of a size.

    Returns:
        `base`: of what every architecture has; `positions`: for every cell its name in an architecture and which of the
        tables is its own; `tables`: multiply-adds by the number of a choice; `nodes`: those of a block's nodes.
    """
    table = cost_table(space, size)
    tables: list[dict[int, int]] = []
    nodes: list[dict[int, int]] = []
    positions = []
    for position, name in enumerate(space.layout(size.cells)):
        graph = table.graphs[position]
        macs = {
            number((*edge, operation)): int(table.macs_EO[position][e, o])
            for e, edge in enumerate(graph.edges)
            for o, operation in enumerate(graph.operations)
            if operation != graph.none
        }
        carried = dict(zip(graph.targets, map(int, table.macs_N[position]), strict=True))
        same = [i for i in range(len(tables)) if tables[i] == macs and nodes[i] == carried]
        if not same:
            tables.append(macs)
            nodes.append(carried)
        positions.append([name, same[0] if same else len(tables) - 1])
    return {"base": int(table.base_macs), "positions": positions, "tables": tables, "nodes": nodes}


def _counted(
    space: CellSpace | None,
    row: Mapping[str, Any],
    data: Mapping[str, Any],
    architecture: str,
    macs: float,
    number: Callable[[Choice], int],
) -> dict[str, Any] | None:
    if space is None:
        return None
    try:
        size = size_of_row(row, data)
        masks = architecture_masks(space, Architecture.from_json(space, architecture), size.cells)
        if not math.isclose(cost_table(space, size).macs(masks), macs, rel_tol=1e-6):
            return None
        return cell_costs(space, size, number)
    except (InvalidInput, KeyError, TypeError, ValueError):  # of other data, or of a space that has changed
        return None
