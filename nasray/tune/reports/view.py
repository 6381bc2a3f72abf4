"""How far a phase is, as a person sees it: a live view on a terminal, one line elsewhere. Pure functions of a state."""

from __future__ import annotations

import textwrap

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nasray.tune.reports.state import State

WIDE = 72
"""Columns from which on the view has everything beside each other."""
STARTING = "starting the first process ..."
"""It imports torch, which takes seconds."""
_MARKS = "●▲■◆"
_ASCII_MARKS = "ox#+"
_COLOURS = ("cyan", "magenta", "yellow", "green")
_NARROWEST = 24
"""Columns from which on there is room for the front."""
_MOST_ARMS = 8
_MOST_RUNNING = 4
_MOST_FAILURES = 3


def line(state: State, now: float) -> str:
    """A phase in one line of plain text."""
    counts = f"{state.kind}: {state.of_all('done')} of {state.of_all('total')} done, {_counts(state)}"
    parts = [counts, _epochs(state), f"front of {len(state.front)}", _best(state), _times(state, now)]
    if state.is_starting:
        parts.append(STARTING)
    return " | ".join(part for part in parts if part)


def view(state: State, now: float, *, width: int, height: int, plain_letters: bool = False) -> RenderableType:
    """A phase as a live view shows it.

    Args:
        state: of the phase.
        now: by time.time.
        width: columns of the terminal.
        height: its lines, which the view does not exceed.
        plain_letters: whether the terminal shows nothing beyond ASCII.
    """
    wide = width >= WIDE
    marks = _ASCII_MARKS if plain_letters else _MARKS
    head: list[RenderableType] = [*_head(state, now, wide), _bar(state, width), *_totals(state, wide)]
    arms = _arms(state, wide, marks)
    failures = _failures(state, width)
    if state.is_starting:
        head.append(Text(STARTING, style="dim", no_wrap=True))
    # What is left of the height is the front's, and of that what is running gets the last lines.
    left = height - len(head) - _rows(state) - len(failures) - 1
    running = _running(state, width)[: max(0, min(_MOST_RUNNING + 1, left - 6))]
    plot = _plot(state, width, max(0, min(8, left - len(running) - 2)), marks, plain_letters)
    spare = left - len(running) - len(plot)
    space = [Text()] if spare >= 3 else []
    return Group(*head, *space, arms, *space, *plot, *(space if plot else []), *running, *failures)


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``3:05:00``, ``2 days 4 h``."""
    whole = round(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    if hours >= 48:
        return f"{hours // 24} days {hours % 24} h"
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _head(state: State, now: float, wide: bool) -> list[RenderableType]:
    title = Text(f"{state.run}: {state.kind}", style="bold", no_wrap=True, overflow="ellipsis")
    times = Text(_times(state, now), no_wrap=True, overflow="ellipsis")
    return [_sides(title, times)] if wide else [title, times]


def _totals(state: State, wide: bool) -> list[RenderableType]:
    done = f"{state.of_all('done')} of {state.of_all('total')} done"
    best = "  ".join(part for part in (_epochs(state), _best(state)) if part)
    first = Text(f"{done}, {_counts(state)}", no_wrap=True, overflow="ellipsis")
    if wide:
        return [_sides(first, Text(best, no_wrap=True))]
    return [Text(done), Text(_counts(state), no_wrap=True, overflow="ellipsis"), Text(best, no_wrap=True)]


def _sides(left: Text, right: Text) -> Table:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(left, right)
    return grid


def _bar(state: State, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=state.share, width=width - 6, complete_style="cyan")
    grid.add_row(bar, f"{state.share:4.0%}")
    return grid


def _counts(state: State) -> str:
    some = [(name, state.of_all(name)) for name in ("stopped", "failed")]
    more = "".join(f", {count} {name}" for name, count in some if count)
    return f"{state.of_all('running')} running, {state.waiting} left{more}"


def _epochs(state: State) -> str:
    whole = state.epochs_of_all
    return "" if whole is None else f"{state.of_all('epochs')} of {whole} epochs"


def _best(state: State) -> str:
    found = max((arm.best for arm in state.arms if arm.best), key=lambda point: point[1], default=None)
    return "" if found is None else f"best accuracy {found[1]:.4f}"


def _times(state: State, now: float) -> str:
    left = state.seconds_left(now)
    return f"{clock(max(0.0, now - state.began))} elapsed" + ("" if left is None else f", about {clock(left)} left")


def _rows(state: State) -> int:
    """Lines of the table of arms."""
    return min(len(state.arms), _MOST_ARMS) + 1 + (len(state.arms) > _MOST_ARMS)


def _arms(state: State, wide: bool, marks: str) -> Table:
    table = Table(box=None, padding=(0, 2 if wide else 1, 0, 0), header_style="dim", show_edge=False)
    table.add_column("arm", no_wrap=True, overflow="ellipsis", ratio=None)
    table.add_column("done", justify="right", no_wrap=True)
    trained = state.epochs_of_all is not None
    if wide:
        for name in ("running", "failed", *(["epochs"] if trained else [])):
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("best" if not wide else "best accuracy", justify="right", no_wrap=True)
    table.add_column("M macs" if not wide else "M multiply-adds", justify="right", no_wrap=True)
    for number, arm in enumerate(state.arms[:_MOST_ARMS]):
        named = Text.assemble((marks[number % len(marks)], _COLOURS[number % len(_COLOURS)]), f" {arm.name}")
        more = [str(arm.running), str(arm.failed), *([f"{arm.epochs}/{arm.epochs_of_all}"] if trained else [])]
        best = [f"{arm.best[1]:.4f}", f"{arm.best[0]:.4g}"] if arm.best else ["", ""]
        table.add_row(named, f"{arm.done}/{arm.total}", *(more if wide else []), *best)
    if len(state.arms) > _MOST_ARMS:
        table.add_row(Text(f"and {len(state.arms) - _MOST_ARMS} more", style="dim"))
    return table


def _plot(state: State, width: int, height: int, marks: str, plain_letters: bool) -> list[RenderableType]:
    """The front of each arm, accuracy against multiply-adds, with the arm's mark."""
    points = [point for arm in state.arms for point in arm.points]
    if not points or height < 3 or width < _NARROWEST:
        return []
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    first, last = min(p[0] for p in points), max(p[0] for p in points)
    columns = width - 9
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for number, arm in reversed(list(enumerate(state.arms))):  # the first arm is drawn last, and so is on top
        for macs, accuracy in arm.points:
            place = (_place(accuracy, low, high, height), _place(macs, first, last, columns))
            cells[place] = (marks[number % len(marks)], _COLOURS[number % len(_COLOURS)])
    up, corner, along = ("|", "+", "-") if plain_letters else ("│", "└", "─")
    lines: list[RenderableType] = []
    for row in reversed(range(height)):
        label = f"{high:.4f}" if row == height - 1 else f"{low:.4f}" if row == 0 and high > low else ""
        text = Text(f"{label:>6} {up}", style="dim", no_wrap=True)
        for column in range(columns):
            mark, colour = cells.get((row, column), (" ", ""))
            text.append(mark, f"not dim {colour}" if colour else None)
        lines.append(text)
    unit = "M multiply-adds" if width >= WIDE else "M"
    ends = f"{first:.4g}", f"{last:.4g} {unit}" if last > first else unit
    lines.append(Text(f"{'':6} {corner}{along * columns}", style="dim", no_wrap=True))
    lines.append(Text(f"{'':8}{ends[0]}{ends[1]:>{columns - len(ends[0])}}", style="dim", no_wrap=True))
    return lines


def _place(value: float, low: float, high: float, cells: int) -> int:
    return 0 if high <= low else round((value - low) / (high - low) * (cells - 1))


def _running(state: State, width: int) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for one in state.running[:_MOST_RUNNING]:
        epochs = f"epoch {one.epoch}" + ("" if one.epochs is None else f" of {one.epochs}")
        told = ", ".join(part for part in (epochs, one.figures) if part)
        name = one.label
        if width < WIDE:
            told = f"{one.epoch}" + ("" if one.epochs is None else f"/{one.epochs}")
            name = name.partition(", ")[2] or name  # what it differs in from the others
        lines.append(_sides(Text(name, style="dim"), Text(told)))
    if len(state.running) > _MOST_RUNNING:
        lines.append(Text(f"and {len(state.running) - _MOST_RUNNING} more running", style="dim"))
    return lines


def _failures(state: State, width: int) -> list[RenderableType]:
    shown = state.failures[-_MOST_FAILURES:]
    lines: list[RenderableType] = []
    for name, reason in shown:
        wrapped = textwrap.wrap(f"failed: {name}: {reason}", width, max_lines=2, subsequent_indent="  ")
        lines += [Text(part, style="red", no_wrap=True) for part in wrapped]
    if len(state.failures) > len(shown):
        lines.append(Text(f"and {len(state.failures) - len(shown)} more failed", style="red"))
    return lines
