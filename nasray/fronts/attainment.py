"""What repetitions of a search attain: fronts with their uncertainty.

C. M. Fonseca, V. Grunert da Fonseca, L. Paquete, "Exploring the Performance of Stochastic Multiobjective Optimisers
with the Second-Order Attainment Function", EMO 2005; computed by moocore (C. M. Fonseca, A. P. Guerreiro,
M. López-Ibáñez, L. Paquete, "On the Computation of the Empirical Attainment Function", EMO 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import moocore
import numpy as np
import numpy.typing as npt
import pandas as pd

from nasray.errors import InvalidInput
from nasray.fronts.pareto import check_comparable, column_of, pareto_front
from nasray.runs.schema import metric_of
from nasray.spaces.metric import Metric

QUARTILES = (0.25, 0.5, 0.75)
MAY_DIFFER = ("split_seed",)
"""Settings in which repetitions may differ, though rows of one front may not: nothing is chosen across them."""


def attainment_surfaces(
    fronts: Sequence[pd.DataFrame],
    fractions: Sequence[float] = QUARTILES,
    *,
    metric: Metric | str | None = None,
    minimise: str = "macs",
) -> pd.DataFrame:
    """For each fraction, the best that at least this share of the fronts attains at each cost.

    A front attains a point where it has a row that is not worse in either column. So the surface of 1/2 is the median
    front: the k-th best value of the metric at every cost, k being half the number of fronts, rounded up. A front
    without rows attains nothing, and counts.

    Args:
        fronts: one frame for each repetition; rows that are not on its front do no harm.
        fractions: above 0, up to 1.
        metric: as for :func:`pareto_front`.
        minimise: column of the cost (M for macs).

    Returns:
        Columns `fraction` and the two: the corners of each surface, by rising cost. A fraction that the fronts
        attain nowhere has none.

    Raises:
        InvalidInput: no fronts, a fraction out of range, fronts that do not compare.
    """
    wrong = [fraction for fraction in fractions if not 0 < fraction <= 1]
    if wrong or not fractions:
        raise InvalidInput(f"fraction {wrong[0] if wrong else 'missing'}: expected shares above 0, up to 1")
    if not fronts:
        raise InvalidInput("no fronts: expected one or more, one for each repetition")
    together = pd.concat(fronts, ignore_index=True)
    name, sign = column_of(together, metric)
    kept = [pareto_front(front, metric=metric or metric_of(together), minimise=minimise) for front in fronts]
    check_comparable(pd.concat(kept, ignore_index=True), cost=minimise, but=MAY_DIFFER)
    points = [front[[minimise, name]].to_numpy(dtype=np.float64) for front in kept]
    with_rows = [one for one in points if len(one)]
    surfaces = []
    for fraction in fractions:
        # The tolerance is for shares such as 0.7 of 10, which is a little more than 7.
        count = max(1, math.ceil(fraction * len(fronts) - 1e-9))
        if count > len(with_rows):
            continue
        corners = moocore.eaf(
            np.concatenate(with_rows) * [1.0, sign],
            np.repeat(np.arange(len(with_rows)), [len(one) for one in with_rows]),
            percentiles=[100.0 * count / len(with_rows)],
        )
        corners = corners[np.argsort(corners[:, 0], kind="stable")]
        surfaces.append(pd.DataFrame({"fraction": fraction, minimise: corners[:, 0], name: sign * corners[:, 1]}))
    columns = {"fraction": float, minimise: float, name: float}
    return pd.concat([pd.DataFrame(columns=list(columns)).astype(columns), *surfaces], ignore_index=True)


def attained(front: pd.DataFrame, costs: npt.ArrayLike, *, minimise: str = "macs") -> npt.NDArray[np.float64]:
    """The best value of its metric that a front, or a surface, has at no more than each of the costs (M for macs); NaN
    where it has none."""
    name, sign = column_of(front, None)
    steps = front.sort_values(minimise, kind="stable")
    best = np.minimum.accumulate(np.append(np.inf, sign * steps[name].to_numpy(dtype=np.float64)))
    found = best[np.searchsorted(steps[minimise].to_numpy(dtype=np.float64), np.asarray(costs), side="right")]
    return np.where(np.isinf(found), np.nan, sign * found)
