"""Where and how trials run: nothing in it changes a number that they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nasray.tune.reports.trackers import Tracker


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how the trials of a run run."""

    data_root: str | None = None
    """Folder of the dataset; None is the environment's NASRAY_DATA."""
    address: str | None = None
    """Address of the Ray cluster. None is the environment's RAY_ADDRESS, or a Ray of our own on this machine."""
    cpus_per_trial: float = 1.0
    """Cores that a trial reserves."""
    gpus_per_trial: float | Literal["auto"] = 0.0
    """GPUs that a trial reserves. A fraction lets several trials share one; ``auto`` measures how many fit."""
    max_failures: int = 2
    """How often a trial that raises an error is tried again, from its newest checkpoint."""
    trackers: tuple[Tracker, ...] = ()
    """Trackers that are told of every trial: tensorboard, mlflow, wandb, optuna."""
