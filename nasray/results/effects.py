"""What searches are worth on average at each value of a setting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasray.results.searches import Searches

_MOST_BINS = 8
_IN_A_BIN = 4
"""Searches in a bin, at least, where there are enough for two."""
_COVERED = 0.95


def effects_of(found: Sequence[Searches], settings: Sequence[str] | None = None) -> pd.DataFrame:
    """Effects of settings, all that were varied where None are given: see :func:`nasray.effects`."""
    names = ["method", "space", "setting", "metric", "value", "least", "most", "mean", "low", "high", "searches"]
    rows = [
        {"method": own.method, "space": own.space, "setting": name, **row}
        for own in found
        for name in own.settings
        if settings is None or name in settings
        for row in _effect(own, name)
    ]
    return pd.DataFrame(rows, columns=names)


def _effect(own: Searches, setting: str) -> Iterator[dict[str, Any]]:
    for metric in own.metrics:
        rows = own.rows[own.rows[setting].notna() & np.isfinite(own.rows[metric])]
        bins = rows.groupby(_bins(rows[setting]), sort=True)
        half = _half_interval([part[metric].to_numpy(dtype=np.float64) for _, part in bins])
        for _, part in bins:
            values, mean, own_half = part[setting], float(part[metric].mean()), half / np.sqrt(len(part))
            ends = [values.median(), values.min(), values.max()] if _is_number(values) else [str(values.iloc[0])] * 3
            yield {
                "metric": metric,
                **dict(zip(("value", "least", "most"), ends, strict=True)),
                **{"mean": mean, "low": mean - own_half, "high": mean + own_half, "searches": len(part)},
            }


def _is_number(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _bins(values: pd.Series[Any]) -> pd.Series[Any]:
    """The bin of each value: numbers of bins, or the values themselves."""
    if not _is_number(values):
        return values.astype(str)
    if values.nunique() <= _MOST_BINS and values.nunique() <= len(values) / 2:
        return values
    count = min(max(len(values) // _IN_A_BIN, 2), _MOST_BINS)
    # Equal values are in one bin.
    ranks = (values.rank(method="min") - 1) * count // max(len(values), 1)
    return ranks.astype(int)


def _half_interval(bins: Sequence[npt.NDArray[np.float64]]) -> float:
    """Half of Student's interval for the mean of one search, by the spread within all bins together: those of a few
    searches tell little of it by themselves. NaN where no bin has two searches."""
    free = sum(len(one) - 1 for one in bins)
    if not free:
        return np.nan
    from scipy.stats import t

    spread = np.sqrt(sum(float(((one - one.mean()) ** 2).sum()) for one in bins) / free)
    return float(t.ppf((1 + _COVERED) / 2, free) * spread)
