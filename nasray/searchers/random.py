"""Random architectures within a budget, none twice: the baseline of the other searchers."""

from __future__ import annotations

from collections.abc import Callable, Container

import numpy as np

from nasray.errors import InvalidInput
from nasray.searchers.searcher import Feedback, Proposal, Searcher, SearchProblem, check_values
from nasray.spaces import Architecture
from nasray.spaces.encoding import decode, mutate, sample

ATTEMPTS = 200
"""How often an architecture is drawn, or a parent mutated, until a new one is found."""
_STEPS = 5_000
"""Mutations by which a random architecture is brought within the budget."""


class RandomSearch(Searcher):
    """Random architectures within the budget, none of them proposed twice."""

    def __init__(self, config: Searcher.Config, problem: SearchProblem) -> None:
        super().__init__(config, problem)
        self._generator = np.random.default_rng(problem.seed)
        self._seen: set[str] = set()

    def ask(self) -> Proposal | None:
        """An architecture that was neither proposed nor told before; None where no further one was found.

        Raises:
            InvalidInput: no architecture within the budget was found.
        """
        found = unseen(lambda: random_architecture(self.problem, self._generator), self._seen)
        if found is None:
            return None
        self._seen.add(found.id)
        return Proposal(found, len(self._seen))

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Remember an architecture, so that it is not proposed again."""
        check_values(feedback, self.problem)
        self._seen.add(proposal.architecture.id)


def unseen(draw_one: Callable[[], Architecture], seen: Container[str]) -> Architecture | None:
    """The first of some draws whose id was not seen; None where all were."""
    for _ in range(ATTEMPTS):
        found = draw_one()
        if found.id not in seen:
            return found
    return None


def random_architecture(problem: SearchProblem, generator: np.random.Generator) -> Architecture:
    """A random architecture within the budget.

    One above it is mutated, one step after another that leads no further away, until it meets the budget.

    Raises:
        InvalidInput: so no architecture within the budget was found.
    """
    values = sample(problem.parameters, generator)
    found = decode(problem.space, values, problem.cells)
    excess = problem.excess(found)
    for _ in range(_STEPS):
        if excess <= 0:
            return found
        nearby = mutate(problem.parameters, values, generator)
        candidate = decode(problem.space, nearby, problem.cells)
        if (its := problem.excess(candidate)) <= excess:
            values, found, excess = nearby, candidate, its
    raise InvalidInput(
        f"No architecture of {problem.space.name!r} was found within the budget of {problem.budget:g} M multiply-adds; "
        f"the nearest is {excess:.6g} M above. Give a larger budget."
    )
