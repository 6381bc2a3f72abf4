"""Trials under Ray Tune: a class with ``reset_config``, so that Tune hands one process from trial to trial.

A new process costs seconds, a reset hundredths. Rows, checkpoints and outcomes are the trial's own, in the run's
folder; Tune gets figures and nothing else, and keeps no checkpoints of its own.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
from collections.abc import Mapping
from typing import Any

import ray
from ray.tune import Trainable

from nasray import registry
from nasray.errors import InvalidInput
from nasray.runs import open_storage
from nasray.runs.events import Level, note, say, show_events
from nasray.runs.patience import EVENT, PATIENCE
from nasray.trials.evaluation import Evaluation
from nasray.trials.labels import kind_of, label
from nasray.trials.running import DONE, ENDED, EPOCH, GIVEN_UP, STATE, Report, Running, RunningTrial
from nasray.trials.trial import TrainingTrial, Trial, trial_of
from nasray.tune.phase import PROPOSAL, SCORE, TRIAL, WORKERS, trial_of_key
from nasray.tune.resources.limits import free_gpu_memory, limit_gpu_memory
from nasray.tune.workers import DistributedEvaluation, Group

EVENTS = "events"
"""In a report: the events since the last one, each a level, a name and its fields, for the driver to log."""
NODE = "node"
"""In a report: the first digits of the id of the trial's Ray node."""


class TrialTrainable(Trainable):
    """A trial of a phase in a process of Ray's."""

    _frozen = False  # gc.get_freeze_count() counts them all, which takes 40 ms
    _trial: RunningTrial | None = None

    def setup(
        self,
        config: dict[str, Any],
        storage: str = "",
        trials: Mapping[str, Mapping[str, Any]] | None = None,
        shared: Mapping[str, Any] | None = None,
        max_failures: int = 0,
        group: Mapping[str, Any] | None = None,
        folder: str = "",
        values: Mapping[tuple[str, str], Any] | None = None,
    ) -> None:
        """Take the trial that a config names.

        Args:
            config: of the trial, see :data:`TRIAL` and :data:`PROPOSAL`.
            storage: the run's folder.
            trials: those of the phase by their names, as plain values.
            shared: what all trials that a searcher proposes have beside what is proposed, as a trial's values.
            max_failures: how often a trial that raises an error is tried again.
            group: the workers that train each of them together, where there are several.
            folder: the driver's, which relative paths in a user's own code mean.
            values: of Python that trials name.
        """
        registry.keep(values or {})
        with contextlib.suppress(OSError):  # another machine may not have it
            os.chdir(folder)
        share = {} if self.trial_resources is None else self.trial_resources.bundles[0]
        limit_gpu_memory(share.get("GPU", 0.0))
        show_events()
        self._events: list[tuple[Level, str, dict[str, Any]]] = []
        self._group = None if group is None else Group(**group)
        self._refused: str | None = None
        _StorageEvents.heard_by(self)
        try:
            known = {config[TRIAL]: trial_of(trials[config[TRIAL]])} if trials else {}
            trial = trial_of_config(config, known, None if shared is None else trial_of(shared))
            run = open_storage(storage, patience=PATIENCE)
            self._trial = RunningTrial(trial, run, self._say, start=self._start, max_failures=max_failures)
            if not trial.is_looked_up:
                # Into the process's own log, which the dashboard shows beside it.
                note(f"trial {trial.name}: {self!r}")
        except InvalidInput as error:  # what this node lacks
            self._refused = str(error)

    def __repr__(self) -> str:
        """What it runs now. Ray's dashboard shows what it was when the process began."""
        if self._trial is None:
            return type(self).__name__
        trial = self._trial.trial
        return f"{kind_of(trial)} of {trial.run}: {label(trial)}"

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in the same process."""
        self.cleanup()
        self.setup(new_config)
        return True

    def step(self) -> Report:
        """One epoch, or at first the state that the trial resumes from; what Tune keeps of it in memory is small."""
        if self._refused is not None:
            return {EPOCH: 0, DONE: True, ENDED: True, GIVEN_UP: self._refused, STATE: "refused", SCORE: math.nan}
        assert self._trial is not None
        report = self._trial.step()
        if self._trial.is_member:
            report[SCORE] = report.get("accuracy", math.nan)  # in every report: Tune asks for it
        if self._events:
            report[EVENTS], self._events = self._events, []
        report[NODE] = ray.get_runtime_context().get_node_id()[:12]
        return report

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the run's folder holds the trial's own checkpoints."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing, likewise."""

    def restore(self, checkpoint_path: Any) -> None:
        """Nothing, and nothing that Tune wrote is read."""

    def cleanup(self) -> None:
        """Give the memory back before the next trial takes its own."""
        if self._trial is None or not self._trial.close():
            return  # what was looked up holds next to nothing, and a collection takes longer than looking it up
        gc.collect()
        if not self._frozen:
            gc.freeze()  # what stays after a first trial are torch and Ray: half a million objects, not looked at again
            self._frozen = True
        free_gpu_memory()

    def _start(self, trial: Trial) -> Running:
        if self._group is None or not isinstance(trial, TrainingTrial) or trial.is_looked_up:
            return trial.start()
        return self._distributed(trial, self._group)

    def _distributed(self, trial: TrainingTrial, group: Group) -> Evaluation:
        assert self._trial is not None
        folder = str(self._trial.storage.child(WORKERS))  # a URI may have parameters
        return DistributedEvaluation(trial.config, group, folder, trial.name, trial.rungs, self._say)

    def hear(self, event: str, fields: dict[str, Any]) -> None:
        """Keep what the storage said for the next report."""
        self._events.append(("warning", event, fields))

    def _say(self, level: Level, event: str, **fields: Any) -> None:
        """Log an event here, in the worker, and send it to the driver with the next report."""
        trial = None if self._trial is None else self._trial.trial
        run, name = ("", None) if trial is None else (trial.run, trial.name)
        say(level, event, run=run, trial=name, **fields)
        self._events.append((level, event, fields))


def trial_of_config(config: Mapping[str, Any], trials: Mapping[str, Trial], shared: Trial | None = None) -> Trial:
    """The trial that Tune's config of it means.

    Args:
        config: see :data:`TRIAL` and :data:`PROPOSAL`.
        trials: the known ones by their names.
        shared: what all proposed trials have beside what is proposed.
    """
    if shared is None:
        return trials[config[TRIAL]]
    return trial_of_key(shared, config[PROPOSAL])


class _StorageEvents(logging.Handler):
    """Takes what the storage logs of its failures to the trial that this process runs, for the driver."""

    trial: TrialTrainable | None = None

    @classmethod
    def heard_by(cls, trial: TrialTrainable) -> None:
        """Add one handler to this process, and let it speak to this trial."""
        logger = logging.getLogger("nasray")
        if not any(isinstance(handler, cls) for handler in logger.handlers):
            logger.addHandler(cls())
        cls.trial = trial

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the event for the next report."""
        event = getattr(record, EVENT, None)
        if event is not None and self.trial is not None:
            self.trial.hear(*event)
