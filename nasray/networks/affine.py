"""The scale and shift of the normalisations in operations: when they are trained, and how they absorb gates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from nasray.gates import Gates, Mask, architecture_of, candidate_mask
from nasray.networks.cell import Cell, operation_key
from nasray.networks.network import Network, target_network
from nasray.networks.operations import Operation, build_operation
from nasray.spaces import CellGraph, CellSpace, NetworkSize, Normalisation


def train_affine(network: Network, masks: Sequence[Mask]) -> None:
    """Let the scales and shifts in some operations be trained, and hold those in all others.

    Args:
        network: a supernet.
        masks: for every cell position the (edges, operations) to train.
    """
    for cell, mask in zip(network.cells, masks, strict=True):
        assert isinstance(cell, Cell)
        for edge, index in np.argwhere(candidate_mask(cell.graph)):
            for norm in _operation(cell, edge, index).modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.requires_grad_(bool(mask[edge, index]))


def cannot_absorb(graph: CellGraph, normalisation: Normalisation) -> list[str]:
    """The operations of a graph that end, at one of their strides, in no affine batch normalisation."""
    strides = {graph.edge_stride(edge) for edge in graph.edges}
    with torch.device("meta"):
        return [
            name
            for name in graph.operations
            if name != graph.none
            and any(_final_norm(build_operation(name, 2, stride, normalisation)) is None for stride in strides)
        ]


@torch.no_grad()
def absorb(
    network: Network, space: CellSpace, size: NetworkSize, gates: Sequence[Gates], normalisation: Normalisation
) -> Network:
    """A target network without gates that computes what a supernet computes under gates.

    A gate w of an operation that ends in the normalisation gamma x + beta goes into its scale and shift:
    w (gamma x + beta) = (w gamma) x + (w beta).

    Args:
        network: the supernet, which is left as it is.
        space: whose candidates the supernet holds.
        size: of the supernet.
        gates: one for each cell position.
        normalisation: of the supernet; every active operation ends in an affine one.
    """
    architecture = architecture_of(space, [position.active_EO for position in gates])
    with torch.device("meta"):  # nothing is drawn for weights that are replaced at once
        absorbed = target_network(space, architecture, size, normalisation=normalisation)
    weights = network.state_dict()
    absorbed.load_state_dict({name: weights[name].clone() for name in absorbed.state_dict()}, assign=True)
    for cell, position in zip(absorbed.cells, gates, strict=True):
        assert isinstance(cell, Cell)
        for edge, index in np.argwhere(position.active_EO):
            norm = _final_norm(_operation(cell, edge, index))
            assert norm is not None
            norm.weight.mul_(position.values_EO[edge, index])
            norm.bias.mul_(position.values_EO[edge, index])
    return absorbed


def _operation(cell: Cell, edge: int, index: int) -> Operation:
    operation = cell.operations[operation_key(*cell.graph.edges[edge], cell.graph.operations[index])]
    assert isinstance(operation, Operation)
    return operation


def _final_norm(operation: Operation) -> nn.BatchNorm2d | None:
    last = list(operation.modules())[-1]
    return last if isinstance(last, nn.BatchNorm2d) and last.affine else None
