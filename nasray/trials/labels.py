"""What a trial is in a few words, for people: what it runs, and what varies in it."""

from __future__ import annotations

from typing import Any

from nasray import registry
from nasray.trials.trial import SearchTrial, Trial


def varied_settings(trial: Trial) -> dict[str, Any]:
    """The settings by which a trial differs from the others of its sweep: of a training those of its search."""
    if not isinstance(trial, SearchTrial):
        return dict(trial.origin.knobs)
    values = trial.config.to_dict()["settings"]
    return {name: values[name] for name in trial.varied if name in values}


def kind_of(trial: Trial) -> str:
    """``Search``, ``Training`` or ``Lookup``."""
    if isinstance(trial, SearchTrial):
        return "Search"
    return "Lookup" if trial.is_looked_up else "Training"


def label(trial: Trial) -> str:
    """Method, space, varied settings and seed: ``gold_nas on gold, lambda0 0.01, seed 0``."""
    told = [f"{trial.method} on {registry.portable(trial.space)}"]
    if not isinstance(trial, SearchTrial):
        baseline = " (random baseline)" if trial.origin.baseline_of else ""
        told = [f"{trial.architecture.id[:8]} of {trial.method}{baseline}"]
        if trial.population is not None:
            told = [f"{trial.architecture.id[:8]} in a population of {trial.population.members}"]
    settings = varied_settings(trial)
    told += [f"{name} {_short(value)}" for name, value in settings.items() if name != "seed"]
    return ", ".join([*told, f"seed {trial.config.seed}"])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:40]
