"""Rungs filled again: what trainings showed there, from their rows that are not complete."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nasray.runs import EVALUATIONS, Storage, read
from nasray.runs.outcomes import Outcome
from nasray.tune.pareto_asha import Record
from nasray.tune.phase import Phase

NameOf = Callable[[Mapping[Any, Any]], str | None]
"""The name of the trial that left a row; None where it is of another phase."""


def records(phase: Phase, storage: Storage, outcomes: Mapping[str, Outcome], name_of: NameOf) -> list[Record]:
    """What a phase's trials showed at its rungs, in the order in which they came there.

    Args:
        phase: with rungs.
        storage: the run's folder.
        outcomes: of the phase's trials; they show what was stopped.
        name_of: tells the phase's rows from others.
    """
    rows = read(storage, EVALUATIONS)
    if not len(rows):
        return []
    at_rungs = rows[rows["epochs"].isin(phase.rungs[:-1]) & phase.fidelity.holds(rows["settings"])]
    found = []
    for row in at_rungs.sort_values("created_at", kind="stable").to_dict("records"):
        name = name_of(row)
        if name is not None:
            # A cost that the table lacks of every architecture so far has no column.
            values = tuple(float(row.get(metric, math.nan)) for metric in phase.compared_by)
            found.append(Record(name, row["epochs"], values, _stopped(outcomes.get(name), row["epochs"])))
    return found


def names_of_known(phase: Phase) -> NameOf:
    """For a phase whose trials are known."""
    names = {
        (trial.architecture.id, trial.method, trial.config.seed, trial.settings): trial.name
        for trial in phase.trainings
    }
    return lambda row: names.get((row["architecture_id"], row["method"], int(row["seed"]), row["settings"]))


def _stopped(outcome: Outcome | None, rung: float) -> bool | None:
    """Whether a trial was stopped at a rung; None where that was not decided, or not written down."""
    if outcome is None or outcome.is_open:
        return None
    return outcome.state == "stopped" and outcome.epoch <= rung
