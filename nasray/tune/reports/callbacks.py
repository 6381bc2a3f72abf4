"""Who is told of a phase's trials as they go on: the terminal, the log, Prometheus, trackers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nasray.runs import Storage
from nasray.sweeps.sweep import Sweep
from nasray.tune.losses import Losses
from nasray.tune.reports.journal import OptunaJournal
from nasray.tune.reports.metrics import Metrics, arm_of
from nasray.tune.reports.progress import Events, Progress
from nasray.tune.reports.tracked import Tracked
from nasray.tune.reports.trackers import local_folder

if TYPE_CHECKING:
    from nasray.tune.phase import Phase


def callbacks_of(sweep: Sweep, storage: Storage, phase: Phase) -> list[Any]:
    """What is told of a phase's trials, beside the searcher and the scheduler."""
    total = len(phase.trials) or phase.proposals
    shared = phase.shared or None
    looked_up = phase.kind == "trainings" and sweep.table is not None
    callbacks: list[Any] = [
        Losses(sweep.name, sweep.execution.max_failures),
        Progress(phase.kind, total),
        Events(sweep.name, phase.kind, str(storage)),
        Metrics(
            sweep.name,
            sweep.dataset,
            phase.kind,
            {arm_of(shared): total} if shared else Counter(arm_of(trial) for trial in phase.trials),
            storage,
            budget=sweep.most_macs,
            fidelity=sweep.fidelity,
            one_stage_epochs=None if sweep.table else sweep.training.settings.epochs,
            watched=not looked_up,
        ),
    ]
    callbacks += [
        Tracked(one, sweep.name, phase.name, storage, shared) for one in sweep.execution.trackers if one != "optuna"
    ]
    folder = local_folder(storage)
    if "optuna" in sweep.execution.trackers and shared and folder is not None:
        journal = OptunaJournal(
            sweep.name,
            phase.name,
            folder / "tune" / "optuna.journal",
            space=shared["found"]["space"],
            cells=shared["cells"],
            objectives=sweep.objectives,
            epochs=phase.rungs[-1],
            budget=sweep.most_macs,
        )
        callbacks.append(journal)
    return callbacks
