"""Gaussian processes over a bounded number of results."""

from __future__ import annotations

import warnings

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from nasray.searchers.gaussian import BoundedGP, chosen

WITHIN = {"x": FloatDistribution(0.0, 1.0)}


def study_of(sampler: optuna.samplers.BaseSampler, count: int, *, best: float = 0.9) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    for i in range(count):
        x = (i * 0.618) % 1.0
        study.add_trial(create_trial(value=(x - best) ** 2, params={"x": x}, distributions=dict(WITHIN)))
    return study


def test_up_to_the_bound_it_proposes_what_optuna_does() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = [study_of(kind, 12).ask(dict(WITHIN)).params for kind in (
            optuna.samplers.GPSampler(seed=3, n_startup_trials=5), BoundedGP(most=12, seed=3, n_startup_trials=5)
        )]  # fmt: skip
    assert asked[0] == asked[1]


def test_beyond_it_the_best_and_the_newest_are_modelled_and_what_is_under_way() -> None:
    study = study_of(BoundedGP(most=10, seed=3, n_startup_trials=5), 60)
    values = [trial.value for trial in study.trials]
    some = chosen(study.trials, study.directions, 10)
    assert len(some) == 10
    numbers = {trial.number for trial in some}
    assert set(sorted(range(60), key=lambda place: values[place])[:5]) <= numbers  # type: ignore[arg-type, return-value]
    assert {58, 59} <= numbers
    found = [study.ask(dict(WITHIN)).params["x"] for _ in range(3)]
    assert abs(found[0] - 0.9) < 0.05
    assert len(set(found)) == 3  # it keeps away from what is under way
    assert len(study.get_trials(states=(TrialState.RUNNING,))) == 3


def test_of_several_objectives_the_best_are_those_that_nothing_dominates() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    points = [(0.1 * i, 1.0 * i) for i in range(5)] + [(0.0, 10.0 + i) for i in range(40)]
    study.add_trials(
        [create_trial(values=list(point), params={"x": 0.5}, distributions=dict(WITHIN)) for point in points]
    )
    found = chosen(study.trials, study.directions, 10)
    assert [trial.number for trial in found] == [0, 1, 2, 3, 4, 40, 41, 42, 43, 44]


@pytest.mark.parametrize("most", [7, 8])
def test_there_are_as_many_as_the_bound(most: int) -> None:
    study = study_of(BoundedGP(seed=0), 30)
    assert len(chosen(study.trials, study.directions, most)) == most
