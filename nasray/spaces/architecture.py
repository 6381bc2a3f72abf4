"""Architectures: what was chosen, as immutable values."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from nasray.errors import InvalidInput, shown
from nasray.spaces.graph import CellGraph, Choice, Edge
from nasray.spaces.liveness import live
from nasray.spaces.space import CellSpace


@dataclass(frozen=True)
class Architecture:
    """The chosen (source, target, operation) of every cell of a space, in canonical order.

    Made by :meth:`of`, which validates; equal architectures have equal ids.
    """

    space: str
    """Name of the space."""
    cells: Mapping[str, tuple[Choice, ...]]
    """Cell name to its choices."""

    @classmethod
    def of(cls, space: CellSpace, cells: Mapping[str, Iterable[Choice]]) -> Architecture:
        """An architecture of a space.

        Raises:
            InvalidInput: a cell is missing or unknown, an edge or operation is not of the space, something is
                chosen twice, a node receives nothing that must, an edge has several operations or none that takes
                exactly one, or a connection of a block lies on no path from its input to its output.
        """
        names = space.layout(len(cells)) if space.cell_per_position else tuple(space.cells)
        if not cells or set(cells) != set(names):
            accepted = names if len(names) <= 20 else (*names[:3], "...", names[-1])
            raise InvalidInput(
                f"architecture of {space.name!r} with cells {shown(list(cells))}: "
                f"expected one of {', '.join(accepted) or 'at least one cell'}"
            )
        return cls(space.name, MappingProxyType({n: _canonical(space, n, cells[n]) for n in names}))

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """Canonical JSON: no spaces, cells in the space's order."""
        cells = {name: [list(choice) for choice in choices] for name, choices in self.cells.items()}
        return json.dumps({"space": self.space, "cells": cells}, separators=(",", ":"))

    @classmethod
    def from_json(cls, space: CellSpace, text: str) -> Architecture:
        """An architecture from its JSON, canonical or not.

        Raises:
            InvalidInput: not JSON of this form, or not an architecture of the space.
        """
        value = json_object(text, FORM)
        if value.get("space") != space.name:
            given = f"of space {shown(value['space'])}" if "space" in value else "that names no space"
            raise InvalidInput(f"architecture {given}: expected space {space.name!r}")
        cells = value.get("cells")
        if not isinstance(cells, dict) or not all(isinstance(c, list) for c in cells.values()):
            raise InvalidInput(f"architecture without a map of cells to lists: expected {FORM}")
        return cls.of(space, {name: [as_choice(item) for item in items] for name, items in cells.items()})

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.space, dict(self.cells))


FORM = '{"space": NAME, "cells": {CELL: [[source, target, operation], ...]}}'
"""How the JSON of an architecture looks."""


def _rebuild(space: str, cells: dict[str, tuple[Choice, ...]]) -> Architecture:
    return Architecture(space, MappingProxyType(cells))


def json_object(text: str, form: str) -> dict[str, Any]:
    """A JSON object from the text of an architecture.

    Args:
        text: up to 1,000,000 characters.
        form: what is accepted, for the message.

    Raises:
        InvalidInput: anything else.
    """
    if len(text) > 1_000_000:
        raise InvalidInput(f"architecture of {len(text)} characters: expected up to 1,000,000")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise InvalidInput(f"architecture that is not JSON ({error}): expected {form}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"architecture that is a JSON {type(value).__name__}: expected {form}")
    return value


def as_choice(item: object) -> Choice:
    """A choice from what JSON gives: [source, target, operation].

    Raises:
        InvalidInput: anything else.
    """
    match item:
        case [int(source), int(target), str(operation)] if type(source) is int and type(target) is int:
            return source, target, operation
    raise InvalidInput(f"choice {shown(item)}: expected [source, target, operation]")


def _canonical(space: CellSpace, name: str, choices: Iterable[Choice]) -> tuple[Choice, ...]:
    graph = space.graph(name)
    where = f"in cell {name!r} of {space.name!r}"
    chosen = list(choices)
    for source, target, operation in chosen:
        if operation not in graph.operation_index or operation == graph.none:
            accepted = ", ".join(o for o in graph.operations if o != graph.none)
            raise InvalidInput(f"operation {shown(operation)} {where}: expected one of {accepted}")
        if (source, target) not in graph.edge_index:
            raise InvalidInput(f"edge {shown(source)} to {shown(target)} {where}: {_accepted_edges(graph, target)}")
    if len(set(chosen)) != len(chosen):
        twice = next(c for c in chosen if chosen.count(c) > 1)
        raise InvalidInput(f"{twice!r} chosen twice {where}: expected each operation of an edge once")
    if graph.one_per_edge:
        _check_edges(graph, Counter((source, target) for source, target, _ in chosen), where)
    missing = sorted(set(graph.required) - {target for _, target, _ in chosen})
    if missing:
        raise InvalidInput(f"nothing enters node {missing[0]} {where}: expected at least one operation")
    mask = np.zeros((len(graph.edges), len(graph.operations)), dtype=bool)
    for source, target, operation in chosen:
        mask[graph.edge_index[source, target], graph.operation_index[operation]] = True
    dead = np.argwhere(mask & ~live(graph, mask))
    if len(dead):
        raise InvalidInput(
            f"connection {graph.edges[dead[0][0]]} {where} is on no path from the input to the output: "
            "leave it out, or connect it"
        )
    return tuple(sorted(chosen, key=lambda c: (graph.edge_index[c[:2]], graph.operation_index[c[2]])))


def _check_edges(graph: CellGraph, operations: Mapping[Edge, int], where: str) -> None:
    least = 1 if graph.none is None else 0
    for edge in graph.edges:
        if not least <= operations.get(edge, 0) <= 1:
            nothing = "" if least else f", or none for {graph.none!r}"
            raise InvalidInput(
                f"{operations.get(edge, 0)} operations on edge {edge[0]} to {edge[1]} {where}: expected one{nothing}"
            )


def _accepted_edges(graph: CellGraph, target: int) -> str:
    sources = [str(s) for s, t in graph.edges if t == target]
    if sources:
        return f"expected edges into {target} from {', '.join(sources)}"
    return f"expected edges into the nodes {graph.targets.start} to {graph.targets.stop - 1}"
