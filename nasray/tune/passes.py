"""Running a phase: passes over the trials that have no final outcome, until there are none.

The run's folder is the only memory. A phase asks it which trials have no final outcome, and gives these to a fresh
Tuner, a bounded batch at a time; each goes on from its own newest checkpoint. Trials that were lost, or that ran out of
memory, have open outcomes, and so come back in the next pass, the latter with a larger share.
"""

from __future__ import annotations

from contextlib import ExitStack

from nasray.runs import Storage
from nasray.runs.events import say
from nasray.runs.lease import check_lease
from nasray.runs.outcomes import GAVE_UP, Outcome, read_outcomes, reopen, write_outcome
from nasray.trials.checkpoints import drop_final_checkpoints
from nasray.tune.execution import Execution
from nasray.tune.phase import Phase
from nasray.tune.reports.trackers import check_trackers
from nasray.tune.resources.placement import gpus_per_trial
from nasray.tune.session.connection import connection

BATCH = 1_000
"""Trials that one Tuner is given: the driver's memory grows with these, and not with the trials of a run."""
IDLE_PASSES = 3
"""Passes in a row in which nothing becomes of any trial; after them the phase is left as it is."""


def run_phase(phase: Phase, storage: Storage, execution: Execution, session: ExitStack) -> tuple[str, ...]:
    """Run a phase's trials, or those that an earlier driver left; gives the reasons of those that gave up.

    Ray is connected to by the first phase that has something to run, and stays for the session.
    """
    if not phase.total:
        return ()
    done = f"phases/{phase.name}.json"
    if storage.exists(done):
        return ()
    check_trackers(execution.trackers, storage)
    # Whoever runs a command again may have mended what a trial lacked.
    reopen(storage, {trial.name: trial.digest for trial in phase.trials})
    _run_passes(phase, storage, execution, session)
    check_lease(storage, look=True)
    outcomes = _outcomes(phase, storage)
    drop_final_checkpoints(storage)  # no rung is refilled any more
    failures = tuple(sorted(_failures(phase, outcomes)))
    if not failures:
        # Written after the last row: from here on the phase needs neither Ray nor its outcomes.
        storage.write_json(done, {"trials": phase.total})
    return failures


def _run_passes(phase: Phase, storage: Storage, execution: Execution, session: ExitStack) -> None:
    idle, before = 0, None
    while idle < IDLE_PASSES:
        outcomes = _outcomes(phase, storage)
        waiting = [trial for trial in phase.trials if trial.name not in outcomes or outcomes[trial.name].is_open]
        if not waiting:
            return
        session.enter_context(connection(execution.address, phase.run))
        from nasray.tune.tuner import run_pass

        gpus = gpus_per_trial(phase, storage, execution)
        _give_memory(phase, storage, execution, outcomes, gpus)
        run_pass(phase, waiting[:BATCH], storage, execution, outcomes, gpus)
        after = _outcomes(phase, storage)
        idle, before = (idle + 1 if after == before else 0), after


def _give_memory(
    phase: Phase, storage: Storage, execution: Execution, outcomes: dict[str, Outcome], gpus: float
) -> None:
    """Give trials that ran out of memory more of it, as far as there is some."""
    from nasray.tune.failures import described, with_more_memory

    for name, outcome in outcomes.items():
        if outcome.state != "out_of_memory":
            continue
        cpus = execution.cpus_per_trial
        outcomes[name] = with_more_memory(outcome, cpus, gpus, execution.max_failures)
        write_outcome(storage, name, outcomes[name])
        before, after = described(outcome, cpus, gpus), described(outcomes[name], cpus, gpus)
        more = {"next": after} if after != before else {"reason": "has all that there is"}
        say("warning", "out_of_memory", run=phase.run, trial=name, memory=outcome.memory, resources=before, **more)


def _outcomes(phase: Phase, storage: Storage) -> dict[str, Outcome]:
    return read_outcomes(storage, {trial.name: trial.digest for trial in phase.trials})


def _failures(phase: Phase, outcomes: dict[str, Outcome]) -> list[str]:
    """Why trials gave up, or were left."""
    told = [f"trial {name}: {one.reason}" for name, one in outcomes.items() if one.state in GAVE_UP]
    left = [trial.name for trial in phase.trials if trial.name not in outcomes or outcomes[trial.name].is_open]
    return told + [f"trial {name} did not finish. Run the same command again to resume." for name in left]
