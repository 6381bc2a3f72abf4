"""What the cost of a search is likely to be at a value of its knob: a monotone model that is told few, noisy costs.

Between two told values the cost has risen from the one's to the other's, and where in between it rose is unknown: it
may creep, or jump. A Dirichlet process over monotone functions says just that. At a point inside a gap the share of
the rise that has been made is

    Beta(c m, c (1 - m)),        c = 3.5,

where m is the share that a monotone cubic through the neighbours has made there (F. N. Fritsch, R. E. Carlson, SIAM
J. Numer. Anal. 17, 1980). The law has mass near 0 and 1, so that a target in a wide gap is sought by halving the gap
and in a narrow one by interpolation. What was told is smoothed by isotonic regression, and has log-normal noise.

Of the models that were compared (a Gaussian process over the knob, over arc length, and the same gaps with a normal
law) none met the targets of all forms of ``tests/benchmarks/fill.py``: a Gaussian process needs one length scale, and
between a plateau and a step there is none; a normal law creeps towards a step from one side.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, ndtr

Floats = npt.NDArray[np.float64]

CONCENTRATION = 3.5
"""c: as large as the costs of a smooth curve allow, and small enough for a step."""
NOISE, NOISE_COUNT = 0.03, 8
"""Standard deviation of log cost that is assumed before any is told, and of how many tellings it is worth."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)


class MonotoneModel:
    """Log cost over places from 0 to 1, where it rises or stays. K runs over the different places told.

    Args:
        places_N: where the knob stood, one or more.
        costs_N: logarithms of the costs there.
    """

    def __init__(self, places_N: Floats, costs_N: Floats) -> None:
        from scipy.optimize import isotonic_regression  # a third of a second, and few sweeps fill a front

        self.places_K, kinds_N, self._counts_K = np.unique(places_N, return_inverse=True, return_counts=True)
        means_K = np.bincount(kinds_N, costs_N) / self._counts_K
        self.fitted_K: Floats = isotonic_regression(means_K, weights=self._counts_K).x
        """Log cost at the places told, monotone."""
        left_N = costs_N - self.fitted_K[kinds_N]
        # Each level of the fit takes the noise of one telling with it.
        worth = NOISE_COUNT + len(costs_N) - len(np.unique(self.fitted_K))
        self.noise = math.sqrt((NOISE_COUNT * NOISE**2 + float(left_N @ left_N)) / worth)
        """Standard deviation of the log cost of another search at the same place."""

    def mean(self, at_G: Floats) -> Floats:
        """Log cost that is expected; beyond the places told, that of the nearest."""
        if len(self.places_K) == 1:
            return np.full(len(at_G), self.fitted_K[0])
        from scipy.interpolate import PchipInterpolator

        inside_G = np.clip(at_G, self.places_K[0], self.places_K[-1])
        return np.asarray(PchipInterpolator(self.places_K, self.fitted_K)(inside_G))

    def gaps(self, at_G: Floats) -> Floats:
        """How far the places told on both sides lie apart."""
        below_G, above_G = self._neighbours(at_G)
        return np.asarray(self.places_K[above_G] - self.places_K[below_G])

    def _neighbours(self, at_G: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        last = len(self.places_K) - 1
        below_G = np.clip(np.searchsorted(self.places_K, at_G, side="right") - 1, 0, max(last - 1, 0))
        return below_G, np.minimum(below_G + 1, last)

    def probabilities(self, at_G: Floats, low_T: Floats, high_T: Floats) -> Floats:
        """(T, G): how likely a search at each place has a log cost from ``low`` to ``high``."""
        mean_G = self.mean(at_G)
        below_G, above_G = self._neighbours(at_G)
        width_G = np.maximum(self.places_K[above_G] - self.places_K[below_G], 1e-12)
        along_G = np.clip((at_G - self.places_K[below_G]) / width_G, 0.0, 1.0)
        start_G, rise_G = self.fitted_K[below_G], np.maximum(self.fitted_K[above_G] - self.fitted_K[below_G], 1e-9)
        share_G = np.clip((mean_G - start_G) / rise_G, 1e-6, 1 - 1e-6)
        # Of the search itself, and of what was told on both sides: not all of that, for the fit has smoothed it.
        told_G = (1 - along_G) ** 2 / self._counts_K[below_G] + along_G**2 / self._counts_K[above_G]
        noise_G = self.noise * np.sqrt(1 + 0.7 * told_G)

        spread_G = np.hypot(noise_G, rise_G * np.sqrt(share_G * (1 - share_G) / (CONCENTRATION + 1)))
        found_TG = ndtr((high_T[:, None] - mean_G) / spread_G) - ndtr((low_T[:, None] - mean_G) / spread_G)
        wide_G = rise_G > 10 * self.noise  # elsewhere noise hides the law of the gap
        a_G, b_G = CONCENTRATION * share_G[wide_G], CONCENTRATION * (1 - share_G[wide_G])
        in_wide_TG = np.zeros((len(low_T), len(a_G)))
        for node, weight in zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True):
            shifted_G = start_G[wide_G] + node * noise_G[wide_G]
            reached_TG, missed_TG = (
                betainc(a_G, b_G, np.clip((bound_T[:, None] - shifted_G) / rise_G[wide_G], 0.0, 1.0))
                for bound_T in (high_T, low_T)
            )
            in_wide_TG += weight * (reached_TG - missed_TG)
        found_TG[:, wide_G] = in_wide_TG
        return np.asarray(found_TG)
