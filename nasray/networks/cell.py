"""One cell: the operations of a graph, and the sum at every node."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask
from nasray.networks.needs import Needs
from nasray.networks.operations import FactorizedReduce, Operation, build_operation, module_name, relu_conv_norm
from nasray.spaces import CellGraph, Normalisation


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Zero whole examples with a probability and scale the others up (methods.md 0.4). x: (N, ...)."""
    keep = 1.0 - probability
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)


class Cell(nn.Module):
    """The operations of a graph that a mask names.

    With all of them it is a cell of the supernet and is run with gates; with those of an architecture it is a
    cell of the target network and is run without: each node is then the plain sum of its operations. A cell that gives
    a sum takes the output of the last cell as it is; another one brings its inputs to its own channels first.

    Raises:
        InvalidInput: the channels do not divide into the fractions that are asked for.
    """

    def __init__(
        self,
        graph: CellGraph,
        present_EO: Mask,
        channels: int,
        channels_before: tuple[int, int],
        after_reduction: bool,
        normalisation: Normalisation,
        needs: Needs,
    ) -> None:
        super().__init__()
        fraction = needs.channel_fraction
        if channels % fraction:
            raise InvalidInput(f"channels {channels} in fractions of 1/{fraction}: expected multiples of {fraction}")
        self.graph = graph
        self.needs = needs
        self._width = channels // fraction
        self.channels_out = channels * len(graph.outputs)
        self.preprocess = nn.ModuleList()
        if graph.output == "concatenation":
            before_last, last = channels_before
            affine = normalisation.affine
            self.preprocess.append(
                nn.Sequential(nn.ReLU(), FactorizedReduce(before_last, channels, affine))
                if after_reduction
                else relu_conv_norm(before_last, channels, affine)
            )
            self.preprocess.append(relu_conv_norm(last, channels, affine))
        operations: dict[str, Operation] = {}
        # For every node its (source, edge, operation, module): walked at each forward pass.
        self._incoming: list[list[tuple[int, int, int, Operation]]] = []
        for node in graph.targets:
            incoming = []
            for edge in graph.incoming[node]:
                source = graph.edges[edge][0]
                for index, name in enumerate(graph.operations):
                    if present_EO[edge, index]:
                        # The stride of an edge depends on its source alone, so later nodes can share an operation.
                        key = operation_key(source, None if needs.shared_features else node, name)
                        if key not in operations:
                            stride = graph.edge_stride(graph.edges[edge])
                            operations[key] = build_operation(name, self._width, stride, normalisation)
                        incoming.append((source, edge, index, operations[key]))
            self._incoming.append(incoming)
        self.operations = nn.ModuleDict(operations)

    def forward(
        self, inputs: tuple[Tensor, Tensor], gates: Gates | None = None, drop_probability: float = 0.0
    ) -> Tensor:
        """The concatenation of the cell's nodes, or the last of them.

        Args:
            inputs: outputs of the cell before the last and of the last cell, NCHW.
            gates: of this position; None sums the operations plainly.
            drop_probability: of drop path, in training only.
        """
        states = [m(x) for m, x in zip(self.preprocess, inputs, strict=True)] if self.preprocess else [inputs[-1]]
        seen = [self._seen(state) for state in states]
        activated: dict[int, Tensor] = {}
        features: dict[Operation, Tensor] = {}
        bypasses: dict[int, Tensor] = {}
        values = None if gates is None else gates.values_EO.flatten().unbind()
        width = len(self.graph.operations)
        for incoming in self._incoming:
            total: Tensor | None = None
            computed: dict[int, int] = {}
            for source, edge, index, operation in incoming:
                if gates is not None and not gates.active_EO[edge, index]:
                    continue
                y = features.get(operation)
                if y is None:
                    if operation.activated and source not in activated:
                        activated[source] = F.relu(seen[source])
                    y = operation(activated[source] if operation.activated else seen[source])
                    if self.training and drop_probability > 0.0 and not operation.is_identity:
                        y = drop_path(y, drop_probability)
                    if self.needs.shared_features:
                        features[operation] = y
                total = _add(total, y, 1 if values is None else values[edge * width + index])
                computed[edge] = computed.get(edge, 0) + 1
            if total is None:
                total = self._nothing(states)
            elif self.needs.channel_fraction > 1:
                total = self._join(total, self._bypass(states, computed, gates, bypasses))
            states.append(total)
            seen.append(self._seen(total))
        return states[-1] if self.graph.output == "sum" else torch.cat(states[self.graph.inputs :], dim=1)

    def _seen(self, state: Tensor) -> Tensor:
        # The channels that operations see.
        return state if self.needs.channel_fraction == 1 else state[:, : self._width]

    def _bypass(
        self, states: Sequence[Tensor], computed: dict[int, int], gates: Gates | None, bypasses: dict[int, Tensor]
    ) -> Tensor:
        """The channels that operations do not see, summed over the edges that were computed.

        An edge weighs as much as all its gates together, that of ``none`` among them: its share of the node where
        they are a softmax times that share, its number of operations where they are 0 or 1.
        """
        total: Tensor | None = None
        weights = None if gates is None else gates.values_EO.sum(dim=1).unbind()
        for edge, operations in computed.items():
            source = self.graph.edges[edge][0]
            if source not in bypasses:
                bypassed = states[source][:, self._width :]
                stride = self.graph.edge_stride(self.graph.edges[edge])
                # ceil_mode: operations round odd resolutions up (our choice: the released code knows only even ones).
                bypasses[source] = bypassed if stride == 1 else F.max_pool2d(bypassed, stride, ceil_mode=True)
            total = _add(total, bypasses[source], operations if weights is None else weights[edge])
        assert total is not None
        return total

    def _join(self, seen: Tensor, bypassed: Tensor) -> Tensor:
        # The published shuffle of every edge, once for their sum: it only permutes channels.
        return F.channel_shuffle(torch.cat([seen, bypassed], dim=1), self.needs.channel_fraction)

    def _nothing(self, states: Sequence[Tensor]) -> Tensor:
        # A sampled cell may leave a node without any operation: it is zero then, at the nodes' resolution.
        n, c, h, w = states[0].shape
        stride = self.graph.stride
        return states[0].new_zeros((n, c, -(-h // stride), -(-w // stride)))


def _add(total: Tensor | None, y: Tensor, weight: Tensor | int) -> Tensor:
    if isinstance(weight, Tensor):
        return y * weight if total is None else torch.addcmul(total, y, weight)
    if total is None:
        return y if weight == 1 else y * weight
    return torch.add(total, y, alpha=weight)


def operation_key(source: int, target: int | None, operation: str) -> str:
    """Name of an operation among a cell's modules, without the target where all targets share it."""
    ends = f"{source}" if target is None else f"{source}_{target}"
    return f"{ends}_{module_name(operation)}"
