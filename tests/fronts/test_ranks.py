from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from nasray.fronts import kendall_tau

# Few values make many ties, which is where rank correlations differ.
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30)


@given(PAIRS)
def test_tau_is_scipys_with_ties_and_without(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    assert kendall_tau(x, y) == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12, nan_ok=True)


def test_what_is_missing_is_left_out() -> None:
    assert kendall_tau([1, 2, math.nan, 3], [1, 2, 0, np.inf]) == 1.0
    assert math.isnan(kendall_tau([1.0], [1.0]))
