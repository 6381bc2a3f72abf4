"""near_front against a literal reading of its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from nasray.fronts import near_front, pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30)


@given(POINTS, st.integers(0, 5))
def test_keeps_what_no_cheaper_row_beats_by_more(points: list[tuple[int, int]], within: int) -> None:
    frame = pd.DataFrame(points, columns=["macs", "accuracy"], dtype=float)
    kept = near_front(frame, within)
    expected = {(m, a) for m, a in points if all(a2 - a <= within for m2, a2 in points if m2 <= m)}
    assert set(map(tuple, kept.to_numpy())) == expected
    assert len(kept) == len(expected)


@given(POINTS)
def test_nothing_is_left_out_of_the_front(points: list[tuple[int, int]]) -> None:
    frame = pd.DataFrame(points, columns=["macs", "accuracy"], dtype=float)
    near = set(map(tuple, near_front(frame, 0.0).to_numpy()))
    assert set(map(tuple, pareto_front(frame).to_numpy())) <= near


def test_an_architecture_comes_once_with_its_best_accuracy() -> None:
    frame = pd.DataFrame({"macs": [1.0, 1.0, 2.0], "accuracy": [0.5, 0.6, 0.7], "architecture_id": ["a", "a", "b"]})
    kept = near_front(frame, 0.2)
    assert list(kept["architecture_id"]) == ["a", "b"]
    np.testing.assert_array_equal(kept["accuracy"], [0.6, 0.7])
