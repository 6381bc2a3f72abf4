"""Networks that were trained several times with settings that a sweep varied, of which a front takes the best.

The best of eight trainings looks better than the only one of another architecture, without being so. A front therefore
says how many tries each of its rows is the best of, and can be made of equally many of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasray.errors import InvalidInput
from nasray.runs.schema import CANDIDATES, kinds_of
from nasray.settings import HYPERPARAMETERS, TRAINED

TRIES = "tries"
"""Column of a front: of how many trainings of its network, complete ones, a row is the best."""
VARIED = {f"{TRAINED}{name}": name for name in HYPERPARAMETERS}
"""Columns of what a sweep varied of the training, and the settings that they hold."""
_NETWORK = ("space", "architecture_id", "channels", "cells", "macs")
"""An architecture at a size: another width is another network, of another cost."""
_ORDER = ("seed", "created_at")


def has_tries(rows: pd.DataFrame) -> bool:
    """Whether a sweep varied the training of these rows, so that one network may have several."""
    return "architecture_id" in rows.columns and any(name in VARIED for name in rows.columns)


def best_tries(
    rows: pd.DataFrame, cost: npt.NDArray[np.float64], gain: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Positions of each network's best row, by the gain and then by the cost, and the number of its tries.

    Rows that are equal in both are all given. Rows that have tries already stand for as many.
    """
    network = _networks(rows)
    best, least = np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
    np.maximum.at(best, network, gain)
    kept = np.flatnonzero(gain == best[network])
    np.minimum.at(least, network[kept], cost[kept])
    kept = kept[cost[kept] == least[network[kept]]]
    told = rows[TRIES].fillna(1) if TRIES in rows.columns else np.ones(len(rows))
    tries = np.bincount(network, weights=np.asarray(told, dtype=np.float64)).astype(np.intp)
    return kept, tries[network[kept]]


def equally_many(rows: pd.DataFrame) -> npt.NDArray[np.integer[Any]]:
    """Positions of each network's first tries, as many as the network has that has the fewest.

    First are those of the lowest seed, of one seed those that were written first, and where that is equal too those
    whose other columns come first as text: the order of the rows has no say.

    Raises:
        InvalidInput: rows without `architecture_id`, of inherited accuracies, or which are the best of several already.
    """
    if CANDIDATES.kind in kinds_of(rows):
        raise InvalidInput("Equal tries of candidates: nothing was trained. Give rows of evaluations.")
    if "architecture_id" not in rows.columns:
        raise InvalidInput("Equal tries of rows without a column architecture_id: give rows of evaluations.")
    if TRIES in rows.columns and rows[TRIES].gt(1).any():
        raise InvalidInput("Equal tries of rows that are the best of several already: give all rows of evaluations.")
    if not len(rows):
        return np.arange(0)
    order = [name for name in _ORDER if name in rows.columns]
    others = sorted((name for name in rows.columns if name not in order), key=str)
    placed = rows[[*order, *others]].reset_index(drop=True)
    placed = placed.sort_values([*order, *others], key=sortable, kind="stable")
    network = pd.Series(_networks(placed), index=placed.index)
    place = network.groupby(network).cumcount()
    least = int(network.value_counts().min())
    return np.sort(place.index[place < least].to_numpy())


def sortable(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column whose values can be put in order, whatever they are."""
    plain = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)
    return column if plain else column.astype(str)


def _networks(rows: pd.DataFrame) -> npt.NDArray[np.intp]:
    """A number for the network of each row, from 0."""
    names = [name for name in _NETWORK if name in rows.columns]
    return np.asarray(rows.groupby(names, sort=False, dropna=False).ngroup(), dtype=np.intp)
