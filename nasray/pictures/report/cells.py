"""The cells of a report's architectures: what each chose, and a drawing of those that matter most.

Ten thousand architectures share most of their cells and all of their choices. So every choice has a number, a cell is
a list of such numbers, and an architecture a list of cells: the page draws from these what a person clicks on, for a
drawing of each would make a page that nobody opens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from nasray.errors import InvalidInput
from nasray.pictures.cell_layout import CellLayout, Item, Key, lay_out
from nasray.pictures.cell_picture import text_width
from nasray.spaces import CellGraph, CellSpace, Choice, live

MOST_DRAWN = 150
"""Cells that are laid out: each takes a fiftieth of a second and some two kilobytes."""
_INK, _PALE = -2, -1

FindSpace = Callable[[str], CellSpace | None]
"""A space by its name in the tables; None where its code was not given."""


class Cells:
    """The distinct cells of a report's architectures, each with a number.

    Args:
        find: gives a space.
    """

    def __init__(self, find: FindSpace) -> None:
        self.find = find
        self.operations: dict[str, int] = {}
        self._choices: dict[Choice, int] = {}
        self._cells: dict[tuple[str, str, tuple[int, ...]], int] = {}
        self._of: dict[str, list[int]] = {}
        self._drawings: dict[int, Any] = {}

    def of(self, architecture: str) -> list[int]:
        """The numbers of an architecture's cells; none where it is not what nasray writes.

        Args:
            architecture: as a table has it.
        """
        if architecture not in self._of:
            try:
                values = json.loads(architecture)
                named = [(str(name), [self._choice(one) for one in own]) for name, own in values["cells"].items()]
                self._of[architecture] = [self._cell(str(values["space"]), name, own) for name, own in named]
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self._of[architecture] = []
        return self._of[architecture]

    def choice(self, choice: Choice) -> int:
        """The number of a choice."""
        self.operations.setdefault(choice[2], len(self.operations))
        return self._choices.setdefault(choice, len(self._choices))

    def draw(self, architectures: Iterable[str]) -> None:
        """Lay out the cells of architectures, the first ones before others, as many as a page bears."""
        names = list(self._cells)
        for number in dict.fromkeys(number for one in architectures for number in self.of(one)):
            if len(self._drawings) >= MOST_DRAWN:
                return
            space, cell, choices = names[number]
            graph, by_number = self._graph(space, cell), list(self._choices)
            chosen = [by_number[one] for one in choices]
            if graph is not None and number not in self._drawings and _fits(graph, chosen):
                for operation in graph.node_operations:
                    self.operations.setdefault(operation, len(self.operations))
                self._drawings[number] = drawing(lay_out(cell, graph, chosen, text_width), self.operations)

    def to_dict(self) -> dict[str, Any]:
        """For the page: operations, choices (source, target, number of the operation), cells and drawings."""
        cells = [self._told(*one) for one in self._cells]  # it gives the operations of nodes their numbers
        return {
            "operations": list(self.operations),
            "choices": [[source, target, self.operations[o]] for source, target, o in self._choices],
            "cells": cells,
            "drawings": self._drawings,
        }

    def _choice(self, values: Any) -> int:
        source, target, operation = values
        if type(source) is not int or type(target) is not int or not isinstance(operation, str):
            raise TypeError("no choice")
        return self.choice((source, target, operation))

    def _cell(self, space: str, name: str, choices: list[int]) -> int:
        return self._cells.setdefault((space, name, tuple(choices)), len(self._cells))

    def _graph(self, space: str, cell: str) -> CellGraph | None:
        found = self.find(space)
        try:
            return None if found is None else found.graph(cell)
        except InvalidInput:
            return None

    def _told(self, space: str, name: str, choices: tuple[int, ...]) -> dict[str, Any]:
        told: dict[str, Any] = {"name": name, "choices": list(choices)}
        graph = self._graph(space, name)
        if graph is not None and graph.node_operations:
            for operation in graph.node_operations:
                self.operations.setdefault(operation, len(self.operations))
            told["nodes"] = dict(zip(graph.targets, graph.node_operations, strict=False))
            told["dead"] = self._dead(graph, choices)
        return told

    def _dead(self, graph: CellGraph, choices: tuple[int, ...]) -> list[int]:
        """Choices of a block that lie on no path to its output, and cost nothing."""
        by_number = list(self._choices)
        if not _fits(graph, [by_number[one] for one in choices]):
            return []
        places = {graph.edge_index[by_number[one][:2]]: one for one in choices}
        chosen = np.zeros((len(graph.edges), len(graph.operations)), dtype=bool)
        chosen[list(places)] = True
        alive = live(graph, chosen)
        return [one for place, one in places.items() if not alive[place].any()]


def _fits(graph: CellGraph, choices: Iterable[Choice]) -> bool:
    """Whether a cell can have been chosen, whatever a table says."""
    return all((s, t) in graph.edge_index and operation in graph.operation_index for s, t, operation in choices)


def drawing(cell: CellLayout, operations: Mapping[str, int]) -> dict[str, Any]:
    """A laid out cell in hundredths of an inch: its size, its boxes, and its lines from box to box.

    A box is [x, y, width, height, kind, texts, numbers of their operations]; a line is [from x, where it may bend, from
    y, until where, to x, to y, ink], ink being the number of an operation, -2 for dark and -1 for pale.
    """

    def half(key: Key) -> float:
        return cell.items[key].width / 2 if key in cell.items else 0.0

    lines = []
    for line in sorted(cell.lines, key=lambda one: one.chosen):
        start, end = cell.places[line.start], cell.places[line.end]
        ink = _PALE if not line.chosen else operations[line.operation] if line.operation else _INK
        way = start.x + half(line.start), start.right, start.y, end.left, end.x - half(line.end), end.y
        lines.append([*(round(100 * value) for value in way), ink, int(line.end in cell.items)])
    return {
        "size": [round(100 * cell.width), round(100 * cell.height)],
        "boxes": [_box(item, cell.places[key].x, cell.places[key].y, operations) for key, item in cell.items.items()],
        "lines": lines,
    }


def _box(item: Item, x: float, y: float, operations: Mapping[str, int]) -> list[Any]:
    place = [round(100 * value) for value in (x - item.width / 2, y - item.height / 2, item.width, item.height)]
    return [*place, item.kind, list(item.rows), [operations.get(name, _INK) for name in item.operations]]
