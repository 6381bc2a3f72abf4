"""One cell: the operations of a graph, and the sum at every node."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray.gates import Gates, Mask
from nasray.networks.operations import FactorizedReduce, Operation, build_operation, relu_conv_norm
from nasray.spaces import CellGraph, Normalisation


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Zero whole examples with a probability and scale the others up (methods.md 0.4). x: (N, ...)."""
    keep = 1.0 - probability
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)


class Cell(nn.Module):
    """The operations of a graph that a mask names.

    With all of them it is a cell of the supernet and is run with gates; with those of an architecture it is a
    cell of the target network and is run without: each node is then the plain sum of its operations.
    """

    def __init__(
        self,
        graph: CellGraph,
        present_EO: Mask,
        channels: int,
        channels_before: tuple[int, int],
        after_reduction: bool,
        normalisation: Normalisation,
    ) -> None:
        super().__init__()
        self.graph = graph
        self.channels_out = channels * graph.nodes
        affine = normalisation.affine
        before_last, last = channels_before
        self.preprocess = nn.ModuleList(
            [
                nn.Sequential(nn.ReLU(), FactorizedReduce(before_last, channels, affine))
                if after_reduction
                else relu_conv_norm(before_last, channels, affine),
                relu_conv_norm(last, channels, affine),
            ]
        )
        self.operations = nn.ModuleDict()
        # For every node its (source, edge, operation, module): walked at each forward pass.
        self._incoming: list[list[tuple[int, int, int, Operation]]] = []
        for node in graph.targets:
            incoming = []
            for edge in graph.incoming[node]:
                source = graph.edges[edge][0]
                for index, name in enumerate(graph.operations):
                    if present_EO[edge, index]:
                        stride = graph.edge_stride(graph.edges[edge])
                        operation = build_operation(name, channels, stride, normalisation)
                        self.operations[operation_key(source, node, name)] = operation
                        incoming.append((source, edge, index, operation))
            self._incoming.append(incoming)

    def forward(
        self, inputs: tuple[Tensor, Tensor], gates: Gates | None = None, drop_probability: float = 0.0
    ) -> Tensor:
        """The concatenation of the cell's nodes.

        Args:
            inputs: outputs of the cell before the last and of the last cell, NCHW.
            gates: of this position; None sums the operations plainly.
            drop_probability: of drop path, in training only.
        """
        states = [module(x) for module, x in zip(self.preprocess, inputs, strict=True)]
        activated: dict[int, Tensor] = {}
        values = None if gates is None else gates.values_EO.flatten().unbind()
        width = len(self.graph.operations)
        for incoming in self._incoming:
            total: Tensor | None = None
            for source, edge, index, operation in incoming:
                if gates is not None and not gates.active_EO[edge, index]:
                    continue
                if operation.activated and source not in activated:
                    activated[source] = F.relu(states[source])
                y = operation(activated[source] if operation.activated else states[source])
                if self.training and drop_probability > 0.0 and not operation.is_identity:
                    y = drop_path(y, drop_probability)
                if values is None:
                    total = y if total is None else total + y
                else:
                    gate = values[edge * width + index]
                    total = y * gate if total is None else torch.addcmul(total, y, gate)
            states.append(self._nothing(states) if total is None else total)
        return torch.cat(states[self.graph.inputs :], dim=1)

    def _nothing(self, states: Sequence[Tensor]) -> Tensor:
        # A sampled cell may leave a node without any operation: it is zero then, at the nodes' resolution.
        n, c, h, w = states[0].shape
        stride = self.graph.stride
        return states[0].new_zeros((n, c, -(-h // stride), -(-w // stride)))


def operation_key(source: int, target: int, operation: str) -> str:
    """Name of an operation among a cell's modules. A user's ``file.py:NAME`` may hold dots, a module name not."""
    return f"{source}_{target}_{operation.replace('.', '_')}"
