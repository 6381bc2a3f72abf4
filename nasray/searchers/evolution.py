"""Regularised evolution for several objectives, over the architectures of a space.

E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019,
arXiv:1802.01548: of a population, a sample is drawn, the best of it is mutated, and with every newcomer the oldest
dies. With several objectives the best of a sample is a random one of those that no other of it dominates (our choice):
the first by non-dominated rank and then by an epsilon-net with a random seed, as in :mod:`nasray.tune.pareto_asha`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import moocore
import numpy as np

from nasray.errors import InvalidInput
from nasray.spaces import Architecture, CellSpace
from nasray.spaces.encoding import decode, draw, encode, mutate, parameters

Violation = Callable[[Architecture], float]
"""How far an architecture lies above a budget; accepted are those of zero and below."""

_ATTEMPTS = 200
"""Mutants, and then random draws, that are tried for a new one."""

_STEPS = 5_000
"""Mutations by which a random architecture is brought within the budget."""


class RegularisedEvolution:
    """A population of architectures that is asked for the next one to evaluate, and told what it was worth.

    No architecture is proposed twice, also not while its evaluation goes on; several may go on at once.

    A budget is never exceeded. A random architecture above it is mutated, one step after another that leads no
    further away, until it meets the budget; of mutants those above it are passed over.

    Args:
        space: the space.
        num_cells: cells of the network, where every position has a choice of its own.
        modes: "min" or "max" for every objective.
        violation: of the budget; None is without one.
        population: P: how many of the last told architectures are alive.
        sample: S: how many of them are drawn, of which one is the parent. It may be all of them: with several
            objectives there are always many to choose from.
        initial: how many architectures are drawn at random before the first is mutated. Fewer than the population (our
            choice): with 20 the first hundred evaluations bring more.
        seed: of all draws.

    Raises:
        InvalidInput: a number below 1, or a mode that is neither "min" nor "max".
    """

    def __init__(
        self,
        space: CellSpace,
        num_cells: int,
        modes: Sequence[Literal["min", "max"]],
        *,
        violation: Violation | None = None,
        population: int = 100,
        sample: int = 100,
        initial: int = 20,
        seed: int = 0,
    ) -> None:
        for name, value in (("population", population), ("sample", sample), ("initial", initial)):
            if value < 1:
                raise InvalidInput(f"{name} {value}: accepted are whole numbers from 1 up")
        if isinstance(modes, str) or not modes or not set(modes) <= {"min", "max"}:
            raise InvalidInput(f"modes {modes!r}: accepted are 'min' or 'max' for every objective")
        self.space = space
        self.num_cells = num_cells
        self.sample = sample
        self.initial = initial
        self._signs = [1.0 if mode == "min" else -1.0 for mode in modes]
        self._violation = violation
        self._parameters = parameters(space, num_cells)
        self._generator = np.random.default_rng(seed)
        self._alive: deque[tuple[Architecture, tuple[float, ...]]] = deque(maxlen=population)
        self._seen: set[str] = set()

    def ask(self) -> Architecture | None:
        """An architecture that was neither asked for nor told before, or None where no further one was found.

        Raises:
            InvalidInput: no architecture within the budget was found.
        """
        found = self._mutant() if self._alive and len(self._seen) >= self.initial else None
        found = found or self._drawn()
        if found is not None:
            self._seen.add(found.id)
        return found

    def tell(self, architecture: Architecture, values: Sequence[float]) -> None:
        """Take an evaluated architecture, asked for or not, into the population. One with a value that is NaN or
        infinite is not taken.

        Raises:
            InvalidInput: another number of values than of objectives.
        """
        if len(values) != len(self._signs):
            raise InvalidInput(f"{len(values)} values: accepted are {len(self._signs)}, one for every objective")
        self._seen.add(architecture.id)
        if all(math.isfinite(value) for value in values):
            self._alive.append((architecture, tuple(map(float, values))))

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`ask` depends on, as JSON holds it."""
        return {
            "alive": [[architecture.to_json(), list(values)] for architecture, values in self._alive],
            "seen": sorted(self._seen),
            "generator": self._generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._alive.clear()
        self._alive += [(Architecture.from_json(self.space, text), tuple(values)) for text, values in state["alive"]]
        self._seen = set(state["seen"])
        self._generator.bit_generator.state = state["generator"]

    def _mutant(self) -> Architecture | None:
        for _ in range(_ATTEMPTS):
            parent = encode(self.space, self._parent())
            child = self._decode(mutate(self._parameters, parent, self._generator))
            if child.id not in self._seen and self._excess(child) <= 0:
                return child
        return None

    def _parent(self) -> Architecture:
        size = min(self.sample, len(self._alive))
        drawn = self._generator.choice(len(self._alive), size=size, replace=False)
        points = np.array([self._alive[index][1] for index in drawn]) * self._signs
        best = drawn[moocore.is_nondominated(points, keep_weakly=True)]
        return self._alive[self._generator.choice(best)][0]

    def _drawn(self) -> Architecture | None:
        for _ in range(_ATTEMPTS):
            values = draw(self._parameters, self._generator)
            found = self._decode(values)
            excess = self._excess(found)
            for _ in range(_STEPS):
                if excess <= 0:
                    break
                nearby = mutate(self._parameters, values, self._generator)
                candidate = self._decode(nearby)
                if (its := self._excess(candidate)) <= excess:
                    values, found, excess = nearby, candidate, its
            else:
                raise InvalidInput(
                    f"budget that no architecture of {self.space.name!r} was found to meet, by {excess:.6g}: accepted "
                    "is a larger one"
                )
            if found.id not in self._seen:
                return found
        return None

    def _decode(self, values: Mapping[str, Any]) -> Architecture:
        return decode(self.space, values, self.num_cells)

    def _excess(self, architecture: Architecture) -> float:
        return 0.0 if self._violation is None else self._violation(architecture)
