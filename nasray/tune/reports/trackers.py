"""Optional experiment trackers, and what they receive.

TensorBoard, MLflow and Weights & Biases get every trial through Ray's own callbacks
(:mod:`nasray.tune.reports.tracked`), Optuna's journal of every proposed architecture
(:mod:`nasray.tune.reports.journal`). They receive what a trial is (method, space, dataset, seed, what is varied) and
the numbers that it reports: no architecture, no path, no list. Addresses and secrets come from the trackers' own
environment variables and from nowhere else.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pyarrow import fs

from nasray.errors import InvalidInput
from nasray.runs import Storage
from nasray.spaces.encoding import encode
from nasray.trials.trial import SearchTrial, Trial

Tracker = Literal["tensorboard", "mlflow", "wandb", "optuna"]
_MODULES: dict[Tracker, str] = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb", "optuna": "optuna"}
_TUNES_OWN = frozenset(
    {
        "time_this_iter_s",
        "time_total_s",
        "time_since_restore",
        "iterations_since_restore",
        "timestamp",
        "pid",
        "done",
        "training_iteration",
    }
)
"""What Tune adds to every result. Its count of results starts over with every driver."""


def check_trackers(trackers: tuple[Tracker, ...], storage: Storage) -> None:
    """Refuse trackers that cannot work, before anything runs.

    Raises:
        InvalidInput: a tracker's package is not installed, its environment does not say who writes, or it cannot write
            to the storage.
    """
    for name in trackers:
        if importlib.util.find_spec(_MODULES[name]) is None:
            raise InvalidInput(
                f"tracker {name!r} needs the package {_MODULES[name]!r}: run pip install 'nasray[{name}]'"
            )
    offline = os.environ.get("WANDB_MODE") in ("offline", "disabled")
    if "wandb" in trackers and not offline and not os.environ.get("WANDB_API_KEY"):
        raise InvalidInput(
            "tracker 'wandb' needs an account: set WANDB_API_KEY in the environment, or WANDB_MODE=offline"
        )
    if "optuna" in trackers and local_folder(storage) is None:
        raise InvalidInput(
            f"tracker 'optuna' cannot write to storage {storage}: its journal is appended to, and needs a local folder "
            "or a mount"
        )


def local_folder(storage: Storage) -> Path | None:
    """Where a storage lies on this machine, or on what is mounted here; None where it does not."""
    return Path(storage.base) if isinstance(storage.filesystem, fs.LocalFileSystem) else None


def described(trial: Trial, *, proposed: bool = False) -> dict[str, Any]:
    """What a trial is, as trackers show it.

    Args:
        trial: a search or a training.
        proposed: whether a searcher proposed it, so that its architecture's choices are what varies.
    """
    config = trial.config
    told: dict[str, Any] = {
        "method": trial.method,
        "space": trial.space,
        "dataset": config.dataset,
        "seed": config.seed,
    }
    if isinstance(trial, SearchTrial):
        values = config.to_dict()["settings"]
        return {**told, **{name: values[name] for name in trial.varied if name in values}}
    origin = trial.origin
    told |= {"architecture_id": trial.architecture.id, "search_trial_id": origin.search_trial_id}
    told |= {"baseline_of": origin.baseline_of, **origin.knobs}
    if proposed:
        told |= encode(config.cell_space, trial.architecture)
    return {name: value for name, value in told.items() if value is not None}


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """What trackers show of a result: its finite numbers."""
    return {
        name: value
        for name, value in result.items()
        if isinstance(value, (int, float)) and not name.startswith("config") and name not in _TUNES_OWN
        if math.isfinite(value)
    }
