"""Optuna's sampler by Gaussian processes, with a bound on what it models.

Making a proposal takes time that grows with the third power of the results that are modelled, and memory with the
second: for NAS-Bench-201 (six parameters, two objectives) 2.6 s on one core with 500 of them, 11 s with 1,000; at that
rate hours with 10,000. Of more than :data:`MOST` results it is shown half as many that are best, and of the others the
newest (our choice): the former say where better ones may be, the latter keep it from what has just been tried.
"""

from __future__ import annotations

from typing import Any

import moocore
import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MOST = 500
"""Results that are modelled at once."""


class BoundedGP(GPSampler):
    """Gaussian processes over at most so many results.

    Args:
        most: how many.
        given: as of Optuna's sampler.
    """

    def __init__(self, *, most: int = MOST, **given: Any) -> None:
        super().__init__(**given)
        self._most = most

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the sampler proposes, as Optuna calls for it; where there are too many results, by a study of some."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) <= self._most:
            return super().sample_relative(study, trial, search_space)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        some = optuna.create_study(directions=study.directions, sampler=RandomSampler(seed=0))
        some.add_trials(chosen(complete, study.directions, self._most))
        some.add_trials([one for one in running if one.number != trial.number])
        asked = some.ask()
        return super().sample_relative(some, some.get_trials(deepcopy=False)[asked.number], search_space)


def chosen(trials: list[FrozenTrial], directions: list[StudyDirection], most: int) -> list[FrozenTrial]:
    """So many trials: half of them the best, by non-dominated rank and then the newest; the others the newest."""
    signs = np.array([-1.0 if one is StudyDirection.MAXIMIZE else 1.0 for one in directions])
    points = np.array([trial.values for trial in trials]) * signs
    ranks = moocore.pareto_rank(points) if len(directions) > 1 else points[:, 0]
    newest_first = np.arange(len(trials))[::-1]
    best_first = newest_first[np.argsort(ranks[newest_first], kind="stable")]
    best = set(best_first[: most // 2].tolist())
    others = [place for place in newest_first.tolist() if place not in best][: most - len(best)]
    return [trials[place] for place in sorted({*best, *others})]
