"""Rungs: which trials are compared there, and how they are filled again from what the run's folder holds.

Of a training it is the row that it left there, not complete; of a search its epoch's row in the learning curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

import pandas as pd

from nasray.runs import EPOCHS, EVALUATIONS, Storage, read
from nasray.runs.outcomes import Outcome
from nasray.runs.schema import SEARCH
from nasray.tune.pareto_asha import Record
from nasray.tune.phase import Phase

NameOf = Callable[[Mapping[Any, Any]], str | None]
"""The name of the trial that left a row; None where it is of another phase."""


def group_of(phase: Phase) -> Callable[[str], Hashable] | None:
    """What gives the group of a trial of a phase, in which it is compared; None where all are one.

    Searches are compared with those of their own method, space and seed. Accuracies of two methods' supernets, which
    mix operations in ways of their own, do not say which will give the better architectures; and seeds are there to be
    averaged over, which those left over by a selection among them could not be.
    """
    if phase.kind != "searches" or phase.proposing is not None:
        return None
    groups = {trial.name: (trial.method, trial.space, trial.config.seed) for trial in phase.trials}
    return groups.get


def records(phase: Phase, storage: Storage, outcomes: Mapping[str, Outcome], name_of: NameOf) -> list[Record]:
    """What a phase's trials showed at its rungs, in the order in which they came there.

    Args:
        phase: with rungs.
        storage: the run's folder.
        outcomes: of the phase's trials; they show what was stopped.
        name_of: tells the phase's rows from others, where its trials are trainings.
    """
    if phase.kind == "searches":
        names = {*outcomes, *(trial.name for trial in phase.trials)}
        at_rungs = _of_searches(phase, read(storage, EPOCHS), names)
        name_of = _trial_of_epoch
    else:
        at_rungs = _of_trainings(phase, read(storage, EVALUATIONS))
    found = []
    for row in at_rungs.sort_values("created_at", kind="stable").to_dict("records"):
        name = name_of(row)
        if name is not None:
            # A cost that the table lacks of every architecture so far has no column.
            values = tuple(float(row.get(metric, math.nan)) for metric in phase.compared_by)
            found.append(Record(name, row["rung"], values, _stopped(outcomes.get(name), row["rung"])))
    return found


def names_of_known(phase: Phase) -> NameOf:
    """For a phase whose trials are known."""
    names = {
        (trial.architecture.id, trial.method, trial.config.seed, trial.settings): trial.name
        for trial in phase.trainings
    }
    return lambda row: names.get((row["architecture_id"], row["method"], int(row["seed"]), row["settings"]))


def _of_trainings(phase: Phase, rows: pd.DataFrame) -> pd.DataFrame:
    if not len(rows):
        return rows
    held = rows["epochs"].isin(phase.rungs[:-1]) & phase.fidelity.holds(rows["settings"])
    return rows[held].rename(columns={"epochs": "rung"})


def _of_searches(phase: Phase, rows: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    held = (rows["kind"] == SEARCH) & rows["trial_id"].isin(list(names)) & rows["epoch"].isin(phase.rungs[:-1])
    return rows[held].rename(columns={"epoch": "rung"})


def _trial_of_epoch(row: Mapping[Any, Any]) -> str:
    return str(row["trial_id"])


def _stopped(outcome: Outcome | None, rung: float) -> bool | None:
    """Whether a trial was stopped at a rung; None where that was not decided, or not written down."""
    if outcome is None or outcome.is_open:
        return None
    return outcome.state == "stopped" and outcome.epoch <= rung
