"""The cells of an architecture as boxes and lines: what stands where, before anything is drawn.

Inputs stand left, nodes right of all that enters them, the output at the right end. An operation is a box on the way
from its source to its target; in a block it is the node. Lines that leave one node run together until they part, and
so do operations on their way into one node: less ink, and still every connection can be followed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from nasray.pictures.layered_graph import Box, Place, place
from nasray.spaces import CellGraph, Choice

Key = tuple[Hashable, ...]
"""Name of a box: ("node", number), ("operations", source, target), ("output",), or of an empty one on a long line."""

ROW = 0.2
"""Height of a line of text, inches."""
NODE = 0.27
"""Height of a node, inches."""
_PAD, _BETWEEN, _GAP, _AROUND_INPUT = 0.07, 0.09, 0.3, 0.25
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
_OUTPUTS = {"concatenation": ("concat",), "sum": ("sum",), "residual": ("conv 1x1", "+ input")}


@dataclass(frozen=True)
class Item:
    """A box that is drawn."""

    kind: Literal["input", "node", "operations", "output"]
    rows: tuple[str, ...]
    """Its lines of text."""
    operations: tuple[str, ...]
    """Those of its rows; empty where a row has none."""
    width: float
    """Inches."""
    height: float
    """Inches."""


@dataclass(frozen=True)
class Line:
    """A line between boxes of neighbouring columns."""

    start: Key
    end: Key
    chosen: bool
    """By the architecture; every architecture of the space has the others."""
    operation: str | None
    """Which it leaves, where it is only one."""


@dataclass(frozen=True)
class CellLayout:
    """A cell with a place for everything in it."""

    name: str
    items: dict[Key, Item]
    """What is drawn; boxes that have a place and are no item are empty."""
    lines: tuple[Line, ...]
    places: dict[Key, Place]

    @property
    def width(self) -> float:
        """Inches."""
        return max(at.right for at in self.places.values())

    @property
    def height(self) -> float:
        """Inches."""
        return max(at.y + (self.items[key].height / 2 if key in self.items else 0) for key, at in self.places.items())


def lay_out(name: str, graph: CellGraph, choices: Sequence[Choice], text_width: Callable[[str], float]) -> CellLayout:
    """A cell of an architecture, laid out.

    Args:
        name: of the cell.
        graph: what could have been chosen.
        choices: what was.
        text_width: measures a text, in inches.
    """
    edges: dict[tuple[int, int], list[str]] = {}
    for source, target, operation in choices:
        edges.setdefault((source, target), []).append(operation)
    depth = _depths(graph, list(edges))
    # Where edges have operations, these have columns of their own between those of the nodes.
    step = 1 if graph.node_operations else 2
    ranks: dict[Key, int] = {("node", node): step * at for node, at in depth.items()}
    if graph.output == "concatenation":
        output: Key = ("output",)
        ranks[output] = max(ranks.values()) + 1
    else:
        output = ("node", graph.outputs[-1])
        ranks[output] = max(ranks.values())
    items = {key: _node_item(graph, key, output, text_width) for key in ranks}

    wires = _Wires(ranks)
    if graph.node_operations:
        for source, target in edges:
            wires.add(("node", source), ("node", target), shared="source", operation=_node_operation(graph, source))
    else:
        for edge, rank in _columns_of_operations(edges, ranks).items():
            key: Key = ("operations", *edge)
            ranks[key] = rank
            items[key] = _item("operations", tuple(edges[edge]), tuple(edges[edge]), text_width)
        for (source, target), operations in edges.items():
            wires.add(("node", source), ("operations", source, target), shared="source")
            only = operations[0] if len(operations) == 1 else None
            wires.add(("operations", source, target), ("node", target), shared="target", operation=only)
    if graph.output == "concatenation":
        for node in graph.outputs:
            wires.add(("node", node), output, shared="target", chosen=False)
    if graph.output == "residual":
        wires.add(("node", 0), output, shared="both", chosen=False)

    lines = tuple(wires.lines.values())
    boxes = {
        key: _box(items[key], rank) if key in items else Box(rank, height=0.02, weight=3.0)
        for key, rank in ranks.items()
    }
    places = place(boxes, [(line.start, line.end) for line in lines], between=_BETWEEN, gap=_GAP)
    return CellLayout(name, items, lines, places)


class _Wires:
    """Lines between boxes of any ranks, through an empty box in every rank that they pass."""

    def __init__(self, ranks: dict[Key, int]) -> None:
        self.ranks = ranks
        self.lines: dict[tuple[Key, Key], Line] = {}

    def add(
        self,
        start: Key,
        end: Key,
        *,
        shared: Literal["source", "target", "both"],
        chosen: bool = True,
        operation: str | None = None,
    ) -> None:
        """A line that shares its way with those of the same source, of the same target, or of both."""
        way = {"source": ("from", start), "target": ("into", end, chosen), "both": ("between", start, end)}[shared]
        keys = [start, *((*way, rank) for rank in range(self.ranks[start] + 1, self.ranks[end])), end]
        for one, other in itertools.pairwise(keys):
            if other not in self.ranks:
                self.ranks[other] = self.ranks[one] + 1
            before = self.lines.get((one, other))
            alone = before is None or before.operation == operation
            self.lines[one, other] = Line(one, other, chosen, operation if alone else None)


def _depths(graph: CellGraph, edges: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Length of the longest way from an input to every node that is drawn."""
    drawn = {*range(graph.inputs), *graph.outputs, *(node for edge in edges for node in edge)}
    depth: dict[int, int] = {}
    for node in sorted(drawn):
        entering = [depth[source] + 1 for source, target in edges if target == node]
        depth[node] = max(entering, default=0 if node < graph.inputs else 1)
    return depth


def _columns_of_operations(
    edges: dict[tuple[int, int], list[str]], ranks: dict[Key, int]
) -> dict[tuple[int, int], int]:
    """For every edge the rank of its operations: of those between its nodes the emptiest, and the last of these."""

    def between(edge: tuple[int, int]) -> range:
        return range(ranks["node", edge[0]] + 1, ranks["node", edge[1]], 2)

    rows: dict[int, int] = {}
    chosen = {}
    for edge in sorted(edges, key=lambda one: len(between(one))):
        chosen[edge] = min(reversed(between(edge)), key=lambda rank: rows.get(rank, 0))
        rows[chosen[edge]] = rows.get(chosen[edge], 0) + len(edges[edge])
    return chosen


def _node_operation(graph: CellGraph, node: int) -> str | None:
    return None if node < graph.inputs else graph.node_operations[node - graph.inputs]


def _node_item(graph: CellGraph, key: Key, output: Key, text_width: Callable[[str], float]) -> Item:
    if key == output:
        return _item("output", _OUTPUTS.get(graph.output, (graph.output,)), (), text_width)
    node = key[1]
    assert isinstance(node, int)
    if node < graph.inputs:
        back = "".join(_SUBSCRIPTS[int(digit)] for digit in str(graph.inputs - node))
        return _item("input", (f"c\N{LATIN SUBSCRIPT SMALL LETTER K}\N{SUBSCRIPT MINUS}{back}",), (), text_width)
    operation = _node_operation(graph, node) if graph.node_operations else None
    if operation is not None:
        return _item("operations", (f"{node}  {operation}",), (operation,), text_width)
    return _item("node", (str(node),), (), text_width)


def _item(
    kind: Literal["input", "node", "operations", "output"],
    rows: tuple[str, ...],
    operations: tuple[str, ...],
    text_width: Callable[[str], float],
) -> Item:
    width, height = max(map(text_width, rows)) + 2 * _PAD, ROW * len(rows)
    if kind != "operations":
        width, height = max(width, NODE), max(height, NODE)
    return Item(kind, rows, operations, width, height)


def _box(item: Item, rank: int) -> Box:
    # Many lines leave an input: those of two that stand close would cross at once.
    return Box(rank, item.width, item.height, clear=_AROUND_INPUT if item.kind == "input" else 0.0)
