"""What each search adds to the front of all, told again whenever that front moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from nasray.searchers import Feedback, Proposal, Searcher, SearchProblem
from nasray.settings import Range
from nasray.sweeps.gains import GainSearcher, gains

REFERENCE = (10.0, 0.0)


def test_gains_are_areas_that_no_other_search_has() -> None:
    # Areas up to 10 M and accuracy 0, counted by hand: 2 to 10 M at 0.5, 5 to 10 M at 0.8; the third lies inside.
    searches = [[(2.0, 0.5)], [(5.0, 0.8)], [(6.0, 0.7), (9.0, 0.75)]]
    assert gains(searches, REFERENCE, None) == pytest.approx([3 * 0.5, 5 * 0.3 - 4 * 0.2 - 0.05, 0.0])
    assert gains(searches, REFERENCE, 4.0) == pytest.approx([8 * 0.5, 0.0, 0.0])
    assert gains([searches[0], searches[0]], REFERENCE, None) == [0.0, 0.0]
    assert gains([], REFERENCE, None) == []


class Counting(Searcher):
    """Proposes 1, 2, 3, ... and notes what it was told."""

    def __init__(self, told: Sequence[tuple[Proposal, Feedback]], under_way: Sequence[Proposal]) -> None:
        self.values = [feedback.values for _, feedback in told]
        self.under_way = [one.settings["lambda0"] for one in under_way]
        self.next = float(len(told) + len(under_way))

    def ask(self) -> Proposal:
        self.next += 1
        return Proposal(None, {"lambda0": self.next}, 7)

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        raise AssertionError("it is made anew instead")


def test_all_are_told_again_once_the_front_has_moved() -> None:
    made: list[Counting] = []

    def new(told: Sequence[tuple[Proposal, Feedback]], under_way: Sequence[Proposal]) -> Counting:
        made.append(Counting(told, under_way))
        return made[-1]

    problem = SearchProblem(
        space=None,
        settings={"lambda0": Range(low=0.0, high=9.0)},
        objectives={"hypervolume": "max"},
        epochs=None,
        budget=None,
        macs=lambda architecture: 1.0,
        seed=0,
    )
    one = GainSearcher(Searcher.Config(evaluations=9), problem, new, REFERENCE, None)
    first, second, third = one.ask(), one.ask(), one.ask()
    assert len(made) == 1
    complete = Feedback(state="complete", values=(4.0,), points=((2.0, 0.5),))
    one.tell(dataclasses.replace(second, number=None), complete)
    one.tell(third, Feedback(state="failed"))
    assert one.ask() == Proposal(None, {"lambda0": 4.0})
    assert (made[-1].values, made[-1].under_way) == ([pytest.approx((4.0,)), ()], [1.0])
    one.tell(first, dataclasses.replace(complete, points=((2.0, 0.5), (5.0, 0.8))))
    one.ask()
    assert made[-1].values == [pytest.approx((0.0,)), (), pytest.approx((1.5,))]
    assert made[-1].under_way == [4.0]
