"""Regularised evolution for several objectives, over the architectures of a space, settings, or both.

E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019,
arXiv:1802.01548: of a population, a sample is drawn, the best of it is mutated, and with every newcomer the oldest
dies. With several objectives the best of a sample is a random one of those that no other of it dominates (our choice):
the first by non-dominated rank and then by an epsilon-net with a random seed, as in MO-ASHA (arXiv:2106.12639).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import moocore
import numpy as np

from nasray.searchers.random import ATTEMPTS, numbered, random_proposal, unseen
from nasray.searchers.searcher import Feedback, Proposal, Searcher, SearchProblem, check_values
from nasray.settings import setting


class Evolution(Searcher):
    """Regularised evolution for several objectives (Real et al., AAAI 2019).

    Nothing is proposed twice, also not while its evaluation runs; several may run at once. A budget is
    never exceeded: of mutants those above it are passed over. The figures of a trial that was stopped early belong to
    another fidelity, so it is no parent; nor is one that failed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Searcher.Config):
        """Settings of regularised evolution."""

        population: int = setting(100, low=1)
        """P: how many of the last evaluated architectures are alive."""
        sample: int = setting(100, low=1)
        """S: how many of them are drawn, of which one is the parent. It may be all of them: with several objectives
        there are always many to choose from."""
        initial: int = setting(20, low=1)
        """Architectures that are drawn at random before the first is mutated. Fewer than the population (our choice):
        with 20 the first hundred evaluations bring more."""

    def __init__(self, config: Searcher.Config, problem: SearchProblem) -> None:
        assert isinstance(config, Evolution.Config)
        super().__init__(config, problem)
        self._sample = config.sample
        self._initial = config.initial
        self._signs = [1.0 if mode == "min" else -1.0 for mode in problem.objectives.values()]
        self._generator = np.random.default_rng(problem.seed)
        self._alive: deque[tuple[Proposal, tuple[float, ...]]] = deque(maxlen=config.population)
        self._seen: set[str] = set()

    @property
    def population(self) -> tuple[Proposal, ...]:
        """What is alive, oldest first."""
        return tuple(proposal for proposal, _ in self._alive)

    def ask(self) -> Proposal | None:
        """What was neither proposed nor told before; None where nothing further was found.

        Raises:
            InvalidInput: no architecture within the budget was found.
        """
        found = self._mutant() if self._alive and len(self._seen) >= self._initial else None
        return found or unseen(lambda: random_proposal(self.problem, self._generator), self._seen)

    def resume(self, proposal: Proposal) -> None:
        """Not to propose again what is under way."""
        self._seen.add(proposal.key)

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Take what was completely evaluated into the population, unless a value is NaN or infinite."""
        check_values(feedback, self.problem)
        self._seen.add(proposal.key)
        if feedback.state == "complete" and all(map(math.isfinite, feedback.values)):
            self._alive.append((proposal, feedback.values))

    def _mutant(self) -> Proposal | None:
        for _ in range(ATTEMPTS):
            values = self.problem.neighbour(self.problem.values(self._parent()), self._generator)
            child = self.problem.proposal(values)
            if child.key not in self._seen and self.problem.excess(child) <= 0:
                return numbered(child, self._seen)
        return None

    def _parent(self) -> Proposal:
        size = min(self._sample, len(self._alive))
        drawn = self._generator.choice(len(self._alive), size=size, replace=False)
        points = np.array([self._alive[index][1] for index in drawn]) * self._signs
        best = drawn[moocore.is_nondominated(points, keep_weakly=True)]
        return self._alive[self._generator.choice(best)][0]
