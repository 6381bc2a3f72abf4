"""Where the boxes of a layered graph stand: few crossings, straight long lines, nothing on top of another.

The three steps of K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System
Structures", IEEE Trans. SMC 11(2), 1981, without the first: the ranks are given. Boxes of a rank stand in a column;
lines run between neighbouring ranks only, so a long line is given with an empty box in every rank that it passes.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key", bound=Hashable)

_STARTS, _SWEEPS = 8, 6
_ROUNDS = 30
_EACH_LINE = 0.012
"""How much a gap grows with each line in it, inches."""


@dataclass(frozen=True)
class Box:
    """What is to be placed; lengths in inches."""

    rank: int
    width: float = 0.0
    height: float = 0.0
    clear: float = 0.0
    """Further distance to its neighbours in the column."""
    weight: float = 1.0
    """How strongly the lines at it are kept straight, relative to others."""


@dataclass(frozen=True)
class Place:
    """Where a box stands, in inches; y grows downwards."""

    x: float
    """Coordinate of its centre."""
    y: float
    left: float
    """Where the column of its rank begins: outside of the columns lines may curve."""
    right: float
    """Where the column ends."""


def place(
    boxes: Mapping[Key, Box], lines: Sequence[tuple[Key, Key]], *, between: float, gap: float
) -> dict[Key, Place]:
    """A place for every box; the first column begins at x = 0, the topmost box at y = 0. Empty ranks take no room.

    Args:
        boxes: by any names; those of the first rank stand in their order from above, of others it breaks ties.
        lines: (from, to), to stands one rank after from.
        between: least vertical distance of two boxes of a rank, inches.
        gap: distance of two columns, inches; it grows with the number of lines between them.
    """
    if not boxes:
        return {}
    before: dict[Key, list[Key]] = {key: [] for key in boxes}
    after: dict[Key, list[Key]] = {key: [] for key in boxes}
    for one, other in lines:
        before[other].append(one)
        after[one].append(other)
    ranks = sorted({box.rank for box in boxes.values()})
    columns = [[key for key, box in boxes.items() if box.rank == rank] for rank in ranks]
    columns = _few_crossings(columns, before, after)
    y = _heights(columns, boxes, before, after, between)
    places: dict[Key, Place] = {}
    left = 0.0
    for column in columns:
        right = left + max((boxes[key].width for key in column), default=0.0)
        places |= {key: Place((left + right) / 2, y[key], left, right) for key in column}
        left = right + gap + _EACH_LINE * sum(len(after[key]) for key in column)
    return {key: places[key] for key in boxes}


def _few_crossings(
    columns: list[list[Key]], before: Mapping[Key, list[Key]], after: Mapping[Key, list[Key]]
) -> list[list[Key]]:
    """The columns in an order with few crossings: the best of the sweeps from the given order and from random ones."""
    generator = np.random.default_rng(0)
    best, fewest = columns, _crossings(columns, after)
    for start in range(_STARTS):
        if start:
            shuffled = ([column[i] for i in generator.permutation(len(column))] for column in columns[1:])
            tried = _swept([columns[0], *shuffled], before, after)
        else:
            tried = _swept(columns, before, after)
        found = _crossings(tried, after)
        if found < fewest:
            best, fewest = tried, found
        if not fewest:
            break
    return best


def _swept(
    columns: list[list[Key]], before: Mapping[Key, list[Key]], after: Mapping[Key, list[Key]]
) -> list[list[Key]]:
    """By barycentres forth and back, then by swapping neighbours; the first column stays as it is."""
    best, fewest = columns, _crossings(columns, after)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        neighbours = before if forth else after
        columns = [list(column) for column in columns]
        for rank in range(1, len(columns)) if forth else range(len(columns) - 2, 0, -1):
            at = {key: i for i, key in enumerate(columns[rank - 1 if forth else rank + 1])}
            own = {key: i for i, key in enumerate(columns[rank])}
            centre = {
                key: sum(at[n] for n in neighbours[key]) / len(neighbours[key]) if neighbours[key] else float(own[key])
                for key in own
            }
            columns[rank].sort(key=lambda key: centre[key])
        columns = _swapped(columns, before, after)
        found = _crossings(columns, after)
        if found < fewest:
            best, fewest = columns, found
    return best


def _swapped(
    columns: list[list[Key]], before: Mapping[Key, list[Key]], after: Mapping[Key, list[Key]]
) -> list[list[Key]]:
    columns = [list(column) for column in columns]
    better = True
    while better:
        better = False
        for rank, column in enumerate(columns[1:], start=1):
            sides = [(before, {key: i for i, key in enumerate(columns[rank - 1])})]
            if rank + 1 < len(columns):
                sides.append((after, {key: i for i, key in enumerate(columns[rank + 1])}))
            for i in range(len(column) - 1):
                one, other = column[i], column[i + 1]
                kept = swapped = 0
                for neighbours, at in sides:
                    for a in neighbours[one]:
                        for b in neighbours[other]:
                            kept += at[a] > at[b]
                            swapped += at[a] < at[b]
                if swapped < kept:
                    column[i], column[i + 1] = other, one
                    better = True
    return columns


def _crossings(columns: list[list[Key]], after: Mapping[Key, list[Key]]) -> int:
    total = 0
    for column, following in itertools.pairwise(columns):
        at = {key: i for i, key in enumerate(following)}
        seen: list[int] = []
        for key in column:
            ends = [at[n] for n in after[key]]
            total += sum(s > e for s in seen for e in ends)
            seen += ends
    return total


def _heights(
    columns: list[list[Key]],
    boxes: Mapping[Key, Box],
    before: Mapping[Key, list[Key]],
    after: Mapping[Key, list[Key]],
    between: float,
) -> dict[Key, float]:
    """y of every box: each drawn towards its neighbours, none nearer to the next than `between`."""
    y: dict[Key, float] = {}
    for column in columns:
        steps = _steps([boxes[key].height + boxes[key].clear for key in column], between)
        y |= {key: float(step - steps[-1] / 2) for key, step in zip(column, steps, strict=True)}
    for turn in range(_ROUNDS):
        for column in columns if turn % 2 == 0 else reversed(columns):
            steps = _steps([boxes[key].height + boxes[key].clear for key in column], between)
            wanted, weights = [], []
            for key in column:
                near = [(y[n], boxes[key].weight * boxes[n].weight) for n in (*before[key], *after[key])]
                weight = sum(w for _, w in near)
                wanted.append(sum(at * w for at, w in near) / weight if weight else y[key])
                weights.append(weight or 1.0)
            risen = _rising(np.array(wanted) - steps, np.array(weights)) + steps
            y |= {key: float(at) for key, at in zip(column, risen, strict=True)}
    top = min(at - boxes[key].height / 2 for key, at in y.items())
    return {key: at - top for key, at in y.items()}


def _steps(heights: Sequence[float], between: float) -> npt.NDArray[np.float64]:
    """Distances of the centres of boxes that stand as near as they may from the first one's centre."""
    half = np.array(heights) / 2
    return np.concatenate(([0.0], np.cumsum(half[:-1] + half[1:] + between)))


def _rising(wanted: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The values nearest to the wanted ones, by weighted squares, that never fall (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        pool = (float(value), float(weight), 1)
        while pools and pools[-1][0] > pool[0]:
            mean, heavy, count = pools.pop()
            total = heavy + pool[1]
            pool = ((mean * heavy + pool[0] * pool[1]) / total, total, count + pool[2])
        pools.append(pool)
    return np.concatenate([np.full(count, mean) for mean, _, count in pools])
