"""The field's architecture strings, of spaces in which every edge takes one operation.

X. Dong, Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020,
arXiv:2001.00326: node by node, and for every node its edges as ``OPERATION~SOURCE``, ``none`` included, as in
``|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|``.
"""

from __future__ import annotations

import re

from nasray.errors import InvalidInput, shown
from nasray.spaces.architecture import Architecture
from nasray.spaces.graph import CellGraph, Choice
from nasray.spaces.space import CellSpace


def has_strings(space: CellSpace) -> bool:
    """Whether architectures of a space can be written as strings: it has one kind of cell, whose edges take one
    operation each."""
    return len(space.cells) == 1 and not space.cell_per_position and next(iter(space.cells.values())).one_per_edge


def from_string(space: CellSpace, text: str) -> Architecture:
    """An architecture from its string; a node may list its edges in any order.

    Raises:
        InvalidInput: the space has no strings, or this is not one of them.
    """
    kind, graph = _only_cell(space)
    nodes = text.strip().split("+")
    if len(nodes) != graph.nodes:
        raise InvalidInput(f"architecture string {shown(text)} of {len(nodes)} nodes: expected {string_form(space)}")
    choices: list[Choice] = []
    for target, node in zip(graph.targets, nodes, strict=True):
        entries = re.findall(r"([^|~]+)~([0-9]{1,9})\|", node)
        written = "|" + "".join(f"{operation}~{source}|" for operation, source in entries)
        if node != written or sorted(int(source) for _, source in entries) != _sources(graph, target):
            raise InvalidInput(f"node {shown(node)} of an architecture string: expected {_form(graph, target)}")
        choices += [(int(source), target, operation) for operation, source in entries]
    unknown = [operation for *_, operation in choices if operation not in graph.operation_index]
    if unknown:
        raise InvalidInput(
            f"operation {shown(unknown[0])} in an architecture string: expected one of {', '.join(graph.operations)}"
        )
    return Architecture.of(space, {kind: [choice for choice in choices if choice[2] != graph.none]})


def to_string(space: CellSpace, architecture: Architecture) -> str:
    """The string of an architecture of a space, sources in ascending order as published.

    Raises:
        InvalidInput: the space has no strings.
    """
    kind, graph = _only_cell(space)
    chosen = {(source, target): operation for source, target, operation in architecture.cells[kind]}
    return "+".join(
        "|" + "".join(f"{chosen.get((source, target), graph.none)}~{source}|" for source in _sources(graph, target))
        for target in graph.targets
    )


def string_form(space: CellSpace) -> str:
    """How the strings of a space look.

    Raises:
        InvalidInput: the space has no strings.
    """
    _, graph = _only_cell(space)
    return "+".join(_form(graph, target) for target in graph.targets)


def string_pattern(space: CellSpace) -> re.Pattern[str]:
    """What matches, as a whole, the strings that :func:`to_string` writes and no others.

    Raises:
        InvalidInput: the space has no strings.
    """
    _, graph = _only_cell(space)
    operation = "|".join(map(re.escape, graph.operations))
    nodes = ("".join(rf"(?:{operation})~{source}\|" for source in _sources(graph, t)) for t in graph.targets)
    return re.compile(r"\+".join(rf"\|{node}" for node in nodes))


def _only_cell(space: CellSpace) -> tuple[str, CellGraph]:
    if not has_strings(space):
        raise InvalidInput(
            f"architecture string for {space.name!r}: expected JSON, for its edges take any number of operations "
            "or it has several cells to choose"
        )
    ((kind, graph),) = space.cells.items()
    return kind, graph


def _form(graph: CellGraph, target: int) -> str:
    return "|" + "".join(f"OPERATION~{source}|" for source in _sources(graph, target))


def _sources(graph: CellGraph, target: int) -> list[int]:
    return sorted(graph.edges[edge][0] for edge in graph.incoming[target])
