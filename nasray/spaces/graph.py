"""Cells as directed acyclic graphs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nasray.errors import InvalidInput

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
    concatenation of its intermediate nodes.

    Raises:
        InvalidInput: an edge runs backwards, leaves the cell, or ends in an input.
    """

    inputs: int
    """Number of input nodes."""
    nodes: int
    """Number of intermediate nodes."""
    operations: tuple[str, ...]
    """Candidate operations of every edge, by their published names."""
    edges: tuple[Edge, ...] = ()
    """Empty means every edge from an earlier to a later node."""
    stride: int = 1
    """Stride of the operations on edges that start at an input node."""
    none: str | None = None
    """Name of the operation that stands for "no connection" while a method chooses, if the space has one. It is
    never part of an architecture and never computed."""

    def __post_init__(self) -> None:
        if not self.edges:
            object.__setattr__(self, "edges", complete_edges(self.inputs, self.nodes))
        for source, target in self.edges:
            if not (0 <= source < target < self.inputs + self.nodes and target >= self.inputs):
                raise InvalidInput(
                    f"edge {(source, target)}: accepted are edges from an earlier node to one of the nodes "
                    f"{self.inputs} to {self.inputs + self.nodes - 1}"
                )

    @property
    def targets(self) -> range:
        """The intermediate nodes."""
        return range(self.inputs, self.inputs + self.nodes)

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
