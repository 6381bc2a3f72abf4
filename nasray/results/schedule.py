"""What a population's best member was trained with: the settings in force at each epoch, back through all clones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from nasray.errors import InvalidInput


def schedule(epochs: pd.DataFrame, member: str) -> pd.DataFrame:
    """The epochs that led to a member, one row each, by rising epoch.

    Args:
        epochs: a run's table of this name.
        member: ``trial_id`` of the member, as the column ``member`` of an evaluation has it.

    Returns:
        Columns ``epoch``, ``trial_id`` (the member that was trained then, whose weights were cloned later), a column
        for each setting that the population varies, ``loss`` and ``accuracy`` (fraction).

    Raises:
        InvalidInput: an epoch of a member is missing.
    """
    rows = {(row["trial_id"], int(row["epoch"])): row for row in epochs.to_dict("records")}
    own = [epoch for trial, epoch in rows if trial == member]
    found: list[dict[str, Any]] = []
    for epoch in range(max(own, default=0), 0, -1):
        row = rows.get((member, epoch))
        if row is None or not isinstance(row["in_force"], str):
            raise InvalidInput(f"epoch {epoch} of member {member} of a population: its row is missing.")
        settings = json.loads(row["in_force"])
        found.append(
            {"epoch": epoch, "trial_id": member, **settings, **{name: row[name] for name in ("loss", "accuracy")}}
        )
        member = row["cloned_from"] if isinstance(row["cloned_from"], str) else member
    return pd.DataFrame(found[::-1])


def in_words(frame: pd.DataFrame) -> Iterator[str]:
    """A schedule in lines, one for all epochs in a row with the same settings."""
    names = [name for name in frame.columns if name not in ("epoch", "trial_id", "loss", "accuracy")]
    changed = (frame[names] != frame[names].shift()).any(axis=1).cumsum()
    for _, part in frame.groupby(changed, sort=True):
        first, last, row = part["epoch"].iloc[0], part["epoch"].iloc[-1], part.iloc[0]
        told = ", ".join(f"{n} {row[n]:.4g}" if isinstance(row[n], float) else f"{n} {row[n]}" for n in names)
        yield f"{f'epochs {first} to {last}' if last > first else f'epoch {first}'}: {told}"
