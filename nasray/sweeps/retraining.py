"""Searches that a searcher is told of once what they found was trained from scratch: in rounds.

A round is a quarter of an arm's searches. None of them is told before all have ended, and the networks that each found
are trained; the searcher knows that they are under way. So what it learns from is the accuracy that the front is of, at
the price of more trainings than those of the final front.
"""

from __future__ import annotations

import json
import math
from functools import partial

import pandas as pd

from nasray import registry
from nasray.runs import CANDIDATES, EVALUATIONS, Storage, read
from nasray.runs.outcomes import Point
from nasray.sweeps.learning import Learner
from nasray.sweeps.selection import candidate_trials, chosen, final, proposed_training
from nasray.sweeps.sweep import Sweep
from nasray.trials.trial import TrainingTrial
from nasray.tune.phase import Late

_ROUNDS = 4


def rounds(sweep: Sweep, learner: Learner) -> list[int]:
    """How many searches a learner has made by the end of each of its rounds: of one round, where it is told of each
    search by inherited weights."""
    if sweep.worth_by == "inherited" or learner.fill is not None:
        return [learner.searches]
    size = math.ceil(learner.searches / _ROUNDS)
    return [*range(size, learner.searches, size), learner.searches]


def late(sweep: Sweep, made: int) -> Late:
    """What a searcher is told in a round.

    Args:
        sweep: of the searches.
        made: searches in the rounds before.
    """
    return Late(after=made, points=partial(_retrained, sweep))


def found_trainings(sweep: Sweep, learner: Learner, storage: Storage) -> list[TrainingTrial]:
    """Trainings of what a learner's searches found so far: of each search what would be selected of it alone, and its
    final architecture where that is what it is worth."""
    rows = read(storage, CANDIDATES)
    if not len(rows):
        return []
    own = rows["told"].notna() & (rows["seed"] == learner.seeds[0])
    own &= rows["method"] == registry.portable(learner.arm.method)
    by_search = [found for _, found in rows[own].groupby("trial_id", sort=True)]
    selected = [chosen(sweep, found) for found in by_search]
    if sweep.worth == "final":  # which may lie on no front
        selected += [final(found) for found in by_search]
    return candidate_trials(sweep, pd.concat(selected), baselines=False) if selected else []


def _retrained(sweep: Sweep, storage: Storage) -> dict[str, list[Point]]:
    """Multiply-adds (M) and mean accuracy over seeds of what each search found and was trained from scratch."""
    candidates, rows = read(storage, CANDIDATES), read(storage, EVALUATIONS)
    if not len(candidates) or not len(rows):
        return {}
    rows = rows[rows["complete"] & sweep.fidelity.holds(rows["settings"])]
    trained = rows.groupby(["architecture_id", "settings"]).agg(macs=("macs", "first"), accuracy=("accuracy", "mean"))
    came_to = {key: (float(macs), float(accuracy)) for key, macs, accuracy in trained.itertuples()}
    found: dict[str, list[Point]] = {}
    for row in candidates.sort_values(["trial_id", "epoch", "snapshot"], kind="stable").to_dict("records"):
        settings = sweep.table.settings if sweep.table else json.dumps(proposed_training(sweep, row).to_dict())
        if (row["architecture_id"], settings) in came_to:
            found.setdefault(row["trial_id"], []).append(came_to[row["architecture_id"], settings])
    return found
