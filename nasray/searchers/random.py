"""Random proposals within a budget, none twice: the baseline of the other searchers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nasray.errors import InvalidInput
from nasray.searchers.searcher import Feedback, Proposal, Searcher, SearchProblem, check_values

ATTEMPTS = 200
"""How often a proposal is drawn, or a parent mutated, until a new one is found."""
_STEPS = 5_000
"""Mutations by which a random architecture is brought within the budget."""


class RandomSearch(Searcher):
    """Random architectures within the budget, random settings, or both; none is proposed twice."""

    learns = False

    def __init__(self, config: Searcher.Config, problem: SearchProblem) -> None:
        super().__init__(config, problem)
        self._generator = np.random.default_rng(problem.seed)
        self._seen: set[str] = set()

    def ask(self) -> Proposal | None:
        """What was neither proposed nor told before; None where nothing further was found.

        Raises:
            InvalidInput: no architecture within the budget was found.
        """
        return unseen(lambda: random_proposal(self.problem, self._generator), self._seen)

    def resume(self, proposal: Proposal) -> None:
        """Not to propose again what is under way."""
        self._seen.add(proposal.key)

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Remember a proposal, so that it is not made again."""
        check_values(feedback, self.problem)
        self._seen.add(proposal.key)


def unseen(draw_one: Callable[[], Proposal], seen: set[str]) -> Proposal | None:
    """The first of some draws whose key was not seen, numbered, and now is; None where all were."""
    for _ in range(ATTEMPTS):
        found = draw_one()
        if found.key not in seen:
            return numbered(found, seen)
    return None


def numbered(proposal: Proposal, seen: set[str]) -> Proposal:
    """A proposal with the next number, seen from now on."""
    seen.add(proposal.key)
    return Proposal(proposal.architecture, proposal.settings, len(seen))


def random_proposal(problem: SearchProblem, generator: np.random.Generator) -> Proposal:
    """A random proposal within the budget.

    One above it is mutated, one step after another that leads no further away, until it meets the budget.

    Raises:
        InvalidInput: so nothing within the budget was found.
    """
    values = problem.draw(generator)
    found = problem.proposal(values)
    excess = problem.excess(found)
    for _ in range(_STEPS):
        if excess <= 0:
            return found
        nearby = problem.neighbour(values, generator)
        candidate = problem.proposal(nearby)
        if (its := problem.excess(candidate)) <= excess:
            values, found, excess = nearby, candidate, its
    name = "" if problem.space is None else problem.space.name
    raise InvalidInput(
        f"No architecture of {name!r} was found within the budget of {problem.budget:g} M multiply-adds; "
        f"the nearest is {excess:.6g} M above. Give a larger budget."
    )
