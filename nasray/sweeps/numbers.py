"""Checks of numbers that a sweep's fields share."""

from __future__ import annotations

import math
from typing import Any

from nasray.errors import InvalidInput, shown


def check_number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    whole: bool = False,
    words: str = "",
) -> None:
    """Check a field that holds a finite number.

    Args:
        name: of the field, for the message.
        value: what it holds.
        low: smallest value.
        above: what the value must exceed, in place of ``low``.
        whole: whether only whole numbers are accepted.
        words: what else is accepted, for the message.

    Raises:
        InvalidInput: another type, infinite, or too small.
    """
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if is_number and abs(value) < math.inf and (value >= low if low is not None else above is None or value > above):
        return
    what = "whole numbers" if whole else "numbers"
    bound = f"from {low}" if low is not None else f"above {above}"
    raise InvalidInput(f"{name} {shown(value)}: accepted are {words}{what} {bound}")


def check_seeds(name: str, seeds: tuple[int, ...]) -> None:
    """Check a field that holds random seeds.

    Raises:
        InvalidInput: there is none, one is no whole number from 0, or one is given twice.
    """
    for seed in seeds:
        check_number(name, seed, low=0, whole=True)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InvalidInput(f"{name} {seeds}: accepted are one or more different numbers")
