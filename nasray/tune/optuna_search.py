"""Optuna's samplers for several objectives under Ray Tune, with an honest view of what trials came to.

Tune's own ``OptunaSearch`` tells Optuna that a trial which a scheduler stopped early is complete, with the metrics of
the epoch at which it was stopped, and knows no constraints. This subclass tells such a trial as pruned, and budgets
as constraints of the trial.

This file imports nothing else of nasray and works in any run of Ray Tune.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

_logger = logging.getLogger(__name__)

SAMPLERS = ("random", "tpe", "gp", "nsga2", "nsga3")
"""Names of Optuna's samplers for several objectives."""


def named_sampler(name: str, seed: int | None = None) -> BaseSampler:
    """One of Optuna's samplers with Optuna's settings, but for TPE, which models its parameters jointly.

    One by one, as it does by default, the parameters of an architecture come back in few combinations: of 1,000
    proposals for NAS-Bench-201 some 250 were different, and their front was no better than a random one.

    Args:
        name: one of :data:`SAMPLERS`. ``gp`` costs seconds a trial once there are hundreds of trials; ``nsga3`` is
            experimental in Optuna, which is said here and not at every use.
        seed: of its random numbers; None draws one.

    Raises:
        ValueError: another name.
    """
    match name:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        case "nsga3":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.samplers.NSGAIIISampler(seed=seed)
    raise ValueError(f"sampler {name!r}: accepted are {', '.join(SAMPLERS)}")


class ParetoOptunaSearch(OptunaSearch):
    """A searcher of Ray Tune that proposes by a sampler of Optuna, for one or more objectives.

    At its end a trial is told to Optuna as

    - complete, with its metrics, if its ``time_attr`` reached ``max_t``;
    - pruned, without values, if it was stopped before: its metrics belong to another fidelity;
    - failed, if it raised an error, or a metric or bounded quantity is missing or not a number.

    With every complete or pruned trial its constraints are told: how far each bounded quantity lies above its bound.
    Samplers prefer trials without violations, and ``study.best_trials`` leaves the others out.

    The state is saved and restored with the run, as Tune does with every searcher; the sampler's random numbers go on
    where they were.

    Args:
        space: Optuna's distributions by name, or None to convert Tune's ``param_space``. Names have no slashes, which
            Tune takes for nesting.
        metrics: names of the objectives in a result.
        modes: "min" or "max" for each.
        max_t: ``time_attr`` of a complete trial.
        time_attr: what counts the progress of a trial in a result.
        sampler: one of :data:`SAMPLERS`, or a sampler of Optuna.
        seed: of a sampler given by name; None draws one.
        upper_bounds: quantities in a result to the largest value that is accepted ("macs": 300.0). They need not be
            objectives, and must be in every result.
        storage: where Optuna keeps the study; None is in memory (and in the state that Tune saves).
        study_name: name of the study in a storage.
        points_to_evaluate: parameters to be tried first.

    Raises:
        ValueError: an argument that does not fit; later, a result without a bounded quantity.
    """

    def __init__(
        self,
        space: Mapping[str, optuna.distributions.BaseDistribution] | None = None,
        *,
        metrics: Sequence[str],
        modes: Sequence[Literal["min", "max"]],
        max_t: float,
        time_attr: str = "training_iteration",
        sampler: str | BaseSampler = "tpe",
        seed: int | None = None,
        upper_bounds: Mapping[str, float] | None = None,
        storage: optuna.storages.BaseStorage | None = None,
        study_name: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if isinstance(metrics, str) or not metrics or len(set(metrics)) < len(metrics):
            raise ValueError(f"metrics {metrics!r}: accepted is a sequence of one or more different names")
        if isinstance(modes, str) or len(modes) != len(metrics) or not set(modes) <= {"min", "max"}:
            raise ValueError(f"modes {modes!r}: accepted are 'min' or 'max' for each of {len(metrics)} metrics")
        if seed is not None and not isinstance(sampler, str):
            raise ValueError(f"seed {seed} beside a sampler: accepted is one beside a sampler's name")
        self.max_t = max_t
        self.time_attr = time_attr
        self.upper_bounds = dict(upper_bounds or {})
        super().__init__(
            space=None if space is None else dict(space),
            metric=list(metrics),
            mode=list(modes),
            sampler=named_sampler(sampler, seed) if isinstance(sampler, str) else sampler,
            storage=storage,
            study_name=study_name,
            points_to_evaluate=[dict(point) for point in points_to_evaluate],
        )

    @property
    def study(self) -> optuna.Study:
        """Optuna's study.

        Raises:
            ValueError: the run that converts the param space has not begun.
        """
        if self._ot_study is None:
            raise ValueError("study of a searcher without a space: accepted is one with a space, or in a run")
        return self._ot_study

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Check that every bounded quantity is there; Optuna takes no results of several objectives on the way."""
        missing = [name for name in self.upper_bounds if name not in result]
        if missing:
            raise ValueError(f"result of trial {trial_id} without {missing[0]!r}, which has an upper bound")

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna what the trial came to, once."""
        if trial_id in self._completed_trials:
            return
        if trial_id not in self._ot_trials:
            _logger.warning("trial %s was not proposed by this searcher: Optuna is not told of it", trial_id)
            return
        trial = self._ot_trials[trial_id]
        state = trial_state(
            result,
            error=error,
            metrics=self.metric,
            time_attr=self.time_attr,
            max_t=self.max_t,
            upper_bounds=self.upper_bounds,
        )
        if result and state is not TrialState.FAIL:
            self._tell_constraints(trial, result)
        values = [float(result[name]) for name in self.metric] if result and state is TrialState.COMPLETE else None
        self.study.tell(trial, values, state=state, skip_if_finished=True)
        self._completed_trials.add(trial_id)

    def _tell_constraints(self, trial: optuna.Trial, result: Mapping[str, Any]) -> None:
        # After a kill a storage may be newer than the restored searcher, and have been told already.
        told = trial.constraints
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            for name, bound in self.upper_bounds.items():
                if name not in told:
                    trial.set_constraint(name, float(result[name]) - bound)


def trial_state(
    result: Mapping[str, Any] | None,
    *,
    error: bool,
    metrics: Sequence[str],
    time_attr: str,
    max_t: float,
    upper_bounds: Mapping[str, float],
) -> TrialState:
    """What an ended trial is to Optuna: see :class:`ParetoOptunaSearch`, whose arguments these are.

    Args:
        result: the trial's last one.
        error: whether it raised an error.
    """
    if error:
        return TrialState.FAIL
    if not result:  # ended before it began
        return TrialState.PRUNED
    if any(_is_missing(result, name) for name in (time_attr, *upper_bounds)):
        return TrialState.FAIL
    if result[time_attr] < max_t:
        return TrialState.PRUNED
    return TrialState.FAIL if any(_is_missing(result, name) for name in metrics) else TrialState.COMPLETE


def _is_missing(result: Mapping[str, Any], name: str) -> bool:
    value = result.get(name)
    return value is None or math.isnan(value)
