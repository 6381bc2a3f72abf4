"""TensorBoard, MLflow and Weights & Biases, told of a phase's trials through Ray's own callbacks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.logger import LoggerCallback

from nasray.errors import reason
from nasray.runs import Storage
from nasray.runs.events import say
from nasray.trials.running import BEGUN, EPOCH
from nasray.trials.trial import Trial
from nasray.tune.reports.trackers import Tracker, described, local_folder, numbers
from nasray.tune.trainable import trial_of_config

KEY = "WANDB_API_KEY"


def _tensorboard(run: str, phase: str) -> Any:
    from ray.tune.logger import TBXLoggerCallback

    logging.getLogger("tensorboardX").setLevel(logging.ERROR)
    return TBXLoggerCallback()  # type: ignore[no-untyped-call]


def _mlflow(run: str, phase: str) -> Any:
    from mlflow.tracking import MlflowClient
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    address = os.environ.get("MLFLOW_TRACKING_URI")

    class Resuming(MLflowLoggerCallback):
        """A trial that another driver resumes stays the same MLflow run."""

        def log_trial_start(self, trial: TuneTrial) -> None:
            if trial not in self._trial_runs:
                own = {**(self.tags or {}), "trial_name": str(trial)}
                known = MlflowClient(address).search_runs(
                    [str(self.mlflow_util.experiment_id)],
                    " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in own.items()),
                )
                if known:
                    self._trial_runs[trial] = known[0].info.run_id
            super().log_trial_start(trial)

    return Resuming(
        tracking_uri=address,
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", run),
        tags={"run": run, "phase": phase},
    )


def _wandb(run: str, phase: str) -> Any:
    import wandb
    from ray.air.integrations.wandb import WandbLoggerCallback

    class Discreet(WandbLoggerCallback):
        """Ray's callback hands the key to its processes in their runtime environment, which Ray writes into its logs,
        and no other variable of W&B's: here all of them are an argument of theirs."""

        def log_trial_start(self, trial: TuneTrial) -> None:
            settings = wandb.Settings()
            settings.update_from_env_vars(dict(os.environ))
            self.kwargs["settings"] = settings
            key = os.environ.pop(KEY, None)
            try:
                super().log_trial_start(trial)
            finally:
                if key is not None:
                    os.environ[KEY] = key

    project = os.environ.get("WANDB_PROJECT", "nasray")
    return Discreet(project=project, group=run, job_type=phase, resume="allow")


_MAKERS: dict[Tracker, Callable[[str, str], Any]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}


class TrackerCallback(LoggerCallback):
    """Tells one tracker of a phase's trials, in short.

    A tracker that fails is left out for the rest of the phase, which is reported once, and harms no run.

    Args:
        tracker: one for which Ray has a callback.
        run: name of the run: experiment, group or folder at the tracker.
        phase: of the run.
        storage: the run's folder. Where it is on this machine or mounted, files of TensorBoard and W&B lie there as
            they are written; elsewhere Tune copies them beside the trials from time to time.
        trials: those of the pass by their names, as far as they are known.
        shared: what all proposed trials of the phase have beside what is proposed.
    """

    def __init__(
        self,
        tracker: Tracker,
        run: str,
        phase: str,
        storage: Storage,
        trials: Mapping[str, Trial] | None = None,
        shared: Trial | None = None,
    ) -> None:
        self.tracker = tracker
        self.run = run
        self.phase = phase
        folder = local_folder(storage)
        self.folder = None if folder is None else folder / tracker / phase
        self.trials = dict(trials or {})
        self.shared = shared
        self._inner: Any = None
        """Made in the driver, for it may hold what cannot be pickled."""
        self._shown: dict[str, _Shown] = {}
        """What is shown of the trials that have begun and not ended, by their ids."""

    def setup(self, *arguments: Any, **info: Any) -> None:
        """Called by Tune before the first trial."""

        def begin() -> None:
            inner = _MAKERS[self.tracker](self.run, self.phase)
            inner.setup(*arguments, **info)
            self._inner = inner

        self._safely(begin)

    def log_trial_start(self, trial: TuneTrial) -> None:
        """Called by Tune when a trial begins, or is resumed."""

        def start(inner: Any, shown: _Shown) -> None:
            shown.init_local_path()
            inner.log_trial_start(shown)

        self._tell(trial, start)

    def log_trial_result(self, iteration: int, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Called by Tune with every report."""
        if not result.get(BEGUN):
            # The step of a tracker's curves.
            told = {**numbers(result), "training_iteration": result[EPOCH]}
            self._tell(trial, lambda inner, shown: inner.log_trial_result(result[EPOCH], shown, told))

    def log_trial_end(self, trial: TuneTrial, failed: bool = False) -> None:
        """Called by Tune at a trial's end."""
        self._tell(trial, lambda inner, shown: inner.log_trial_end(shown, failed=failed))
        self._shown.pop(trial.trial_id, None)

    def on_experiment_end(self, trials: list[TuneTrial], **info: Any) -> None:
        """Called by Tune at the end; W&B's callback waits here for what it has still to send."""
        if self._inner is not None:
            inner = self._inner
            self._safely(lambda: inner.on_experiment_end(trials, **info))
            # W&B's callback cleans up when it is deleted, which works only while Ray runs.
            self._inner = None
            self._shown.clear()

    def _tell(self, trial: TuneTrial, tell: Callable[[Any, _Shown], None]) -> None:
        if self._inner is None:
            return
        inner = self._inner
        if trial.trial_id not in self._shown:
            folder = None if self.folder is None else self.folder / str(trial)
            known = trial_of_config(trial.config, self.trials, self.shared)
            described_as = described(known, proposed=self.shared is not None)
            self._shown[trial.trial_id] = _Shown(trial, described_as, folder)
        shown = self._shown[trial.trial_id]
        self._safely(lambda: tell(inner, shown))

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._inner = None
            say("warning", "tracker_failed", run=self.run, tracker=self.tracker, reason=reason(error))


class _Shown:
    """A trial as a tracker sees it: everything as it is, but for a short config and a folder of its own."""

    def __init__(self, trial: TuneTrial, config: dict[str, Any], folder: Path | None) -> None:
        self._trial = trial
        self.config = self.evaluated_params = config
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        if name == "_trial":  # not set yet, when it is unpickled
            raise AttributeError(name)
        return getattr(self._trial, name)

    def __str__(self) -> str:
        return str(self._trial)

    @property
    def local_path(self) -> str:
        return str(self._trial.local_path if self._folder is None else self._folder)

    def init_local_path(self) -> None:
        if self._folder is None:
            self._trial.init_local_path()  # type: ignore[no-untyped-call]
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
