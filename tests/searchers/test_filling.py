from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.searchers.filling import Filling, Probe, targets_between
from nasray.settings import Range

STRENGTH = Range(low=1e-3, high=1.0, log=True)
WHOLE = Range(low=1, high=4, integer=True)


def cost(strength: float) -> float:
    """From 1,000 M at 0.001 to 100 M at 1."""
    return 100 * strength ** (-1 / 3)


def run(filling: Filling, cost_of: object) -> list[Probe]:
    asked = []
    while (probe := filling.ask()) is not None:
        asked.append(probe)
        filling.tell(probe, [cost_of(probe.value)])  # type: ignore[operator]
    assert filling.is_finished
    return asked


def test_targets_lie_evenly_in_their_logarithm() -> None:
    targets = targets_between(100, 800, 4)
    np.testing.assert_allclose(targets, [100, 200, 400, 800])
    assert targets_between(100, 900, 1) == (pytest.approx(300),)
    for wrong in ((0, 10, 2), (10, 5, 2), (1, 10, 0)):
        with pytest.raises(InvalidInput):
            targets_between(*wrong)


def test_a_number_of_targets_lies_between_what_the_ends_of_the_range_come_to() -> None:
    filling = Filling(4, "strength", STRENGTH, falls=True, searches=20)
    asked = run(filling, cost)
    assert {probe.value for probe in asked[:2]} == {1e-3, 1.0}
    np.testing.assert_allclose(filling.targets, np.geomspace(100, 1000, 4))
    assert set(filling.met()) == set(filling.targets)
    # A power law is met by interpolation: the ends, and then each target at once or nearly so.
    assert len(asked) <= 6


def test_any_candidate_of_a_search_meets_a_target_and_the_last_one_is_modelled() -> None:
    filling = Filling([150, 700], "strength", STRENGTH, falls=True, searches=20)
    first = filling.ask()
    assert first is not None
    filling.tell(first, [720.0, 400.0, 150.0 / 0.96, 100.0])  # a gradual pruning
    assert filling.met() == {150.0: 156.25, 700.0: 720.0}
    assert filling.ask() is None
    assert filling.is_finished


@settings(max_examples=15)
@given(st.integers(0, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_told_the_same_it_asks_for_the_same(told: int, at_once: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    filling = Filling(np.geomspace(120, 900, 6).tolist(), "strength", STRENGTH, falls=True, searches=20)
    under_way: list[Probe] = []
    history = []
    while len(history) < told:
        while len(under_way) < at_once and (probe := filling.ask()) is not None:
            assert probe not in [*under_way, *(one for one, _ in history)]
            under_way.append(probe)
        if not under_way:
            break
        probe = under_way.pop(draw.integers(len(under_way)))
        found = [] if draw.random() < 0.2 else [cost(probe.value) * math.exp(0.03 * draw.normal())]
        history.append((probe, found))
        filling.tell(probe, found)
    again = Filling(filling.targets, "strength", STRENGTH, falls=True, searches=20)
    for probe, found in history:
        again.tell(probe, found)
    for probe in under_way:
        again.resume(probe)
    assert again.met() == filling.met()
    assert again.unmet() == filling.unmet()
    assert again.ask() == filling.ask()


def test_parallel_searches_seek_different_targets_and_the_last_one_by_one() -> None:
    filling = Filling(np.geomspace(120, 900, 5).tolist(), "strength", STRENGTH, falls=True, searches=20)
    for value in (1e-3, 1e-2, 1e-1, 1.0):
        filling.tell(Probe(value, 0), [cost(value)])
    asked = []
    while (probe := filling.ask()) is not None:
        asked.append(probe)
    nearest = [min(filling.targets, key=lambda target: abs(target - cost(probe.value))) for probe in asked]
    assert len(set(nearest)) == len(nearest) >= 4
    assert not filling.is_finished


def test_why_a_target_is_not_met_is_said() -> None:
    filling = Filling([50, 300, 2000], "strength", STRENGTH, falls=True, searches=20)
    run(filling, cost)
    assert filling.unmet() == {
        50.0: "the method gets no cheaper than 100 M, at strength 1",
        2000.0: "the method gets no dearer than 1000 M, at strength 0.001",
    }
    filling = Filling([150], "size", WHOLE, falls=False, searches=20)
    asked = run(filling, lambda value: 100.0 * value)
    assert filling.unmet() == {
        150.0: "the cost jumps from 100 M at size 1 to 200 M at size 2, and no value between them is worth a search"
    }
    assert all(isinstance(probe.value, int) for probe in asked)
    filling = Filling([300], "strength", STRENGTH, falls=True, searches=2)
    run(filling, cost)
    assert filling.unmet() == {300.0: "all 2 searches are spent; the nearest candidate has 100 M"}
    filling = Filling([300], "strength", STRENGTH, falls=True, searches=3)
    for _ in range(3):
        probe = filling.ask()
        assert probe is not None
        filling.tell(probe, [])
    assert filling.unmet() == {300.0: "no search gave a candidate: 3 failed"}


@pytest.mark.parametrize("dearest", [1e3, 1e6, 1e9])
def test_a_target_on_a_steep_slope_is_found_by_halving(dearest: float) -> None:
    filling = Filling([dearest**0.37], "strength", Range(low=0.0, high=1.0), falls=False, searches=30)
    run(filling, lambda value: dearest ** (1 / (1 + math.exp(-min((value - 0.83) / 0.02, 300)))))
    assert filling.unmet() == {}


def test_a_jump_is_given_up_once_it_is_narrow() -> None:
    filling = Filling([500], "strength", Range(low=0.0, high=1.0), falls=False, searches=40)
    asked = run(filling, lambda value: 1000 if value > 0.3 else 100)
    (why,) = filling.unmet().values()
    assert why.startswith("the cost jumps from 100 M at strength 0.29")
    assert len(asked) < 20


def test_a_value_that_missed_by_noise_is_tried_with_another_seed() -> None:
    # Only 3 has a cost near 300 M; a tenth too much the first time, by noise.
    filling = Filling([300], "size", WHOLE, falls=False, searches=20)
    turns = []
    while (probe := filling.ask()) is not None:
        turns += [probe.turn] if probe.value == 3 else []
        filling.tell(probe, [100.0 * probe.value * (1.07 if probe == Probe(3, 0) else 1.0)])
    assert turns == [0, 1]
    assert set(filling.met()) == {300.0}


def test_an_end_where_searches_fail_is_left() -> None:
    filling = Filling([110, 150, 300], "strength", STRENGTH, falls=True, searches=20)
    asked = []
    while (probe := filling.ask()) is not None:
        asked.append(probe)
        filling.tell(probe, [] if probe.value > 0.5 else [cost(probe.value)])
    assert [probe.turn for probe in asked if probe.value == 1.0] == [0, 1]
    assert set(filling.met()) == {150.0, 300.0}
    (why,) = filling.unmet().values()
    assert why == "the method gets no cheaper than 133.4 M, at strength 0.421697, and searches beyond fail"


@pytest.mark.parametrize(
    ("targets", "tolerance", "searches"),
    [([], 0.05, 5), ([0.0], 0.05, 5), (0, 0.05, 5), ([1.0], 1.0, 5), ([1.0], 0.1, 0)],
)
def test_what_cannot_be_filled_is_refused(targets: list[float] | int, tolerance: float, searches: int) -> None:
    with pytest.raises(InvalidInput):
        Filling(targets, "strength", STRENGTH, falls=True, searches=searches, tolerance=tolerance)


def test_what_cannot_be_told_is_refused() -> None:
    filling = Filling([100], "strength", STRENGTH, falls=True, searches=5)
    for probe, macs in ((Probe(2.0, 0), [100.0]), (Probe(0.1, 0), [0.0]), (Probe(0.1, 0), [100.0, math.nan])):
        with pytest.raises(InvalidInput):
            filling.tell(probe, macs)
    assert filling.met() == {}


def test_a_knob_that_moves_nothing_has_one_target() -> None:
    filling = Filling(8, "strength", STRENGTH, falls=True, searches=20)
    assert len(run(filling, lambda _: 5.0)) == 2
    assert filling.targets == (5.0,)
    assert filling.is_flat
    assert not Filling([5.0], "strength", STRENGTH, falls=True, searches=20).is_flat


def test_what_is_above_the_most_meets_no_target_and_is_modelled() -> None:
    filling = Filling([290.0], "strength", STRENGTH, falls=True, searches=20, most=300.0)
    first = filling.ask()
    assert first is not None
    filling.tell(first, [301.0])
    assert filling.met() == {}
    spread = Filling(3, "strength", STRENGTH, falls=True, searches=20, most=400.0)
    run(spread, cost)
    np.testing.assert_allclose(spread.targets, [100, 200, 400])
    assert set(spread.met()) == set(spread.targets)


def test_a_range_of_one_value_has_it_tried_with_several_seeds() -> None:
    filling = Filling([105, 300], "size", Range(low=3, high=3, integer=True), falls=False, searches=20)
    draw = np.random.default_rng(0)
    asked = run(filling, lambda _: 100 * math.exp(0.03 * draw.normal()))
    assert [probe.turn for probe in asked] == list(range(len(asked)))
    assert set(filling.met()) == {105.0}
    assert len(asked) < 20


def test_searches_elsewhere_tell_the_model_and_are_none_of_its_own() -> None:
    filling = Filling([150, 700], "strength", STRENGTH, falls=True, searches=4)
    for strength in (1e-3, 0.1, 1.0):
        filling.learn(strength, cost(strength))
    filling.learn(0.3, 150.0)  # meets a target, elsewhere
    assert filling.met() == {}
    asked = run(filling, cost)
    # No search at the ends of the range first: they are known.
    assert all(1e-3 < probe.value < 1.0 for probe in asked)
    assert set(filling.met()) == {150.0, 700.0}
    spread = Filling(4, "strength", STRENGTH, falls=True, searches=20)
    for strength in (1e-3, 1.0):
        spread.learn(strength, cost(strength))
    np.testing.assert_allclose(spread.targets, np.geomspace(100, 1000, 4))
    with pytest.raises(InvalidInput):
        spread.learn(2.0, 100.0)
