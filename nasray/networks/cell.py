"""One cell: the operations of a graph, and the sum at every node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask
from nasray.networks.needs import Needs
from nasray.networks.operations import (
    FactorizedReduce,
    Operation,
    Pool,
    build_operation,
    module_name,
    relu_conv_norm,
    together,
)
from nasray.spaces import CellGraph, Normalisation


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Zero whole examples with a probability and scale the others up (methods.md 0.4). x: (N, ...)."""
    keep = 1.0 - probability
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)


class _Edge(NamedTuple):
    """An operation on an edge, and the node that the edge enters."""

    edge: int
    node: int
    operation: Operation


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
        # Of every node the operations that leave it, those of one kind together: walked at each forward pass.
        self._leaving: list[dict[int, list[_Edge]]] = [{} for _ in range(graph.targets.stop)]
        for node in graph.targets:
            for edge in graph.incoming[node]:
                source = graph.edges[edge][0]
                for index, name in enumerate(graph.operations):
                    if present_EO[edge, index]:
                        # The stride of an edge depends on its source alone, so later nodes can share an operation.
                        key = operation_key(source, None if needs.shared_features else node, name)
                        if key not in operations:
                            stride = graph.edge_stride(graph.edges[edge])
                            operations[key] = build_operation(name, self._width, stride, normalisation)
                        self._leaving[source].setdefault(index, []).append(_Edge(edge, node, operations[key]))
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
        sums = {node: _Sum() for node in self.graph.targets}
        computed: dict[int, dict[int, int]] = {node: {} for node in self.graph.targets}
        bypasses: dict[int, Tensor] = {}
        values = None if gates is None else gates.values_EO.flatten().unbind()
        width = len(self.graph.operations)
        drop = drop_probability if self.training else 0.0
        for source, leaving in enumerate(self._leaving):
            if source in sums:
                total = sums.pop(source).value
                if total is None:
                    total = self._nothing(states)
                elif self.needs.channel_fraction > 1:
                    total = self._join(total, self._bypass(states, computed[source], gates, bypasses))
                states.append(total)
            if not leaving:
                continue
            x = self._seen(states[source])
            activated: Tensor | None = None
            for index, edges in leaving.items():
                active = [one for one in edges if gates is None or gates.active_EO[one.edge, index]]
                if not active:
                    continue
                operations = [one.operation for one in active]
                seen = x
                if operations[0].activated:
                    activated = F.relu(x) if activated is None else activated
                    seen = activated
                weights: Sequence[Tensor | None] = [None] * len(active)
                gates_K = [] if values is None else [values[one.edge * width + index] for one in active]
                if gates_K and operations[0].takes_gate and not (drop or self.needs.shared_features):
                    outputs = together(operations, seen, gates_K)
                else:
                    outputs, weights = self._plainly(operations, seen, drop), gates_K or weights
                for one, y, weight in zip(active, outputs, weights, strict=True):
                    sums[one.node].add(y, weight)
                    computed[one.node][one.edge] = computed[one.node].get(one.edge, 0) + 1
        return states[-1] if self.graph.output == "sum" else torch.cat(states[self.graph.inputs :], dim=1)

    def _plainly(self, operations: Sequence[Operation], x: Tensor, drop: float) -> list[Tensor]:
        """The outputs of operations of one kind that read the same, without their gates."""

        def dropped(y: Tensor) -> Tensor:
            return drop_path(y, drop) if drop and not operations[0].is_identity else y

        if self.needs.shared_features:
            return [dropped(operations[0](x))] * len(operations)
        if isinstance(operations[0], Pool):
            return [dropped(y) for y in Pool.on_edges(cast(Sequence[Pool], operations), x)]
        if self.training and operations[0].takes_gate:
            return [dropped(y) for y in together(operations, x)]
        return [dropped(operation(x)) for operation in operations]

    def _seen(self, state: Tensor) -> Tensor:
        # The channels that operations see.
        if self.needs.channel_fraction == 1:
            return state
        return state[:, : self._width].contiguous(memory_format=torch.channels_last)

    def _bypass(
        self, states: Sequence[Tensor], computed: dict[int, int], gates: Gates | None, bypasses: dict[int, Tensor]
    ) -> Tensor:
        """The channels that operations do not see, summed over the edges that were computed.

        An edge weighs as much as all its gates together, that of ``none`` among them: its share of the node where
        they are a softmax times that share, its number of operations where they are 0 or 1.
        """
        total = _Sum()
        weights = None if gates is None else gates.values_EO.sum(dim=1).unbind()
        for edge, operations in computed.items():
            source = self.graph.edges[edge][0]
            if source not in bypasses:
                bypassed = states[source][:, self._width :]
                stride = self.graph.edge_stride(self.graph.edges[edge])
                # ceil_mode: operations round odd resolutions up (our choice: the released code knows only even ones).
                bypasses[source] = bypassed if stride == 1 else F.max_pool2d(bypassed, stride, ceil_mode=True)
            total.add(bypasses[source], operations if weights is None else weights[edge])
        assert total.value is not None
        return total.value

    def _join(self, seen: Tensor, bypassed: Tensor) -> Tensor:
        # The published shuffle of every edge, once for their sum: it only permutes channels.
        return F.channel_shuffle(torch.cat([seen, bypassed], dim=1), self.needs.channel_fraction)

    def _nothing(self, states: Sequence[Tensor]) -> Tensor:
        # A sampled cell may leave a node without any operation: it is zero then, at the nodes' resolution.
        n, c, h, w = states[0].shape
        stride = self.graph.stride
        return states[0].new_zeros((n, c, -(-h // stride), -(-w // stride)))


class _Weighed(torch.autograd.Function):
    """weight * y of a y in 16 bits, the gradient of the weight in 32."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(y, weight)
        return y * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        y, weight = ctx.saved_tensors
        return gradient * weight, (gradient * y).sum(dtype=weight.dtype)


class _Sum:
    """A gated sum, added to in place as soon as it is a tensor of its own."""

    def __init__(self) -> None:
        self.value: Tensor | None = None
        self._own = False

    def add(self, y: Tensor, weight: Tensor | int | None) -> None:
        """Add weight * y; None is a weight of 1."""
        if isinstance(weight, Tensor) and weight.dtype != y.dtype:
            y, weight = _Weighed.apply(y, weight), None
        if weight is None or (isinstance(weight, int) and weight == 1):
            self.value, self._own = (y, False) if self.value is None else (self._added(y), True)
        elif self.value is None:
            self.value, self._own = y * weight, True
        elif isinstance(weight, int):
            self.value, self._own = self._added(y, weight), True
        else:
            multiply = self.value.addcmul_ if self._own else self.value.addcmul
            self.value, self._own = multiply(y, weight), True

    def _added(self, y: Tensor, weight: int = 1) -> Tensor:
        assert self.value is not None
        return (self.value.add_ if self._own else self.value.add)(y, alpha=weight)


def operation_key(source: int, target: int | None, operation: str) -> str:
    """Name of an operation among a cell's modules, without the target where all targets share it."""
    ends = f"{source}" if target is None else f"{source}_{target}"
    return f"{ends}_{module_name(operation)}"
