from __future__ import annotations

import itertools
import json
import math
import statistics
import time
from typing import Any

import moocore
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.fronts import average_over_seeds, check_comparable, comparable_parts, hypervolume, pareto_front
from nasray.runs import EVALUATIONS
from tests.run_files import Row

# Few values make many equal points, which is where fronts go wrong; the odd ones are left out of every front.
NUMBERS = st.one_of(st.integers(0, 6).map(float), st.floats(0, 6), st.sampled_from([math.nan, math.inf, -math.inf]))
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from("abcd"), st.booleans()), max_size=40)
SMALL = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15)


def frame_of(points: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(points, columns=["macs", "accuracy", "architecture_id", "complete"])
    return frame.astype({"macs": float, "accuracy": float, "architecture_id": str, "complete": bool})


def usable(points: list[Any]) -> list[tuple[float, float, str]]:
    return [(m, a, name) for m, a, name, complete in points if complete and math.isfinite(m) and math.isfinite(a)]


def dominates(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and (one[0] < other[0] or one[1] > other[1])


# --- the front


@given(POINTS)
def test_the_front_is_what_comparing_every_pair_gives(points: list[Any]) -> None:
    rows = usable(points)
    expected = {(m, a) for m, a, _ in rows if not any(dominates(other, (m, a)) for other in rows)}
    front = pareto_front(frame_of(points))
    found = list(zip(front["macs"], front["accuracy"], strict=True))
    assert len(found) == len(set(found))
    assert set(found) == expected
    for here, after in itertools.pairwise(found):
        assert here[0] < after[0]
        assert here[1] < after[1]
    # No row of the front is dominated; every other row is dominated by, or a duplicate of, one that is on it.
    assert not any(dominates(row, on) for row in rows for on in found)
    assert all((m, a) in expected or any(dominates(on, (m, a)) for on in found) for m, a, _ in rows)
    for m, a, name in zip(front["macs"], front["accuracy"], front["architecture_id"], strict=True):
        assert name == min(row[2] for row in rows if row[:2] == (m, a))


@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(points: list[Any], order: Any) -> None:
    frame = frame_of(points).assign(other=[order.choice([1, 2, 3]) for _ in points])
    shuffled = frame.iloc[order.sample(range(len(frame)), len(frame))]
    front = pareto_front(frame)
    pd.testing.assert_frame_equal(pareto_front(shuffled), front)
    pd.testing.assert_frame_equal(pareto_front(front), front)
    assert front.index.tolist() == list(range(len(front)))


@pytest.mark.parametrize("digits", [1, 2, 12])
def test_large_frames_agree_with_moocore(digits: int) -> None:
    draw = np.random.default_rng(digits)
    frame = pd.DataFrame({"macs": draw.uniform(1, 9, 30_000).round(digits)})
    frame["accuracy"] = (0.1 * frame["macs"] + draw.normal(0, 0.05, len(frame))).round(digits)
    points = np.column_stack([frame["macs"], -frame["accuracy"]])
    expected = frame[moocore.is_nondominated(points)].sort_values("macs").reset_index(drop=True)
    pd.testing.assert_frame_equal(pareto_front(frame), expected)
    # And where every row is on the front, so that nothing can be left out beforehand.
    rising = pd.DataFrame({"macs": np.arange(30_000.0), "accuracy": np.arange(30_000.0)})
    pd.testing.assert_frame_equal(pareto_front(rising.sample(frac=1, random_state=0)), rising)


def test_other_columns_can_be_the_two() -> None:
    frame = pd.DataFrame({"params": [1, 2, 3], "test_accuracy": [0.5, 0.4, 0.9], "macs": [3.0, 2.0, 1.0]})
    front = pareto_front(frame, metric="test_accuracy", minimise="params")
    assert front["params"].tolist() == [1, 3]


@pytest.mark.parametrize(
    "values", [pd.array([1, None, 2], "Int64"), pd.array([1.0, None, 2.0], "Float64"), [1.0, None, 2.0]]
)
def test_missing_numbers_are_left_out_of_any_type_of_column(values: Any) -> None:
    frame = pd.DataFrame({"macs": values, "accuracy": [0.1, 0.9, 0.2]})
    assert pareto_front(frame)["accuracy"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize("complete", [[True, False], pd.array([True, False], "boolean"), [1, 0]])
def test_what_was_stopped_early_is_never_on_a_front(complete: Any) -> None:
    frame = pd.DataFrame({"macs": [2.0, 1.0], "accuracy": [0.5, 0.9], "complete": complete, "epochs": [200, 12]})
    assert pareto_front(frame)["macs"].tolist() == [2.0]
    assert hypervolume(frame, (3.0, 0.0)) == 0.5


def test_no_rows_give_no_rows() -> None:
    empty = frame_of([])
    pd.testing.assert_frame_equal(pareto_front(empty), empty)
    assert hypervolume(empty, (1.0, 0.0)) == 0.0
    assert len(pareto_front(frame_of([(1.0, 0.5, "a", False)]))) == 0


# --- what is refused


@pytest.mark.parametrize(
    ("column", "other", "said"),
    [
        ("dataset", "cifar10", r"dataset \(cifar10, digits\)"), ("epochs", 600, r"epochs \(5, 600\)"),
        ("cells", 20, "cells"), ("train_examples", 7, "train_examples"),
        ("validation_examples", 7, "validation_examples"), ("epochs", None, r"epochs \(5\.0, missing\)"),
    ],
)  # fmt: skip
def test_rows_that_do_not_compare_are_refused(evaluation: Row, column: str, other: Any, said: str) -> None:
    frame = pd.DataFrame([evaluation(), evaluation(**{column: other})])
    for act in (pareto_front, lambda f: hypervolume(f, (100.0, 0.0))):
        with pytest.raises(InvalidInput, match=said) as caught:
            act(frame)
        assert "\n" not in str(caught.value)
    # Only what could be on the front must compare.
    pareto_front(frame.assign(complete=[True, False]))
    pareto_front(frame.assign(accuracy=[0.5, math.nan]))
    pareto_front(frame.drop(columns=column))


def settings_of(**changes: Any) -> str:
    common = {"epochs": 5, "learning_rate": 0.025, "channels": None, "schedule": "cosine", "split_seed": 0}
    return json.dumps({**common, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 0.05}, r"learning_rate \(0\.025, 0\.05\)"),
        ({"schedule": "linear"}, r'schedule \("cosine", "linear"\)'),
        # Another split measures on other examples, though on as many.
        ({"split_seed": 1}, r"split_seed \(0, 1\)"),
        # A setting that an older version did not have may have had any value.
        ({"nesterov": False}, r"nesterov \(false, missing\)"),
    ],
)
def test_trainings_by_other_settings_are_refused(evaluation: Row, changes: dict[str, Any], said: str) -> None:
    rows = [evaluation(settings=settings_of(), architecture_id="a"), evaluation(settings=settings_of(**changes))]
    frame = pd.DataFrame(rows)
    with pytest.raises(InvalidInput, match=said) as caught:
        pareto_front(frame)
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInput, match=said):
        pareto_front(average_over_seeds(frame))
    check_comparable(frame, but=tuple(changes))
    pareto_front(frame.assign(complete=[True, False]))


def test_settings_that_say_the_same_in_other_words_share_a_front(evaluation: Row) -> None:
    # The size is told by its own columns; the order of names and a method's own knobs say nothing of the training.
    same = [settings_of(), settings_of(channels=8), json.dumps(dict(reversed(json.loads(settings_of()).items())))]
    same.append(settings_of(strength=0.5))
    rows = [evaluation(settings=text, seed=i, accuracy=0.5 + 0.1 * i) for i, text in enumerate(same)]
    averaged = average_over_seeds(pd.DataFrame(rows))
    assert averaged["seeds"].tolist() == [4]
    assert averaged["accuracy"].tolist() == pytest.approx([0.65])
    assert len(pareto_front(pd.DataFrame(rows))) == 1


def test_seeds_are_not_averaged_over_settings(evaluation: Row) -> None:
    slow, fast = settings_of(), settings_of(learning_rate=0.1)
    rows = [evaluation(settings=text, seed=seed) for text in (slow, fast) for seed in range(3)]
    averaged = average_over_seeds(pd.DataFrame(rows))
    assert sorted(averaged["settings"]) == sorted([slow, fast])
    assert averaged["seeds"].tolist() == [3, 3]


def test_how_a_search_trains_in_one_stage_is_part_of_its_method(evaluation: Row) -> None:
    rows = [
        evaluation(settings=settings_of(), training="from scratch", macs=1.0),
        evaluation(settings=settings_of(learning_rate=0.1), training="one stage", macs=2.0, accuracy=0.9),
    ]
    assert len(pareto_front(pd.DataFrame(rows))) == 2
    with pytest.raises(InvalidInput, match="learning_rate"):
        pareto_front(pd.DataFrame(rows).assign(training="from scratch"))


def test_candidates_of_several_settings_share_a_front(candidate: Row) -> None:
    rows = [candidate(settings=settings_of(learning_rate=rate), macs=rate, accuracy=rate) for rate in (0.1, 0.2)]
    assert len(pareto_front(pd.DataFrame(rows))) == 2


def test_candidates_and_evaluations_never_share_a_front(candidate: Row, evaluation: Row) -> None:
    mixed = pd.concat([pd.DataFrame([candidate()]), pd.DataFrame([evaluation()])])
    with pytest.raises(InvalidInput, match="inherited weights, trained from scratch"):
        pareto_front(mixed)
    fronts = [pareto_front(pd.DataFrame([row])) for row in (candidate(), evaluation())]
    said = pd.concat([f[["macs", "accuracy"]].assign(kind=kind) for f, kind in zip(fronts, "ab", strict=True)])
    with pytest.raises(InvalidInput, match=r"kind of accuracy \(a, b\)"):
        pareto_front(said)


def test_networks_of_several_widths_share_a_front(evaluation: Row) -> None:
    rows = [evaluation(macs=10.0, accuracy=0.5), evaluation(macs=5.0, accuracy=0.4, channels=5)]
    assert len(pareto_front(pd.DataFrame(rows))) == 2


def test_an_architecture_of_two_methods_is_averaged_once_under_both_names(evaluation: Row) -> None:
    rows = [
        evaluation(method="darts, pc_darts", seed=0, accuracy=0.5),
        evaluation(method="darts", seed=1, accuracy=0.7),
        evaluation(method="tpe", seed=1, accuracy=0.7),
    ]
    (row,) = average_over_seeds(pd.DataFrame(rows)).to_dict("records")
    assert (row["method"], row["seeds"], row["accuracy"]) == ("darts, pc_darts, tpe", 2, pytest.approx(0.6))


def test_candidates_of_several_epochs_and_methods_share_a_front(candidate: Row) -> None:
    # A DARTS search keeps half of the examples for the architecture, a one-level search none.
    rows = [
        candidate(epoch=3, macs=10.0, accuracy=0.5),
        candidate(epoch=9, macs=5.0, accuracy=0.4, method="darts", train_examples=500, architecture_examples=500),
    ]
    assert len(pareto_front(pd.DataFrame(rows))) == 2
    with pytest.raises(InvalidInput, match="channels"):
        pareto_front(pd.DataFrame([rows[0], {**rows[1], "channels": 16}]))


def test_columns_that_cannot_be_used_are_named() -> None:
    frame = pd.DataFrame({"macs": [1.0], "accuracy": ["0.5"]})
    with pytest.raises(InvalidInput, match=r"'flops'.*macs, accuracy"):
        pareto_front(frame, minimise="flops")
    with pytest.raises(InvalidInput, match="'accuracy': expected numbers"):
        pareto_front(frame)


# --- hypervolume


def test_hypervolume_of_a_few_rectangles() -> None:
    def area(points: list[tuple[float, float]], reference: tuple[float, float]) -> float:
        return hypervolume(pd.DataFrame(points, columns=["macs", "accuracy"], dtype=float), reference)

    assert area([(10, 0.5)], (100, 0.0)) == pytest.approx(90 * 0.5)
    assert area([(10, 0.5), (20, 0.8)], (100, 0.0)) == pytest.approx(10 * 0.5 + 80 * 0.8)
    assert area([(10, 0.5), (20, 0.8), (30, 0.7), (10, 0.5)], (100, 0.0)) == pytest.approx(10 * 0.5 + 80 * 0.8)
    assert area([(10, 0.5), (20, 0.8)], (100, 0.6)) == pytest.approx(80 * 0.2)
    # The front of NAS-Bench-201's paper's scale: a reference within the points.
    assert area([(10, 0.5), (20, 0.8), (200, 0.9)], (100, 0.0)) == pytest.approx(69.0)
    assert area([(100, 0.9), (50, 0.0), (200, 1.0)], (100, 0.0)) == 0.0


@given(SMALL, st.integers(0, 12), st.integers(0, 12))
def test_hypervolume_counts_the_unit_squares_that_are_dominated(points: list[Any], x: int, y: int) -> None:
    frame = pd.DataFrame(points, columns=["macs", "accuracy"], dtype=float)
    squares = {(i, j) for m, a in points for i in range(m, x) for j in range(y, a)}
    assert hypervolume(frame, (x, y)) == pytest.approx(len(squares))


@given(POINTS, POINTS)
def test_hypervolume_never_falls_when_rows_are_added(some: list[Any], more: list[Any]) -> None:
    before, after = (hypervolume(frame_of(rows), (5.0, 1.0)) for rows in (some, some + more))
    assert after >= before - 1e-12
    assert hypervolume(pareto_front(frame_of(some)), (5.0, 1.0)) == before


@pytest.mark.parametrize("reference", [(1.0,), (math.nan, 0.0), (math.inf, 0.0), (1.0, 2.0, 3.0)])
def test_a_reference_is_two_finite_numbers(reference: Any) -> None:
    with pytest.raises(InvalidInput, match="two finite numbers"):
        hypervolume(frame_of([]), reference)


def test_a_million_rows_take_less_than_a_second() -> None:
    draw, rows = np.random.default_rng(0), 1_000_000
    macs = draw.uniform(1, 600, rows)
    gain = 0.9 - 0.4 * np.exp(-macs / 100) + draw.normal(0, 0.02, rows)
    names = pd.Series(np.char.mod("%06x", np.arange(rows)), dtype="str")
    frame = pd.DataFrame({"architecture_id": names, "macs": macs, "accuracy": gain.clip(0, 1), "dataset": "cifar10"})
    frame = frame.assign(complete=True, epochs=200, channels=36, cells=20, train_examples=25_000)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        front, area = pareto_front(frame), hypervolume(frame, (600.0, 0.0))
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 1.0
    assert 10 < len(front) < 1000
    assert 0.8 * 600 < area < 600


# --- seeds


def test_seeds_are_averaged_for_each_architecture_and_fidelity(evaluation: Row) -> None:
    values = {"a": [0.5, 0.75, 0.7], "b": [0.625]}
    rows = [
        evaluation(architecture_id=name, seed=seed, accuracy=value, test_accuracy=value / 2, macs=macs)
        for (name, accuracies), macs in zip(values.items(), (1.0, 2.0), strict=True)
        for seed, value in enumerate(accuracies)
    ]
    rows.append(evaluation(architecture_id="a", macs=1.0, seed=9, accuracy=1.0, complete=False))
    rows.append(evaluation(architecture_id="a", macs=1.0, epochs=50, accuracy=0.875, run="r2", method="darts"))
    # The same training in a second, later run replaces the first and counts once.
    late = rows[0]["created_at"].replace(hour=13)
    rows.append({**rows[0], "accuracy": 0.25, "test_accuracy": 0.125, "run": "r2", "created_at": late})
    averaged = average_over_seeds(pd.DataFrame(rows).sample(frac=1, random_state=3))
    assert averaged["architecture_id"].tolist() == ["a", "a", "b"]
    assert averaged["epochs"].tolist() == [5, 50, 5]
    assert averaged["seeds"].tolist() == [3, 1, 1]
    kept = [0.25, 0.75, 0.7]
    assert averaged["accuracy"].tolist() == pytest.approx([statistics.mean(kept), 0.875, 0.625])
    assert averaged["test_accuracy"].tolist()[0] == pytest.approx(statistics.mean(kept) / 2)
    assert averaged["accuracy_std"][0] == pytest.approx(statistics.stdev(kept))
    assert averaged["accuracy_std"].isna().tolist() == [False, True, True]
    assert averaged["run"].tolist() == ["r1, r2", "r2", "r1"]
    with pytest.raises(InvalidInput, match="epochs"):
        pareto_front(averaged)
    assert pareto_front(averaged[averaged["epochs"] == 5])["architecture_id"].tolist() == ["a", "b"]


def test_averaging_needs_evaluations(candidate: Row, evaluation: Row) -> None:
    with pytest.raises(InvalidInput, match="no column training, epochs, complete"):
        average_over_seeds(pd.DataFrame([candidate()]))
    averaged = average_over_seeds(pd.DataFrame([evaluation(complete=False)]))
    assert len(averaged) == 0
    assert len(pareto_front(averaged)) == 0
    assert set(EVALUATIONS.key) - {"seed"} < set(averaged.columns)


def test_parts_are_the_fewest_that_compare(evaluation: Row, candidate: Row) -> None:
    settings = [
        json.dumps({"learning_rate": rate, "threads": threads}) for rate, threads in ((0.1, 1), (0.2, 1), (0.1, 2))
    ]
    rows = [
        evaluation(epochs=epochs, settings=settings[recipe], complete=complete)
        for epochs, recipe, complete in ((5, 0, True), (5, 1, True), (5, 2, True), (9, 0, True), (9, 1, False))
    ]
    parts = list(comparable_parts(pd.DataFrame(rows)))
    assert sorted(sorted(part.index) for part in parts) == [[0, 2], [1], [3]]
    for part in parts:
        check_comparable(part)
    others = pd.DataFrame(
        [candidate(dataset=name, validation_examples=n) for name, n in (("a", 1), ("b", 1), ("a", 1))]
    )
    assert sorted(sorted(part.index) for part in comparable_parts(others)) == [[0, 2], [1]]
    assert not list(comparable_parts(others.iloc[:0]))
