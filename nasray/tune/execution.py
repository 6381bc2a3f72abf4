"""Where and how a sweep runs. Nothing in here may change a number: a resumed run may have another execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from nasray.errors import InvalidInput, shown
from nasray.settings import as_tuple, check_fields, check_number
from nasray.tune.reports.trackers import Tracker


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Storage, cluster, resources of a trial, retries, trackers and output: what is no part of a run's identity.

    Raises:
        InvalidInput: a value that is not accepted.
    """

    storage: str = field(default="runs", metadata={"unit": "DIR"})
    """Folder of all runs: a path, or a URI as s3://, gs:// (pyarrow's file systems)."""
    data_root: str | None = field(default=None, metadata={"unit": "DIR"})
    """Folder of the dataset. None means the environment variable NASRAY_DATA."""
    address: str | None = None
    """Address of a running Ray cluster. None means the environment variable RAY_ADDRESS, and without that a Ray of the
    sweep's own on this machine."""
    cpus_per_trial: float = 1.0
    """CPU cores that each trial reserves."""
    gpus_per_trial: float | Literal["auto"] = 0.0
    """GPUs that each trial reserves; with a fraction, several trials share one. ``auto`` measures the largest trial on
    one of the cluster's GPUs and shares a GPU among as many as fit its memory. Look-ups in a table take none."""
    max_failures: int = 2
    """How often a failed trial is retried from its last checkpoint."""
    trackers: tuple[Tracker, ...] = ()
    """Experiment trackers that follow the trials: tensorboard, mlflow, wandb, and optuna (the journal that
    optuna-dashboard shows)."""
    quiet: bool = False
    """Print only the result and errors."""

    def __post_init__(self) -> None:
        for name, optional in (("storage", False), ("data_root", True), ("address", True)):
            value = getattr(self, name)
            if not (isinstance(value, str) or (optional and value is None)):
                raise InvalidInput(f"{name} {shown(value)}: expected text{', or none' if optional else ''}")
            if value == "" and name == "storage":
                raise InvalidInput("storage '': expected a folder, or its URI")
        check_number("cpus_per_trial", self.cpus_per_trial, low=0.01)
        if self.gpus_per_trial != "auto":
            check_number("gpus_per_trial", self.gpus_per_trial, low=0.0, words="auto or ")
        check_number("max_failures", self.max_failures, low=0, whole=True)
        if not isinstance(self.quiet, bool):
            raise InvalidInput(f"quiet {shown(self.quiet)}: expected true or false")
        object.__setattr__(self, "trackers", as_tuple("trackers", self.trackers))
        different = len(set(self.trackers)) == len(self.trackers)
        if not set(self.trackers) <= set(get_args(Tracker)) or not different:
            raise InvalidInput(f"trackers {self.trackers}: expected distinct ones of {', '.join(get_args(Tracker))}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Execution:
        """An execution from JSON's values.

        Raises:
            InvalidInput: a field that an execution does not have, or a value that is not accepted.
        """
        check_fields("execution", cls, values)
        return cls(**{**values, "trackers": tuple(values.get("trackers", ()))})
