"""A searcher of settings that is told what each search adds to the front of all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pandas as pd

from nasray.fronts import hypervolume
from nasray.searchers import Feedback, Proposal, Searcher, SearchProblem

Points = Sequence[tuple[float, float]]
"""Multiply-adds (M) and accuracy of each candidate of a search."""


class GainSearcher(Searcher):
    """One of nasray's searchers, told gains.

    A gain is the hypervolume that the front of all searches would lose without the search. It changes with every
    search that ends; so the searcher is then made anew, and is told all searches with their gains from the one front
    that they have by now. Two searches that found the same gain nothing by it.

    Args:
        config: of the searcher.
        problem: whose one objective is a search's own hypervolume.
        made: makes the searcher as it stands once it was told these results, whose one value is the gain, while others
            are under way.
        reference: multiply-adds (M) and accuracy of the hypervolume's reference point.
        budget: most multiply-adds (M) of what counts; None is any.
    """

    def __init__(
        self,
        config: Searcher.Config,
        problem: SearchProblem,
        made: Callable[[Sequence[tuple[Proposal, Feedback]], Sequence[Proposal]], Searcher],
        reference: tuple[float, float],
        budget: float | None,
    ) -> None:
        super().__init__(config, problem)
        self._made, self._reference, self._budget = made, reference, budget
        self._told: list[tuple[Proposal, Feedback]] = []
        self._open: list[Proposal] = []
        self._searcher: Searcher | None = None
        """None where a result came since it was made."""

    def ask(self) -> Proposal | None:
        """What the searcher proposes by the gains as they are now."""
        if self._searcher is None:
            self._searcher = self._made(self.told(), self._open)
        proposal = self._searcher.ask()
        if proposal is None:
            return None
        own = dataclasses.replace(proposal, number=None)
        self._open.append(own)
        return own

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Learn what a search gave."""
        own = dataclasses.replace(proposal, number=None)
        if own in self._open:
            self._open.remove(own)
        self._told.append((own, feedback))
        self._searcher = None

    def resume(self, proposal: Proposal) -> None:
        """Take a search of an earlier session for one that was asked for."""
        self._open.append(dataclasses.replace(proposal, number=None))
        self._searcher = None

    def told(self) -> list[tuple[Proposal, Feedback]]:
        """All results with their gains, in the order in which they came."""
        complete = [place for place, (_, feedback) in enumerate(self._told) if feedback.state == "complete"]
        found = gains([self._told[place][1].points for place in complete], self._reference, self._budget)
        gained = dict(zip(complete, found, strict=True))
        return [
            (proposal, dataclasses.replace(feedback, values=(gained[place],)) if place in gained else feedback)
            for place, (proposal, feedback) in enumerate(self._told)
        ]


def gains(searches: Sequence[Points], reference: tuple[float, float], budget: float | None) -> list[float]:
    """The hypervolume (M x accuracy) that the front of all searches would lose without each of them.

    Args:
        searches: what each gave.
        reference: multiply-adds (M) and accuracy of the hypervolume's reference point.
        budget: most multiply-adds (M) of what counts; None is any.
    """
    rows = [
        (search, macs, accuracy)
        for search, points in enumerate(searches)
        for macs, accuracy in points
        if budget is None or macs <= budget
    ]
    frame = pd.DataFrame(rows, columns=["search", "macs", "accuracy"])
    whole = _area(frame, reference)
    return [whole - _area(frame[frame["search"] != search], reference) for search in range(len(searches))]


def _area(rows: pd.DataFrame, reference: tuple[float, float]) -> float:
    return hypervolume(rows, reference) if len(rows) else 0.0
