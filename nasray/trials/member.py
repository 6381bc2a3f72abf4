"""A member of a population: what it goes on with, and what it came to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nasray.runs.storage import Storage
from nasray.trials.checkpoints import DamagedState, checkpoint_at, unpack
from nasray.trials.evaluation import Evaluation
from nasray.trials.population import RESULTS, in_force, read_clones
from nasray.trials.rows import evaluation_row
from nasray.trials.trial import TrainingTrial

OWN = ("curve",)
"""Of a state: what stays a member's own when it takes over another one's."""


def continued(
    storage: Storage, trial: TrainingTrial, state: dict[str, Any], say: Callable[..., None]
) -> tuple[TrainingTrial, dict[str, Any], str | None]:
    """What a member goes on with: the training with the settings in force, a state, and whose that is if not its own.

    Args:
        storage: the run's folder.
        trial: the member, with the settings that it began with.
        state: its own newest one.
        say: called with messages for the user.

    Raises:
        DamagedState: the state is none of a training.
    """
    if not {"epoch", *OWN} <= state.keys():
        raise DamagedState("it is of another trial")
    clones, epoch = read_clones(storage), state["epoch"]
    now = with_settings(trial, in_force(clones, trial.name, epoch))
    clone = clones.get(epoch, {}).get(trial.name)
    if clone is None:
        return now, state, None
    try:
        taken = unpack(checkpoint_at(storage, clone.source, epoch))
    except (FileNotFoundError, DamagedState) as error:
        say("warning", "checkpoint_damaged", reason=f"{clone.source}: {error}", used="its own, with the new settings")
        return now, state, None
    return now, {**taken, **{name: state[name] for name in OWN}}, clone.source


def with_settings(trial: TrainingTrial, settings: dict[str, Any]) -> TrainingTrial:
    """The same training with some other settings."""
    return replace(trial, config=replace(trial.config, settings=replace(trial.config.settings, **settings)))


def figures(trial: TrainingTrial, running: Evaluation, source: str | None) -> dict[str, Any]:
    """What the row of an epoch says of a member beside what it says of every training.

    Args:
        trial: the member.
        running: the same, with the settings that were in force.
        source: whose weights it took over just before.
    """
    assert trial.population is not None
    values = {name: getattr(running.config.settings, name) for name in trial.population.varied}
    return {"in_force": json.dumps(values), "cloned_from": source}


def write_result(storage: Storage, trial: TrainingTrial, running: Evaluation) -> None:
    """Write down what a member came to, with its weights: only the best of all members becomes a row."""
    storage.write_json(f"{RESULTS}/{trial.name}.json", evaluation_row(storage, trial, running))


def read_result(storage: Storage, trial: TrainingTrial) -> dict[str, Any] | None:
    """What a member came to; None where it has not come to its end."""
    name = f"{RESULTS}/{trial.name}.json"
    return storage.read_json(name) if storage.exists(name) else None
