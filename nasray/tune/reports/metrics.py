"""Live figures of a run for Prometheus, through Ray's own metrics.

Ray's agent on every node serves them beside Ray's own, with the prefix ``ray_``. All are gauges, set every few seconds
from the trials' last results, so a driver that was killed and started again continues them. Ray forgets a gauge
that is not set again (after two of its report intervals, 20 s by default): a trial's figures end with the trial,
and a run's with its driver.

Every figure has the labels ``run``, ``dataset``, ``kind``, ``method`` and ``space``. ``kind`` is ``searches``, whose
accuracies are those of inherited weights, or ``trainings``, of networks trained from scratch (or looked up): the two
never stand in one series. Front and hypervolume are those of each method on each space, and of all together with
``all`` for both; they count single trainings, where the run's own front is one of means if there are several seeds.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.util.metrics import Gauge

from nasray import registry
from nasray.errors import reason
from nasray.fronts import hypervolume, pareto_front
from nasray.runs import EVALUATIONS, Storage, read
from nasray.runs.events import say
from nasray.runs.outcomes import GAVE_UP, Outcome, Point, points_of
from nasray.trials.fidelity import Fidelity
from nasray.trials.running import GIVEN_UP
from nasray.trials.trial import Trial
from nasray.tune.phase import TRIAL
from nasray.tune.reports.state import was_stopped

Arm = tuple[str, str]
"""Method and space."""
Front = tuple[list[Point], float]
"""Its points and its hypervolume (M x fraction)."""
ALL: Arm = ("all", "all")
"""Figures of a run's whole front."""
STATES = ("waiting", "running", "done", "failed")


@dataclass(frozen=True)
class Figure:
    """A gauge of trials: what it is called, where it stands in their results, and in what unit."""

    name: str
    key: str
    description: str
    scale: float = 1.0
    """What a result's value is multiplied with, to be in the unit that the name says."""


FIGURES = (
    Figure("nasray_epoch", "epoch", "Epochs done."),
    Figure("nasray_supernet_accuracy_ratio", "supernet_accuracy", "Accuracy of the supernet, on the validation split."),
    Figure("nasray_accuracy_ratio", "accuracy", "Accuracy of a network trained from scratch, on the validation split."),
    Figure("nasray_expected_macs", "expected_macs", "Multiply-adds of the gates, at the evaluation size.", 1e6),
    Figure("nasray_macs", "macs", "Multiply-adds of the architecture that would be derived now, or is trained.", 1e6),
    Figure("nasray_active_operations", "active_operations", "Operations of the supernet that are computed."),
    Figure("nasray_discretisation_gap_ratio", "gap", "Accuracy of the supernet minus that of its last candidate."),
    Figure("nasray_images_per_second", "examples_per_second", "Images per second that weights were trained on."),
    Figure("nasray_epoch_seconds", "seconds", "Duration of the last epoch, validation included."),
    Figure("nasray_peak_memory_bytes", "peak_memory_bytes", "Highest use so far: of the GPU, or of the process."),
)
"""With the label ``trial``, of trials that run; once more at a trial's end."""
TRIALS = "nasray_trials"
FRONT_SIZE = "nasray_front_size"
HYPERVOLUME = "nasray_hypervolume_macs"
OF_RUN = {
    TRIALS: "Trials, by the label state: waiting, running, done, failed.",
    FRONT_SIZE: "Architectures on the front so far.",
    HYPERVOLUME: "Hypervolume of the front so far: multiply-adds times accuracy, from the run's reference point.",
}
_LABELS = ("run", "dataset", "kind", "method", "space")


class Metrics(Callback):
    """Sets a phase's gauges, in the driver.

    What goes wrong here is reported once, and harms no run.

    Args:
        run: name of the run.
        dataset: that it is about.
        kind: of its trials: ``searches`` or ``trainings``.
        planned: how many trials each method on each space has.
        arms: method and space of the trials whose names are known.
        earlier: what trials of the phase gave that ended before this pass.
        storage: the run's folder.
        budget: largest multiply-adds (M) that count for the front.
        fidelity: of trainings: which rows of earlier phases share the front.
        one_stage_epochs: of trainings: rows of searches that trained their network for as many epochs share it too.
        watched: whether trials live long enough to be watched one by one.
        seconds: from one setting of the gauges to the next.
    """

    def __init__(
        self,
        run: str,
        dataset: str,
        kind: str,
        planned: Mapping[Arm, int],
        storage: Storage,
        *,
        arms: Mapping[str, Arm] | None = None,
        earlier: Mapping[Arm, Sequence[Outcome]] | None = None,
        budget: float | None = None,
        fidelity: Fidelity | None = None,
        one_stage_epochs: int | None = None,
        watched: bool = True,
        seconds: float = 5.0,
    ) -> None:
        self.run = run
        self.kind = kind
        self.planned = dict(planned)
        self.arms = dict(arms or {})
        self.earlier = dict(earlier or {})
        self.storage = storage
        self.budget = math.inf if budget is None else budget
        self.fidelity = fidelity or Fidelity()
        self.one_stage_epochs = one_stage_epochs
        self.watched = watched
        self.seconds = seconds
        self._labels = {"run": run, "dataset": dataset, "kind": kind}
        self._failed = False
        self._next = 0.0
        self._gauges: dict[str, Gauge] = {}
        self._reference = (math.nan, math.nan)
        self._earlier: dict[Arm, list[Point]] = {}
        self._fronts: dict[Arm, Front] = {}
        self._known: dict[Arm, tuple[int, int]] = {}
        """How many points there were when a front was last taken, and how many trials of the pass were stopped."""

    def setup(self, *arguments: Any, **info: Any) -> None:
        """Called by Tune before the first trial, also when a phase is resumed."""
        self._safely(self._begin)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Called by Tune some ten times a second."""
        now = time.monotonic()
        if now >= self._next:
            self._safely(self._set_all, trials)
            self._next = now + self.seconds

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune at a trial's end: its last figures are to be seen too."""
        self._safely(self._set_trial, trial)

    def on_experiment_end(self, trials: list[TuneTrial], **info: Any) -> None:
        """The last state, always."""
        self._safely(self._set_all, trials)

    def _safely(self, act: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            act(*arguments)
        except Exception as error:
            self._failed = True
            say("warning", "metrics_failed", run=self.run, reason=reason(error))

    def _begin(self) -> None:
        self._gauges = {one.name: Gauge(one.name, one.description, (*_LABELS, "trial")) for one in FIGURES}
        for name, description in OF_RUN.items():
            self._gauges[name] = Gauge(name, description, (*_LABELS, "state") if name == TRIALS else _LABELS)
        macs, accuracy = self.storage.read_json("run.json")["reference"]
        self._reference = (macs, accuracy)
        if self.kind == "trainings":
            self._earlier = self._rows_of_earlier_phases()

    def _rows_of_earlier_phases(self) -> dict[Arm, list[Point]]:
        rows = read(self.storage, EVALUATIONS, strict=False)
        if not len(rows):
            return {}
        from_scratch = rows["complete"] & self.fidelity.holds(rows["settings"])
        one_stage = (rows["training"] == "one stage") & (rows["epochs"] == self.one_stage_epochs)
        found: dict[Arm, list[Point]] = {}
        own = rows.loc[from_scratch | one_stage, ["method", "space", "macs", "accuracy"]]
        for method, space, macs, accuracy in own.itertuples(index=False, name=None):
            found.setdefault((method, space), []).append((macs, accuracy))
        return found

    def _set_all(self, trials: list[TuneTrial]) -> None:
        states: dict[Arm, Counter[str]] = {arm: Counter() for arm in self.planned}
        points = {arm: list(found) for arm, found in self._earlier.items()}
        stopped = 0
        for arm, outcomes in self.earlier.items():
            failed = sum(one.state in GAVE_UP for one in outcomes)
            states.setdefault(arm, Counter()).update(failed=failed, done=len(outcomes) - failed)
            points.setdefault(arm, []).extend(points_of(outcomes))
        for trial in trials:
            arm, result = self._arm(trial), trial.run_metadata.last_result
            states.setdefault(arm, Counter())[_state(trial, result)] += 1
            if was_stopped(trial, result):
                stopped += 1
            else:
                points.setdefault(arm, []).extend(result.get("points", ()))
            if trial.status == TuneTrial.RUNNING:
                self._set_trial(trial)
        for arm, counts in states.items():
            counts["waiting"] = max(0, self.planned.get(arm, 0) - counts.total() + counts["waiting"])
            for state in STATES:
                self._set(TRIALS, counts[state], arm, state=state)
        for one, (front, volume) in self._fronts_of(points, stopped).items():
            self._set(FRONT_SIZE, len(front), one)
            self._set(HYPERVOLUME, volume * 1e6, one)

    def _set_trial(self, trial: TuneTrial) -> None:
        if not self.watched:
            return
        # A trial's property last_result waits for its process where nothing was reported yet.
        arm, result, name = self._arm(trial), trial.run_metadata.last_result, str(trial)
        for figure in FIGURES:
            value = result.get(figure.key)
            if value is not None and math.isfinite(value):
                self._set(figure.name, value * figure.scale, arm, trial=name)

    def _set(self, name: str, value: float, arm: Arm, **labels: str) -> None:
        self._gauges[name].set(float(value), {**self._labels, "method": arm[0], "space": arm[1], **labels})

    def _arm(self, trial: TuneTrial) -> Arm:
        # What a searcher proposed is of the one arm that its phase has.
        return self.arms.get(trial.config[TRIAL]) or next(iter(self.planned))

    def _fronts_of(self, points: Mapping[Arm, Iterable[Point]], stopped: int) -> dict[Arm, Front]:
        """The front of each method that found points, and that of all together. An architecture may have several."""
        of_method: dict[Arm, list[Point]] = {}
        for (methods, space), own in points.items():
            affordable = [point for point in own if point[0] <= self.budget]
            for method in methods.split(", "):
                of_method.setdefault((method, space), []).extend(affordable)
        for arm, own in of_method.items():
            # Points only come, but for those of a trial that a rung stops, which go.
            known = len(own), stopped
            if self._known.get(arm) != known:
                self._known[arm], self._fronts[arm] = known, self._front(own)
        if len(of_method) == 1:
            return {**self._fronts, ALL: self._fronts[next(iter(of_method))]}
        return {**self._fronts, ALL: self._front([point for front, _ in self._fronts.values() for point in front])}

    def _front(self, points: list[Point]) -> Front:
        front = pareto_front(pd.DataFrame(points, columns=["macs", "accuracy"], dtype=float))
        return list(zip(front["macs"], front["accuracy"], strict=True)), hypervolume(front, self._reference)


def arm_of(trial: Trial) -> Arm:
    """Method and space of a trial, as its rows have them."""
    return trial.method, registry.portable(trial.space)


def _state(trial: TuneTrial, result: Mapping[str, Any]) -> str:
    if trial.status == TuneTrial.ERROR or GIVEN_UP in result:
        return "failed"
    return {TuneTrial.TERMINATED: "done", TuneTrial.RUNNING: "running"}.get(trial.status, "waiting")
