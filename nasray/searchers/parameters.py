"""What searchers choose: the parameters of an architecture, settings beside them, or settings alone.

Architectures are flat sets of categorical parameters (:mod:`nasray.spaces.encoding`); settings are drawn from a
:class:`nasray.Range` or :class:`nasray.Choice`. A setting that depends on another's value (``when``) has a value only
where that one has its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nasray.settings import Choice, Range
from nasray.spaces import encoding

STEP = 0.2
"""Standard deviation of a mutation of a range, as a share of it (our choice)."""


def draw(
    architecture: encoding.Parameters, settings: Mapping[str, Range | Choice], generator: np.random.Generator
) -> dict[str, Any]:
    """Random values of all parameters: an architecture's as :func:`nasray.spaces.encoding.sample` has them, a range's
    evenly over it or its logarithm, a choice's equally likely."""
    values: dict[str, Any] = dict(encoding.sample(architecture, generator)) if architecture else {}
    for name, one in settings.items():
        values[name] = _drawn(one, generator)
    return active(settings, values)


def neighbour(
    architecture: encoding.Parameters,
    settings: Mapping[str, Range | Choice],
    values: Mapping[str, Any],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """The same values but for one parameter, drawn among all: another value of a choice, a nearby one of a range."""
    names = [*architecture, *(name for name in settings if name in values)]
    name = names[generator.integers(len(names))]
    if name not in settings:
        others = [other for other in architecture[name] if other != values[name]]
        return {**values, name: others[generator.integers(len(others))]}
    changed = {**values, name: _moved(settings[name], values[name], generator)}
    for other, one in settings.items():  # what depends on it may come to have a value
        if other not in changed and is_active(one, changed):
            changed[other] = _drawn(one, generator)
    return active(settings, changed)


def active(settings: Mapping[str, Range | Choice], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without those of settings whose condition does not hold."""
    return {name: value for name, value in values.items() if name not in settings or is_active(settings[name], values)}


def is_active(one: Range | Choice, values: Mapping[str, Any]) -> bool:
    """Whether a setting has a value, given the others'."""
    return one.when is None or values.get(one.when[0]) == one.when[1]


def _drawn(one: Range | Choice, generator: np.random.Generator) -> Any:
    if isinstance(one, Choice):
        return one.values[generator.integers(len(one.values))]
    return at(one, float(generator.random()))


def _moved(one: Range | Choice, value: Any, generator: np.random.Generator) -> Any:
    if isinstance(one, Choice):
        others = [other for other in one.values if other != value]
        return others[generator.integers(len(others))]
    moved = abs(place(one, value) + STEP * float(generator.standard_normal())) % 2.0  # reflected at both ends
    found = at(one, 2.0 - moved if moved > 1.0 else moved)
    if one.integer and found == value and one.low < one.high:
        found = value + (1 if value == one.low or (value < one.high and generator.random() < 0.5) else -1)
    return found


def place(one: Range, value: float) -> float:
    """Where a value lies in a range, or its logarithm: from 0 to 1."""
    low, high = _borders(one)
    low, high, here = (math.log(x) for x in (low, high, value)) if one.log else (low, high, value)
    return (here - low) / (high - low) if high > low else 0.0


def at(one: Range, place: float) -> float:
    """The value at a place of a range, in few digits: a command shows them all. Whole values take equal parts of it, or
    of its logarithm what lies nearest to each."""
    low, high = _borders(one)
    value = low * (high / low) ** place if one.log else low + (high - low) * place
    return min(max(round(value) if one.integer else float(f"{value:.6g}"), one.low), one.high)


def _borders(one: Range) -> tuple[float, float]:
    """Of a range; that of whole numbers begins half a step before the first, so that no end is drawn less often."""
    return (one.low - 0.5, one.high + 0.5) if one.integer else (one.low, one.high)
