"""What is varied: the points of a grid, and draws from ranges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasray.searchers.parameters import at
from nasray.settings import Choice, Range

ParamSpace = Mapping[str, Range | Choice | tuple[Any, ...]]
"""Setting to what it takes: all of a tuple's values, or draws from a range or a choice."""


def drawn_of(param_space: ParamSpace) -> dict[str, Range | Choice]:
    """The settings that are drawn."""
    return {name: values for name, values in param_space.items() if isinstance(values, Range | Choice)}


def grid_points(param_space: ParamSpace, draws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All combinations of the draws with the values of the tuples, in the order of the param space."""
    grids = [[(name, value) for value in v] for name, v in param_space.items() if isinstance(v, tuple)]
    found = []
    for draw, point in itertools.product(draws, itertools.product(*grids)):
        chosen = {**draw, **dict(point)}
        found.append({name: chosen[name] for name in param_space if name in chosen})
    return found


def whole(param_space: ParamSpace) -> ParamSpace:
    """The same with all values of every choice."""
    return {name: values.values if isinstance(values, Choice) else values for name, values in param_space.items()}


def ends_of(one: Range) -> tuple[float, ...]:
    """Values of a range that are accepted if all of its values are: both ends, and where it is not of whole numbers one
    between them that is none."""
    if one.integer or one.low == one.high:
        return one.low, one.high
    return one.low, one.low + (one.high - one.low) / math.pi, one.high


def ends(ranges: Mapping[str, Range]) -> list[dict[str, float]]:
    """All ranges at their lower end, and all at their upper end; one empty point where there is no range."""
    return [
        {name: getattr(one, side) for name, one in ranges.items()} for side in (("low", "high") if ranges else ("low",))
    ]


def latin_hypercube(drawn: Mapping[str, Range | Choice], samples: int) -> list[dict[str, Any]]:
    """Draws that fall into each of ``samples`` equal parts of every range once, seeded by their names. Of a choice all
    values are drawn equally often, or all but equally."""
    generator = np.random.default_rng([samples, *"".join(drawn).encode()])
    columns: dict[str, list[Any]] = {}
    for name, one in drawn.items():
        places = (generator.permutation(samples) + generator.random(samples)) / samples
        if isinstance(one, Choice):
            columns[name] = [one.values[int(place * len(one.values))] for place in places.tolist()]
            continue
        columns[name] = [at(one, place) for place in places.tolist()]
    return [{name: column[i] for name, column in columns.items()} for i in range(samples)]
