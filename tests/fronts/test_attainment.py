"""Attainment surfaces against counting, for every point, how many fronts attain it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.fronts import attained, attainment_surfaces
from tests.run_files import Row

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6)
FRACTIONS = st.builds(Fraction, st.integers(1, 20), st.just(20))


def frame_of(points: list[tuple[float, float]]) -> pd.DataFrame:
    return pd.DataFrame(points, columns=["macs", "accuracy"], dtype=float)


@given(st.lists(POINTS, min_size=1, max_size=12), st.lists(FRACTIONS, min_size=1, max_size=3, unique=True))
def test_a_point_lies_below_a_surface_where_so_many_fronts_attain_it(
    repetitions: list[list[tuple[int, int]]], fractions: list[Fraction]
) -> None:
    surfaces = attainment_surfaces([frame_of(points) for points in repetitions], [float(one) for one in fractions])
    for fraction in fractions:
        surface = surfaces[surfaces["fraction"] == float(fraction)]
        corners = list(zip(surface["macs"], surface["accuracy"], strict=True))
        # The corners rise, and none is there twice.
        assert corners == sorted(set(corners))
        assert surface["accuracy"].is_monotonic_increasing
        for macs in range(-1, 11):
            for accuracy in range(-1, 11):
                attaining = sum(any(m <= macs and a >= accuracy for m, a in points) for points in repetitions)
                below = any(m <= macs and a >= accuracy for m, a in corners)
                assert below == (Fraction(attaining, len(repetitions)) >= fraction)


@given(POINTS, st.lists(st.integers(-1, 11), max_size=5))
def test_what_is_attained_at_a_cost(points: list[tuple[int, int]], macs: list[int]) -> None:
    expected = [max((a for m, a in points if m <= most), default=np.nan) for most in macs]
    np.testing.assert_array_equal(attained(frame_of(points), macs), np.array(expected, dtype=float))


@pytest.mark.parametrize("count", [3, 7, 10, 30])
def test_every_share_of_every_number_is_counted_as_it_is_written(count: int) -> None:
    # One point each, all at one cost: the surface of k of them is the k-th best. 0.7 * 10 is above 7 in floats.
    fronts = [frame_of([(1.0, float(i))]) for i in range(count)]
    shares = [k / count for k in range(1, count + 1)]
    surfaces = attainment_surfaces(fronts, shares)
    assert surfaces["accuracy"].tolist() == [float(count - k) for k in range(1, count + 1)]
    assert surfaces["fraction"].tolist() == shares


def test_the_median_of_three() -> None:
    fronts = [frame_of([(1, 0.5), (3, 0.9)]), frame_of([(2, 0.8)]), frame_of([(1, 0.6), (4, 0.7)])]
    median = attainment_surfaces(fronts, [0.5])
    assert median[["macs", "accuracy"]].to_numpy().tolist() == [[1.0, 0.5], [2.0, 0.6], [3.0, 0.8]]
    renamed = [front.rename(columns={"macs": "params", "accuracy": "test_accuracy"}) for front in fronts]
    other = attainment_surfaces(renamed, [0.5], metric="test_accuracy", minimise="params")
    assert other.columns.tolist() == ["fraction", "params", "test_accuracy"]
    np.testing.assert_array_equal(other.to_numpy(), median.to_numpy())


def test_a_repetition_without_rows_counts() -> None:
    fronts = [frame_of([(1, 0.5)]), frame_of([]), frame_of([])]
    assert attainment_surfaces(fronts, [0.3, 0.5]).to_numpy().tolist() == [[0.3, 1.0, 0.5]]
    nothing = attainment_surfaces([frame_of([])])
    assert nothing.columns.tolist() == ["fraction", "macs", "accuracy"]
    assert len(nothing) == 0


@pytest.mark.parametrize("fractions", [[0.0], [0.5, 1.1], [-1.0], [float("nan")], []])
def test_fractions_out_of_range_are_refused(fractions: list[float]) -> None:
    with pytest.raises(InvalidInput, match="above 0, up to 1"):
        attainment_surfaces([frame_of([(1, 1)])], fractions)


def test_what_is_no_front_is_refused(evaluation: Row) -> None:
    with pytest.raises(InvalidInput, match="one or more"):
        attainment_surfaces([])
    mixed: list[dict[str, Any]] = [evaluation(), evaluation(epochs=7)]
    with pytest.raises(InvalidInput, match="epochs"):
        attainment_surfaces([pd.DataFrame(mixed)])
    with pytest.raises(InvalidInput, match="epochs"):
        attainment_surfaces([pd.DataFrame([row]) for row in mixed])
