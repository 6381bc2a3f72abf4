"""Whether two figures rank architectures alike.

M. G. Kendall, "The Treatment of Ties in Ranking Problems", Biometrika 33(3), 1945: tau-b.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def kendall_tau(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Kendall's tau-b of two figures of the same things, -1 to 1: 1 where both rank them alike.

    Things of which a figure is not finite are left out. NaN for fewer than two of them, or where one figure is the same
    for all.
    """
    x, y = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    agreeing = untied_x = untied_y = 0.0
    for i in range(1, len(x)):  # a row of pairs at a time: all of them would fill the memory
        by_x, by_y = np.sign(x[i] - x[:i]), np.sign(y[i] - y[:i])
        agreeing += float(by_x @ by_y)
        untied_x += float(np.count_nonzero(by_x))
        untied_y += float(np.count_nonzero(by_y))
    return agreeing / math.sqrt(untied_x * untied_y) if untied_x and untied_y else math.nan
