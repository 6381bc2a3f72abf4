"""Points of a grid, and draws from ranges."""

from __future__ import annotations

import numpy as np
import pytest

from nasray.settings import Range
from nasray.sweeps.points import ends, grid_points, latin_hypercube


@pytest.mark.parametrize("samples", [1, 2, 7, 20])
def test_latin_hypercube_falls_into_each_part_of_each_range_once(samples: int) -> None:
    ranges = {"a": Range(low=1e-4, high=1.0, log=True), "b": Range(low=-2.0, high=3.0)}
    draws = latin_hypercube(ranges, samples)
    for name, places in {
        "a": [np.log(d["a"] / 1e-4) / np.log(1e4) for d in draws],
        "b": [(d["b"] + 2) / 5 for d in draws],
    }.items():
        assert sorted(int(np.clip(p, 0, 1 - 1e-9) * samples) for p in places) == list(range(samples)), name


@pytest.mark.parametrize("log", [False, True])
def test_whole_values_are_drawn_equally_often_as_their_parts_of_the_range_are_wide(log: bool) -> None:
    draws = latin_hypercube({"a": Range(low=1, high=3, log=log, integer=True)}, 1200)
    counts = np.bincount([draw["a"] for draw in draws], minlength=4)[1:]
    width = np.diff(np.log([0.5, 1.5, 2.5, 3.5])) if log else np.ones(3)
    np.testing.assert_allclose(counts / 1200, width / width.sum(), atol=0.002)


def test_a_grid_has_every_combination_with_every_draw_in_the_order_of_the_names() -> None:
    space = {"a": (1, 2), "b": Range(low=0.0, high=1.0), "c": ("x", "y")}
    points = grid_points(space, [{"b": 0.25}, {"b": 0.5}])
    assert [list(point) for point in points] == [["a", "b", "c"]] * 8
    assert {tuple(point.values()) for point in points} == {
        (a, b, c) for a in (1, 2) for b in (0.25, 0.5) for c in ("x", "y")
    }


def test_ends_are_all_low_and_all_high() -> None:
    ranges = {"a": Range(low=1, high=4, integer=True), "b": Range(low=0.1, high=0.5)}
    assert ends(ranges) == [{"a": 1, "b": 0.1}, {"a": 4, "b": 0.5}]
    assert ends({}) == [{}]
