"""Gates: one number for each (edge, operation) of a cell. Zero means absent, and absent means not computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.spaces import Architecture, CellGraph, CellSpace

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Gates:
    """The gates of one cell position."""

    values_EO: Tensor
    """(edges, operations), differentiable, on the device of the supernet."""
    active_EO: Mask
    """Which entries are computed, on the host, so that skipping the others costs no synchronisation. Where it is
    false the value is zero, or that of ``none``, which costs nothing and is never computed. Where it is true the value
    may be zero too: an estimator may need the output of what it multiplies by zero (DATA's)."""


def candidate_mask(graph: CellGraph) -> Mask:
    """(edges, operations): every operation that can be computed, that is all but ``none``."""
    mask = np.ones((len(graph.edges), len(graph.operations)), dtype=bool)
    if graph.none is not None:
        mask[:, graph.operation_index[graph.none]] = False
    return mask


def strongest_on_edges(graph: CellGraph, strengths_EO: npt.NDArray[Any], allowed_EO: Mask | None = None) -> Mask:
    """The strongest operation of every edge, and nothing where that is ``none`` or none is allowed.

    Args:
        graph: the cell.
        strengths_EO: (edges, operations).
        allowed_EO: (edges, operations), which are compared; None is all, ``none`` among them.
    """
    allowed_EO = np.ones(strengths_EO.shape, dtype=bool) if allowed_EO is None else allowed_EO
    strongest = np.where(allowed_EO, strengths_EO, -np.inf).argmax(axis=1)
    mask = np.zeros(strengths_EO.shape, dtype=bool)
    mask[np.arange(len(mask)), strongest] = True
    return mask & allowed_EO & candidate_mask(graph)


def architecture_masks(space: CellSpace, architecture: Architecture, num_cells: int) -> list[Mask]:
    """For every cell position the (edges, operations) that an architecture chose.

    Raises:
        InvalidInput: the architecture fixes another number of cells.
    """
    masks = {}
    for name, choices in architecture.cells.items():
        graph = space.graph(name)
        mask = np.zeros((len(graph.edges), len(graph.operations)), dtype=bool)
        for source, target, operation in choices:
            mask[graph.edge_index[source, target], graph.operation_index[operation]] = True
        masks[name] = mask
    if space.cell_per_position and len(architecture.cells) != num_cells:
        raise InvalidInput(
            f"{num_cells} cells for an architecture of {len(architecture.cells)} cell positions: "
            f"expected {len(architecture.cells)}"
        )
    return [masks[name] for name in space.layout(num_cells)]


def binary_gates(masks: list[Mask], device: torch.device | str = "cpu") -> list[Gates]:
    """Gates of one where the masks are true, zero elsewhere: positions that share a mask share their gates."""
    made: dict[int, Gates] = {}
    for mask in masks:
        if id(mask) not in made:
            made[id(mask)] = Gates(torch.from_numpy(mask.astype(np.float32)).to(device), mask)
    return [made[id(mask)] for mask in masks]


def architecture_of(space: CellSpace, masks: list[Mask]) -> Architecture:
    """The architecture that masks, one for each cell position, choose.

    Raises:
        InvalidInput: a node receives nothing.
    """
    cells = {}
    for name, mask in zip(space.layout(len(masks)), masks, strict=True):
        graph = space.graph(name)
        cells[name] = [(*graph.edges[e], graph.operations[o]) for e, o in np.argwhere(mask)]
    return Architecture.of(space, cells)
