"""Where the progress of a pass's trials is reported: the terminal, the log, Prometheus, trackers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nasray.runs import Storage
from nasray.runs.outcomes import Outcome
from nasray.trials.trial import Trial
from nasray.tune.execution import Execution
from nasray.tune.phase import Phase
from nasray.tune.reports.journal import OptunaJournal
from nasray.tune.reports.metrics import Arm, Metrics, arm_of
from nasray.tune.reports.progress import Events, Progress
from nasray.tune.reports.state import Counting
from nasray.tune.reports.tracked import TrackerCallback
from nasray.tune.reports.trackers import local_folder


def callbacks_of(
    phase: Phase,
    waiting: Sequence[Trial],
    storage: Storage,
    execution: Execution,
    outcomes: Mapping[str, Outcome],
    ended: Callable[[], Mapping[str, tuple[str, Mapping[str, Any]]]],
    began: float,
) -> list[Any]:
    """What follows a pass's trials, beside the searcher and the scheduler.

    Args:
        phase: that they are of.
        waiting: the trials of the pass, as far as they are known.
        storage: the run's folder.
        execution: where and how they run.
        outcomes: of all trials of the phase that have one.
        ended: gives the proposal's key and last result of those that a searcher proposed and that ended before.
        began: when the phase began, by time.time.
    """
    shared = phase.proposing.shared if phase.proposing else None
    final = {name: outcome for name, outcome in outcomes.items() if not outcome.is_open}
    arms = {trial.name: arm_of(trial) for trial in phase.trials}
    planned = {arm_of(shared): phase.total} if shared else Counter(arms.values())
    earlier: dict[Arm, list[Outcome]] = {}
    for name, outcome in final.items():
        earlier.setdefault(arms.get(name) or next(iter(planned)), []).append(outcome)
    counting = Counting(phase, final, began)
    callbacks: list[Any] = [
        Progress(counting, quiet=execution.quiet),
        Events(phase.run, phase.kind, str(storage), counting.label),
        Metrics(
            phase.run,
            phase.dataset,
            phase.kind,
            planned,
            storage,
            arms=arms,
            earlier=earlier,
            budget=phase.budget,
            fidelity=phase.fidelity,
            one_stage_epochs=phase.one_stage_epochs,
            watched=not phase.looks_up,
        ),
    ]
    trials = {trial.name: trial for trial in waiting}
    callbacks += [
        TrackerCallback(one, phase.run, phase.name, storage, trials, shared)
        for one in execution.trackers
        if one != "optuna"
    ]
    folder = local_folder(storage)
    if "optuna" in execution.trackers and phase.proposing is not None and folder is not None:
        journal = OptunaJournal(
            phase.run,
            phase.name,
            folder / "optuna.journal",
            problem=phase.proposing.searcher([], []).problem,
            valued=phase.proposing.valued,
            ended=ended(),
        )
        callbacks.append(journal)
    return callbacks
