"""How far a phase of a run is: plain numbers, counted from outcomes and from Tune's trials."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
from ray.tune.experiment import Trial as TuneTrial

from nasray import registry
from nasray.fronts import pareto_front
from nasray.runs.outcomes import GAVE_UP, Outcome, Point
from nasray.trials.labels import label
from nasray.trials.running import ENDED, EPOCH, GIVEN_UP, WAITS
from nasray.trials.trial import Trial
from nasray.tune.phase import PROPOSAL, Phase
from nasray.tune.trainable import trial_of_config


@dataclass(kw_only=True)
class ArmState:
    """How far a method on a space is."""

    name: str
    total: int
    """Trials."""
    epochs_of_all: int | None
    """At most; None where nothing is trained."""
    done: int = 0
    """Trials that came to their end, or were stopped at a rung."""
    stopped: int = 0
    """Of these, at a rung."""
    running: int = 0
    failed: int = 0
    epochs: int = 0
    points: list[Point] = field(default_factory=list)
    """The front of what was found, or trained: multiply-adds (M) and accuracy."""

    @property
    def best(self) -> Point | None:
        """Of the highest accuracy."""
        return max(self.points, key=lambda point: point[1], default=None)


@dataclass(frozen=True, kw_only=True)
class RunningState:
    """How far a trial is that runs."""

    label: str
    epoch: int
    epochs: int | None
    figures: str = ""


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a phase is."""

    run: str
    kind: str
    """What its trials are, as :attr:`nasray.tune.phase.Phase.title` says it."""
    arms: tuple[ArmState, ...]
    running: tuple[RunningState, ...] = ()
    """Some of those that run."""
    failures: tuple[tuple[str, str], ...] = ()
    """Trials that gave up, each with the reason; the newest last."""
    began: float = 0.0
    """By time.time."""
    epochs_a_second: float | None = None
    """Of all trials together in this pass; look-ups where nothing is trained. None before the first."""
    at: float = 0.0
    """When it was so, by time.time."""

    def of_all(self, name: str) -> int:
        """A number of the arms, over all of them."""
        return sum(getattr(arm, name) or 0 for arm in self.arms)

    @property
    def epochs_of_all(self) -> int | None:
        """Epochs of all trials, at most; None where nothing is trained."""
        known = [arm.epochs_of_all for arm in self.arms]
        return None if None in known else sum(one for one in known if one is not None)

    @property
    def waiting(self) -> int:
        """Trials that have not begun, or wait for another process."""
        return max(0, self.of_all("total") - sum(self.of_all(name) for name in ("done", "running", "failed")))

    @property
    def is_starting(self) -> bool:
        """Whether the first process is waited for."""
        return self.epochs_a_second is None and not self.of_all("running") and self.waiting > 0

    @property
    def share(self) -> float:
        """Done of what is to do: 0 to 1."""
        whole = self.epochs_of_all
        if whole is None:
            return (self.of_all("done") + self.of_all("failed")) / max(1, self.of_all("total"))
        return min(1.0, self.of_all("epochs") / max(1, whole))

    def seconds_left(self, now: float) -> float | None:
        """Estimated, at most; None before anything is done, and where nothing is left."""
        if not self.epochs_a_second or not self.waiting + self.of_all("running"):
            return None
        whole = self.epochs_of_all
        if whole is None:
            return (self.waiting + self.of_all("running")) / self.epochs_a_second
        left = (whole - self.of_all("epochs")) / self.epochs_a_second
        return max(0.0, left - (now - self.at))

    @cached_property
    def front(self) -> list[Point]:
        """Of all arms, by rising multiply-adds."""
        return front_of(point for arm in self.arms for point in arm.points)


def front_of(points: Iterable[Point]) -> list[Point]:
    """The non-dominated points, by rising multiply-adds."""
    given = list(points)
    if not given:
        return []
    front = pareto_front(pd.DataFrame(given, columns=["macs", "accuracy"]))
    return list(zip(front["macs"].tolist(), front["accuracy"].tolist(), strict=True))


class Counting:
    """Counts a phase's trials.

    Args:
        phase: whose trials they are.
        outcomes: of the trials that ended before this pass.
        began: when the phase began, by time.time.
    """

    def __init__(self, phase: Phase, outcomes: Mapping[str, Outcome], began: float) -> None:
        self.run, self.kind, self.began = phase.run, phase.title, began
        self._trials = {trial.name: trial for trial in phase.trials}
        self._shared = None if phase.proposing is None else phase.proposing.shared
        planned = [self._shared] * phase.total if self._shared else list(phase.trials)
        several = len({trial.space for trial in planned}) > 1
        self._arm: Callable[[Trial], str] = _method_on_space if several else _method
        self._first_report: float | None = None
        self._done_here = 0
        self._arms: dict[str, ArmState] = {}
        """As far as earlier passes came."""
        for trial in planned:
            name, epochs = self._arm(trial), _epochs(trial)
            arm = self._arms.setdefault(name, ArmState(name=name, total=0, epochs_of_all=None if epochs is None else 0))
            arm.total += 1
            if epochs is not None:
                arm.epochs_of_all = (arm.epochs_of_all or 0) + epochs
        self._failures: list[tuple[str, str]] = []
        for name, outcome in outcomes.items():
            ended = self._trials.get(name) or self._shared
            if ended is not None:
                arm = self._arms[self._arm(ended)]
                _end(arm, ended, outcome.epoch, failed=outcome.state in GAVE_UP)
                arm.stopped += outcome.state == "stopped"
                arm.points += outcome.points
                if outcome.state in GAVE_UP:
                    self._failures.append((self.label(name), str(outcome.reason)))
        for arm in self._arms.values():
            arm.points = front_of(arm.points)  # there may be very many

    def heard(self, *, done: bool) -> None:
        """Note a report: the clock of the speed begins with the first, for until then processes start.

        Args:
            done: whether an epoch, or a look-up, was done for it.
        """
        self._first_report = self._first_report or time.time()
        self._done_here += done

    def count(self, trials: list[TuneTrial]) -> State:
        """How far it is.

        Args:
            trials: Tune's, of this pass.
        """
        now = time.time()
        arms = {name: dataclasses.replace(arm, points=list(arm.points)) for name, arm in self._arms.items()}
        failures = list(self._failures)
        running: list[RunningState] = []
        for trial in trials:
            planned = self._trials.get(str(trial)) or self._shared
            if planned is not None:
                self._add(trial, planned, arms[self._arm(planned)], running, failures)
        for arm in arms.values():
            arm.points = front_of(arm.points)  # once, and not whenever it is drawn
        seconds = now - (self._first_report or now)
        speed = self._done_here / seconds if self._done_here and seconds > 0 else None
        return State(
            run=self.run,
            kind=self.kind,
            arms=tuple(arms.values()),
            running=tuple(running),
            failures=tuple(failures),
            began=self.began,
            epochs_a_second=speed,
            at=now,
        )

    def label(self, name: str, config: Mapping[str, Any] | None = None) -> str:
        """What a trial is, in a few words; its name where it was proposed and its config is not known."""
        if name in self._trials:
            return label(self._trials[name])
        if self._shared is None or config is None or PROPOSAL not in config:
            return name
        return label(trial_of_config(config, {}, self._shared))

    def _add(
        self,
        trial: TuneTrial,
        planned: Trial,
        arm: ArmState,
        running: list[RunningState],
        failures: list[tuple[str, str]],
    ) -> None:
        result = trial.last_result or {}
        epoch = int(result.get(EPOCH, 0))
        if not was_stopped(trial, result):
            arm.points += [(macs, accuracy) for macs, accuracy in result.get("points", ())]
        failed = trial.status == TuneTrial.ERROR or GIVEN_UP in result
        if failed:
            failures.append((self.label(str(trial), trial.config), str(result.get(GIVEN_UP, "lost its process"))))
        if failed or (trial.status == TuneTrial.TERMINATED and not result.get(WAITS)):
            _end(arm, planned, epoch, failed=failed)
            arm.stopped += not failed and was_stopped(trial, result)
            return
        arm.epochs += epoch
        if trial.status == TuneTrial.RUNNING:
            arm.running += 1
            figures = _figures(result)
            told = self.label(str(trial), trial.config)
            running.append(RunningState(label=told, epoch=epoch, epochs=_epochs(planned), figures=figures))


def was_stopped(trial: TuneTrial, result: Mapping[str, Any]) -> bool:
    """Whether a rung stopped a trial in this pass, by its last result: what it gave counts nowhere."""
    return trial.status == TuneTrial.TERMINATED and not result.get(ENDED)


def _end(arm: ArmState, trial: Trial, epoch: int, *, failed: bool) -> None:
    """Count a trial that ended: its remaining epochs are not to do any more."""
    arm.done, arm.failed = arm.done + (not failed), arm.failed + failed
    epochs = _epochs(trial)
    if epochs is not None and arm.epochs_of_all is not None:
        arm.epochs += epoch
        arm.epochs_of_all -= max(0, epochs - epoch)


def _epochs(trial: Trial) -> int | None:
    return None if trial.is_looked_up else trial.config.settings.epochs


def _figures(result: Mapping[str, Any]) -> str:
    for name in ("accuracy", "supernet_accuracy"):
        if isinstance(result.get(name), float):
            return f"{name.replace('_', ' ')} {result[name]:.4f}"
    return ""


def _method(trial: Trial) -> str:
    return trial.method


def _method_on_space(trial: Trial) -> str:
    return f"{trial.method} on {registry.portable(trial.space)}"
