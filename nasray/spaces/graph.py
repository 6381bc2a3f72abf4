"""Cells as directed acyclic graphs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from nasray.errors import InvalidInput, shown

Edge = tuple[int, int]
"""(source node, target node), earlier to later."""

Choice = tuple[int, int, str]
"""(source node, target node, operation)."""


def complete_edges(inputs: int, nodes: int) -> tuple[Edge, ...]:
    """Every edge from an earlier to a later node, in the field's order: target by target, then by source."""
    return tuple((source, target) for target in range(inputs, inputs + nodes) for source in range(target))


@dataclass(frozen=True, kw_only=True)
class CellGraph:
    """What can be chosen in one kind of cell.

    Nodes ``0 .. inputs-1`` are the cell's inputs, ``inputs .. inputs+nodes-1`` its intermediate nodes; each
    intermediate node is the sum of the operations on its incoming edges, and the cell's output is the
    concatenation of its intermediate nodes, or the last of them.

    A cell whose nodes carry operations is a *block*: its edges are bare connections, each node applies its
    operation to their sum, and the last node is the output. A node of a block may be left out.

    Raises:
        InvalidInput: a field of another type; an edge runs backwards, leaves the cell, or ends in an input; a block
            with more than one input or operation on an edge, or with another number of node operations than it has
            nodes before its output; a cell that gives its last node and has several inputs or a stride; a block whose
            edges take one operation each.
    """

    inputs: int
    """Number of input nodes."""
    nodes: int
    """Number of intermediate nodes."""
    operations: tuple[str, ...]
    """Candidate operations of every edge, by their published names."""
    edges: tuple[Edge, ...] = ()
    """Empty means every edge from an earlier to a later node."""
    edges_per_node: int | None = None
    """How many edges, with one operation each, enter every node of the architectures that searchers propose, as in the
    published ones (DARTS: 2); None where any number may. Others are architectures of the space too, and a method may
    derive them."""
    stride: int = 1
    """Stride of the operations on edges that start at an input node."""
    none: str | None = None
    """Name of the operation that stands for "no connection" while a method chooses, if the space has one. It is
    never part of an architecture and never computed."""
    one_per_edge: bool = False
    """Whether every edge takes one operation, of which ``none`` is one if the space has it: a choice that names no
    operation on an edge chose ``none`` there, and a node may receive nothing. Elsewhere a choice names any number of
    operations on an edge, and every node receives something."""
    node_operations: tuple[str, ...] = ()
    """The operation of every intermediate node but the last, which is the output; empty where nodes are plain
    sums."""
    output: Literal["concatenation", "sum", "residual"] = "concatenation"
    """``concatenation`` of the intermediate nodes, or ``sum`` of what enters the last of them. A cell that gives a sum
    keeps the channels of its input, which it takes as it is. In a block ``sum``, or ``residual``: the 1x1 convolution
    of all that enters the last node, normalised, plus the block's input."""

    def __post_init__(self) -> None:
        for name, low, high in (("inputs", 1, 2), ("nodes", 1, 1000), ("stride", 1, 2)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidInput(f"cell with {name} {shown(value)}: expected {low} to {high}")
        for name in ("operations", "node_operations"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(one, str) for one in value):
                raise InvalidInput(f"cell with {name} {shown(value)}: expected names, in a tuple")
            object.__setattr__(self, name, tuple(value))
        if not self.edges:
            object.__setattr__(self, "edges", complete_edges(self.inputs, self.nodes))
        for source, target in self.edges:
            if not (0 <= source < target < self.inputs + self.nodes and target >= self.inputs):
                raise InvalidInput(
                    f"edge {(source, target)}: expected an edge from an earlier node to one of the nodes "
                    f"{self.inputs} to {self.inputs + self.nodes - 1}"
                )
        if self.edges_per_node is not None and not 1 <= self.edges_per_node <= self._fewest_edges:
            raise InvalidInput(
                f"{self.edges_per_node} edges a node: expected 1 to {self._fewest_edges}, which the first node has"
            )
        if self.output == ("concatenation" if self.node_operations else "residual"):
            raise InvalidInput(
                f"output {self.output!r} of a cell: expected sum or residual where nodes carry "
                "operations, sum and concatenation elsewhere"
            )
        if not self.node_operations:
            if self.output == "sum" and (self.inputs, self.stride) != (1, 1):
                raise InvalidInput(
                    f"cell with {self.inputs} inputs and stride {self.stride} whose output is a sum: expected one "
                    "input and stride 1"
                )
            return
        if self.one_per_edge:
            raise InvalidInput("one operation an edge in a block: expected connections that may be left out")
        if len(self.node_operations) != self.nodes - 1:
            raise InvalidInput(
                f"{len(self.node_operations)} node operations: expected {self.nodes - 1}, one for each node "
                "before the output"
            )
        if self.inputs != 1 or len(self.operations) != 1:
            raise InvalidInput(
                f"block with {self.inputs} inputs and {len(self.operations)} operations on an edge: expected one "
                "of each"
            )

    @property
    def _fewest_edges(self) -> int:
        return min(sum(target == node for _, target in self.edges) for node in self.targets)

    @property
    def targets(self) -> range:
        """The intermediate nodes."""
        return range(self.inputs, self.inputs + self.nodes)

    @property
    def outputs(self) -> range:
        """The nodes that make the cell's output."""
        return self.targets if self.output == "concatenation" else self.targets[-1:]

    @property
    def required(self) -> range:
        """The nodes that every choice must connect: in a block only the output, and that only where nothing else
        reaches it. None where it is each edge that takes an operation."""
        return self.targets[:0] if self.output == "residual" or self.one_per_edge else self.outputs

    @cached_property
    def incoming(self) -> dict[int, tuple[int, ...]]:
        """For every intermediate node, the indices into ``edges`` of the edges that end there."""
        return {
            node: tuple(index for index, (_, target) in enumerate(self.edges) if target == node)
            for node in self.targets
        }

    @cached_property
    def edge_index(self) -> dict[Edge, int]:
        """Position of every edge in ``edges``."""
        return {edge: index for index, edge in enumerate(self.edges)}

    @cached_property
    def operation_index(self) -> dict[str, int]:
        """Position of every operation in ``operations``."""
        return {operation: index for index, operation in enumerate(self.operations)}

    def edge_stride(self, edge: Edge) -> int:
        """Stride of the operations on an edge."""
        return self.stride if edge[0] < self.inputs else 1

    def node_stride(self, node: int) -> int:
        """Stride of the operation that a node carries."""
        return max(self.edge_stride(self.edges[edge]) for edge in self.incoming[node])
