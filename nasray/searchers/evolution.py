"""Regularised evolution for several objectives, over the architectures of a space.

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

from nasray.searchers.random import ATTEMPTS, random_architecture, unseen
from nasray.searchers.searcher import Feedback, Proposal, Searcher, SearchProblem, check_values
from nasray.settings import setting
from nasray.spaces import Architecture
from nasray.spaces.encoding import decode, encode, mutate


class Evolution(Searcher):
    """Regularised evolution for several objectives (Real et al., AAAI 2019).

    No architecture is proposed twice, also not while its evaluation runs; several may run at once. A budget is
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
        self._alive: deque[tuple[Architecture, tuple[float, ...]]] = deque(maxlen=config.population)
        self._seen: set[str] = set()

    @property
    def population(self) -> tuple[Architecture, ...]:
        """The architectures that are alive, oldest first."""
        return tuple(architecture for architecture, _ in self._alive)

    def ask(self) -> Proposal | None:
        """An architecture that was neither proposed nor told before; None where no further one was found.

        Raises:
            InvalidInput: no architecture within the budget was found.
        """
        found = self._mutant() if self._alive and len(self._seen) >= self._initial else None
        found = found or unseen(lambda: random_architecture(self.problem, self._generator), self._seen)
        if found is None:
            return None
        self._seen.add(found.id)
        return Proposal(found, len(self._seen))

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Take a completely evaluated architecture into the population, unless a value is NaN or infinite."""
        check_values(feedback, self.problem)
        self._seen.add(proposal.architecture.id)
        if feedback.state == "complete" and all(map(math.isfinite, feedback.values)):
            self._alive.append((proposal.architecture, feedback.values))

    def _mutant(self) -> Architecture | None:
        for _ in range(ATTEMPTS):
            parent = encode(self.problem.space, self._parent())
            values = mutate(self.problem.parameters, parent, self._generator)
            child = decode(self.problem.space, values, self.problem.cells)
            if child.id not in self._seen and self.problem.excess(child) <= 0:
                return child
        return None

    def _parent(self) -> Architecture:
        size = min(self._sample, len(self._alive))
        drawn = self._generator.choice(len(self._alive), size=size, replace=False)
        points = np.array([self._alive[index][1] for index in drawn]) * self._signs
        best = drawn[moocore.is_nondominated(points, keep_weakly=True)]
        return self._alive[self._generator.choice(best)][0]
