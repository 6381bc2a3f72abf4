"""Learning curves: a trial's epochs on their way into the table ``epochs``.

A file for each epoch would be more than the rest of a run together. A trial has one file for hundreds of epochs, which
it writes anew every few seconds, at rungs and at its end; what is newer than the file lies in the trial's checkpoint.
So a kill loses no epoch, and one that is done again is the same row.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from nasray import registry
from nasray.runs import EPOCHS, Storage, write_rows
from nasray.runs.schema import EVALUATION, SEARCH
from nasray.spaces.metric import metric_of_task
from nasray.trials.trial import SearchTrial, Trial

FILE_EPOCHS = 500
"""Epochs of a trial that one file holds at most."""
SECONDS = 10.0
"""From one writing of a file to the next, while a trial runs."""

_FIGURES = frozenset(EPOCHS.names) - {"schema_version", "created_at"}


class LearningCurve:
    """The epochs of one trial.

    Args:
        storage: the run's folder.
        trial: whose epochs they are.
    """

    def __init__(self, storage: Storage, trial: Trial) -> None:
        self._storage, self._trial = storage, trial
        self.rows: list[dict[str, Any]] = []
        """Those of the file that is being written: what varies from epoch to epoch, as plain values."""
        self._written = time.monotonic()

    def add(self, report: dict[str, Any], *, now: bool) -> None:
        """Take an epoch's figures, and write the file if it is time to.

        Args:
            report: figures by name, of which the table's columns are taken.
            now: whether to write it in any case.

        Raises:
            StorageFailure: the file cannot be written.
        """
        epoch = int(report["epoch"])
        figures = {name: value for name, value in report.items() if name in _FIGURES}
        if "active_operations" in figures:
            figures["active_operations"] = int(figures["active_operations"])
        if self.rows and _first(self.rows[0]["epoch"]) < _first(epoch):
            self.rows = []  # a file that is full was written when its last epoch was done
        self.rows.append({**figures, "created_at": time.time()})
        if now or epoch + 1 == _first(epoch + 1) or time.monotonic() - self._written >= SECONDS:
            self.write()

    def write(self) -> None:
        """Write what there is.

        Raises:
            StorageFailure: the file cannot be written.
        """
        if self.rows:
            shared = self._shared()
            name = f"{self._trial.name}-{_first(self.rows[0]['epoch']):06d}"
            write_rows(self._storage, EPOCHS, name, [{**shared, **_timed(row)} for row in self.rows])
        self._written = time.monotonic()

    def take(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take back rows that a checkpoint held."""
        self.rows = [dict(row) for row in rows]

    def _shared(self) -> dict[str, Any]:
        trial, config = self._trial, self._trial.config
        return {
            "run": trial.run,
            "trial_id": trial.name,
            "kind": SEARCH if isinstance(trial, SearchTrial) else EVALUATION,
            "method": trial.method,
            "space": registry.portable(config.space),
            "dataset": registry.portable(config.dataset),
            "seed": config.seed,
            "architecture_id": None if isinstance(trial, SearchTrial) else trial.architecture.id,
            "metric": metric_of_task(config.cell_space.task).name,
        }


def _first(epoch: int) -> int:
    """The first epoch in the file that holds an epoch."""
    return (epoch - 1) // FILE_EPOCHS * FILE_EPOCHS + 1


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "created_at": datetime.fromtimestamp(row["created_at"], UTC)}
