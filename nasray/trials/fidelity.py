"""Which trainings share a front: those with the very same settings, but for what a sweep says that it varies."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Fidelity:
    """Settings of the trainings that share a front, as rows have them in their column ``settings``."""

    settings: tuple[str, ...] = ()
    """Each as JSON."""
    drawn: tuple[str, ...] = ()
    """Names of settings that may have any value, for a searcher chooses it."""

    def __contains__(self, settings: str) -> bool:
        if settings in self.settings:
            return True
        own = _without(settings, self.drawn)
        return bool(self.drawn) and any(own == _without(one, self.drawn) for one in self.settings)

    def holds(self, column: pd.Series[str]) -> pd.Series[bool]:
        """Of which rows it is, by their column ``settings``."""
        return column.isin([text for text in column.unique() if text in self])


@lru_cache(maxsize=10_000)
def _without(settings: str, names: Collection[str]) -> Any:
    """Settings without some of them; the text itself where it is no JSON object."""
    try:
        values = json.loads(settings)
    except ValueError:
        return settings
    if not isinstance(values, dict):
        return settings
    return json.dumps({name: value for name, value in values.items() if name not in names}, sort_keys=True)
