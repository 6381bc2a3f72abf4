"""Layered graphs against scikit-learn's isotonic regression, counted crossings, and what must never overlap."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from nasray.pictures.layered_graph import Box, Place, _rising, place

Graph = tuple[dict[int, Box], list[tuple[int, int]]]


@st.composite
def graphs(draw: Any) -> Graph:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    number = itertools.count()
    ranks = [[next(number) for _ in range(size)] for size in sizes]
    lengths = st.floats(0.0, 2.0)
    boxes = {
        key: Box(
            rank, draw(lengths), draw(lengths), draw(st.sampled_from([0.0, 0.5])), draw(st.sampled_from([1.0, 3.0]))
        )
        for rank, keys in enumerate(ranks)
        for key in keys
    }
    possible = [line for one, other in itertools.pairwise(ranks) for line in itertools.product(one, other)]
    lines = [line for line in possible if draw(st.booleans())]
    return boxes, lines


def crossings(places: dict[int, Place], boxes: dict[int, Box], lines: list[tuple[int, int]]) -> int:
    return sum(
        boxes[a].rank == boxes[c].rank and (places[a].y - places[c].y) * (places[b].y - places[d].y) < 0
        for (a, b), (c, d) in itertools.combinations(lines, 2)
    )


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9)), min_size=1, max_size=12))
def test_pooling_is_isotonic_regression(points: list[tuple[float, float]]) -> None:
    wanted, weights = (np.array(values) for values in zip(*points, strict=True))
    expected = IsotonicRegression().fit_transform(np.arange(len(wanted)), wanted, sample_weight=weights)
    np.testing.assert_allclose(_rising(wanted, weights), expected, atol=1e-9)


@given(graphs())
def test_boxes_stand_apart_in_columns_that_stand_apart(graph: Graph) -> None:
    boxes, lines = graph
    places = place(boxes, lines, between=0.1, gap=0.3)
    assert min(places[key].y - box.height / 2 for key, box in boxes.items()) == pytest.approx(0, abs=1e-9)
    for one, other in itertools.combinations(boxes, 2):
        a, b = places[one], places[other]
        if boxes[one].rank == boxes[other].rank:
            assert (a.left, a.right, a.x) == (b.left, b.right, b.x)
            apart = (boxes[one].height + boxes[other].height + boxes[one].clear + boxes[other].clear) / 2 + 0.1
            assert abs(a.y - b.y) >= apart - 1e-9
        else:
            assert b.left >= a.right + 0.3 - 1e-9
    for key, box in boxes.items():
        assert places[key].right - places[key].left >= box.width - 1e-9
    first = [places[key].y for key, box in boxes.items() if box.rank == 0]
    assert first == sorted(first)


@given(graphs())
def test_crossings_are_nearly_as_few_as_they_can_be(graph: Graph) -> None:
    boxes, lines = graph
    columns = [
        [key for key in boxes if boxes[key].rank == rank] for rank in range(max(b.rank for b in boxes.values()) + 1)
    ]
    orders = itertools.product([columns[0]], *(itertools.permutations(column) for column in columns[1:]))
    fewest, tried = len(lines) ** 2, 0
    for order in orders:
        at = {key: Place(0, i, 0, 0) for column in order for i, key in enumerate(column)}
        fewest, tried = min(fewest, crossings(at, boxes, lines)), tried + 1
        if tried > 2000 or not fewest:
            break
    found = crossings(place(boxes, lines, between=0.1, gap=0.3), boxes, lines)
    # The search is a heuristic; that it stays near the best order is what makes pictures readable.
    assert found <= fewest + 2


def test_a_plain_graph_is_drawn_without_crossings() -> None:
    # Two chains whose boxes are given in opposite orders.
    boxes = {key: Box(rank, 1, 1) for rank, keys in enumerate(["ab", "dc", "ef"]) for key in keys}
    lines = [("a", "c"), ("b", "d"), ("c", "e"), ("d", "f")]
    places = place(boxes, lines, between=0.1, gap=0.3)
    for one, other in lines:
        assert places[one].y == pytest.approx(places[other].y)
    apart = place({0: Box(0, 1, 1), 2: Box(2, 1, 1)}, [], between=0.1, gap=0.3)
    assert (apart[0].right, apart[2].left) == (1, 1.3)
    assert place({}, [], between=0.1, gap=0.3) == {}
