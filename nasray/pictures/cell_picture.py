"""The cells of an architecture as a picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nasray.pictures.cell_layout import CellLayout, Item, Key, Line, lay_out
from nasray.pictures.files import rendered, write_picture
from nasray.spaces import Architecture, CellSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart; a space of more operations uses them again.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442", "#999999")
_INK, _PALE = "#333333", "#BDBDBD"
_POINTS, _TITLE_POINTS = 8.0, 9.5
_MARGIN, _TITLE = 0.25, 0.3
"""Around cells, and the height of a title: inches."""
_ASPECT = 1.5
_CASING = 0.6
"""Up to here, in parts of its way, a line is drawn with white around it: where it crosses others, but not where it
meets those with which it ends."""


def draw_cells(space: CellSpace, architecture: Architecture, path: str | Path, *, title: str | None = None) -> None:
    """Write the picture of :func:`cell_picture` to a .png, .svg or .pdf file.

    InvalidInput: another ending, a path that cannot be written.
    """
    write_picture(path, lambda form: cell_picture(space, architecture, title=title, form=form))


def cell_picture(space: CellSpace, architecture: Architecture, *, title: str | None = None, form: str = "png") -> bytes:
    """Draw all cells of an architecture: inputs left, then the nodes by their numbers, the output right.

    Dark lines are what the architecture chose, pale ones what every architecture of the space has. Positions that have
    a choice of their own stand row by row. form: png, svg or pdf.
    """
    return rendered(cell_figure(space, architecture, title=title), form)


def cell_figure(space: CellSpace, architecture: Architecture, *, title: str | None = None) -> Figure:
    """The same as a matplotlib figure."""
    # pyplot is left alone: it keeps global state, and may look for a display.
    from matplotlib.figure import Figure

    cells = [lay_out(name, space.graph(name), choices, text_width) for name, choices in architecture.cells.items()]
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(_operations(space))}
    columns = min(range(1, len(cells) + 1), key=lambda count: _mismatch(cells, count))
    rows, widths, heights = _grid(cells, columns)
    head = _MARGIN + (_TITLE if title else 0.0)
    size = (
        max(sum(widths) + _MARGIN * (columns + 1), 2 * _MARGIN + text_width(title or "", 11.0)),
        sum(heights) + head,
    )
    figure = Figure(figsize=size, dpi=150)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    if title:
        axes.text(_MARGIN, head - _TITLE, title, fontsize=11, color=_INK, va="center", parse_math=False)
    top = head
    for row, high in zip(rows, heights, strict=True):
        left = _MARGIN
        for cell, wide in zip(row, widths, strict=False):
            _draw_cell(axes, cell, left, top, colours)
            left += wide + _MARGIN
        top += high
    return figure


def _operations(space: CellSpace) -> list[str]:
    graphs = space.cells.values()
    names = [o for graph in graphs for o in (graph.node_operations or graph.operations) if o != graph.none]
    return list(dict.fromkeys(names))


def _grid(cells: Sequence[CellLayout], columns: int) -> tuple[list[Sequence[CellLayout]], list[float], list[float]]:
    """The cells row by row, widths of the columns and heights of the rows with their titles and margins."""
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    widths = [max(_width(row[i]) for row in rows if i < len(row)) for i in range(columns)]
    return rows, widths, [max(cell.height for cell in row) + _TITLE + _MARGIN for row in rows]


def _mismatch(cells: Sequence[CellLayout], columns: int) -> float:
    _, widths, heights = _grid(cells, columns)
    return abs(math.log(sum(widths) / sum(heights) / _ASPECT))


def _width(cell: CellLayout) -> float:
    return max(cell.width, text_width(cell.name, _TITLE_POINTS, "bold"))


def _draw_cell(axes: Axes, cell: CellLayout, left: float, top: float, colours: Mapping[str, str]) -> None:
    axes.text(
        left, top + _TITLE / 2, cell.name, fontsize=_TITLE_POINTS, weight="bold", color=_INK, va="center",
        parse_math=False,
    )  # fmt: skip
    top += _TITLE
    inks = [_ink(line, colours) for line in cell.lines]
    by_start: dict[tuple[bool, Key], list[int]] = {}
    for i, line in enumerate(cell.lines):
        by_start.setdefault((line.chosen, line.start), []).append(i)
    # Pale ones lie below. A line is cased against all others but those that it starts with.
    for several in (by_start[key] for key in sorted(by_start, key=lambda key: key[0])):
        for casing in (True, False):
            for i in several:
                start, end = cell.places[cell.lines[i].start], cell.places[cell.lines[i].end]
                _draw_bend(axes, (left + start.right, top + start.y), (left + end.left, top + end.y), inks[i], casing)
    for key, at in cell.places.items():
        entering = {ink for line, ink in zip(cell.lines, inks, strict=True) if line.end == key}
        leaving = {ink for line, ink in zip(cell.lines, inks, strict=True) if line.start == key}
        half = cell.items[key].width / 2 if key in cell.items else 0.0
        _draw_straight(axes, left + at.left, left + at.x - half, top + at.y, entering, arrow=key in cell.items)
        _draw_straight(axes, left + at.x + half, left + at.right, top + at.y, leaving, arrow=False)
        if key in cell.items:
            _draw_item(axes, cell.items[key], left + at.x, top + at.y, colours)


def _ink(line: Line, colours: Mapping[str, str]) -> str:
    if not line.chosen:
        return _PALE
    return _darker(colours[line.operation]) if line.operation else _INK


def _draw_bend(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, casing: bool) -> None:
    """The part of a line that lies between two columns, where no boxes are."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    middle = (start[0] + end[0]) / 2
    bend = [start, (middle, start[1]), (middle, end[1]), end]
    codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
    path = Curve(_beginning(bend, _CASING) if casing else bend, codes)
    axes.add_patch(
        PathPatch(
            path, fill=False, edgecolor="white" if casing else colour, linewidth=3.0 if casing else 1.0,
            capstyle="butt", zorder=1,
        )
    )  # fmt: skip


def _draw_straight(axes: Axes, start: float, end: float, y: float, inks: set[str], *, arrow: bool) -> None:
    """The part inside a column, which all lines of a box share."""
    if not inks:
        return
    chosen = inks - {_PALE}
    colour = (chosen.pop() if len(chosen) == 1 else _INK) if chosen else _PALE
    axes.plot([start, end], [y, y], color=colour, linewidth=1.0, solid_capstyle="butt", zorder=1)
    if arrow:
        from matplotlib.patches import Polygon

        corners = [(end, y), (end - 0.075, y - 0.034), (end - 0.075, y + 0.034)]
        axes.add_patch(Polygon(corners, facecolor=_INK if colour != _PALE else _PALE, linewidth=0, zorder=3))


def _beginning(bend: Sequence[tuple[float, float]], share: float) -> list[tuple[float, float]]:
    """The first part of a Bézier curve, by de Casteljau's construction."""
    points, first = list(bend), []
    while points:
        first.append(points[0])
        points = [(a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])) for a, b in itertools.pairwise(points)]
    return first


def _draw_item(axes: Axes, item: Item, x: float, y: float, colours: Mapping[str, str]) -> None:
    from matplotlib.patches import FancyBboxPatch

    # Every operation of an edge has a box of its own; they touch.
    boxes = [(row,) for row in item.rows] if item.kind == "operations" else [item.rows]
    high = item.height / len(boxes)
    for i, rows in enumerate(boxes):
        middle = y - item.height / 2 + (i + 0.5) * high
        colour = colours[item.operations[i]] if item.operations else None
        face = _lighter(colour) if colour else ("white" if item.kind == "node" else "#DDDDDD")
        axes.add_patch(
            FancyBboxPatch(
                (x - item.width / 2 + 0.01, middle - high / 2 + 0.01), item.width - 0.02, high - 0.02, facecolor=face,
                edgecolor=_darker(colour) if colour else _INK, linewidth=0.8, zorder=4,
                boxstyle=f"round,pad=0,rounding_size={0.12 if item.kind == 'node' else 0.05}",
            )
        )  # fmt: skip
        for j, text in enumerate(rows):
            axes.text(
                x, middle + (j - (len(rows) - 1) / 2) * 0.16 + 0.038, text, fontsize=_POINTS, color="#111111",
                ha="center", va="baseline", zorder=5, parse_math=False,
            )  # fmt: skip


@lru_cache(maxsize=4096)
def text_width(text: str, points: float = _POINTS, weight: str = "normal") -> float:
    """Width of a text in a picture, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text:
        return 0.0
    # A dollar sign is one, and begins no formula.
    path = TextPath((0, 0), text.replace("$", r"\$"), size=points, prop=FontProperties(weight=weight))
    return float(path.get_extents().width) / 72


def _lighter(colour: str) -> str:
    return _mixed(colour, 255, 0.72)


def _darker(colour: str) -> str:
    return _mixed(colour, 0, 0.25)


def _mixed(colour: str, grey: int, share: float) -> str:
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * grey + (1 - share) * part):02x}" for part in parts)
