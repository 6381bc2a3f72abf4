"""Running a phase: passes over the trials without a final outcome, until every trial has one.

The run's folder is the only memory. A phase asks it which trials have no final outcome, and gives these to a fresh
Tuner, a bounded batch at a time; each continues from its own newest checkpoint. Trials that were lost, or that ran out
of memory, have open outcomes, and so come back in the next pass, the latter with a larger share.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa

from nasray.errors import printable, told_once
from nasray.runs import TABLES, Storage, compact
from nasray.runs.events import note, say
from nasray.runs.lease import check_lease
from nasray.runs.outcomes import GAVE_UP, Outcome, compact_outcomes, read_outcomes, reopen, write_outcome
from nasray.runs.stopped import mark_all_stopped
from nasray.trials.checkpoints import drop_final_checkpoints
from nasray.trials.labels import label
from nasray.tune.execution import Execution
from nasray.tune.phase import WORKERS, Phase, Proposing
from nasray.tune.reports.trackers import check_trackers
from nasray.tune.resources.placement import gpus_per_trial
from nasray.tune.session.connection import connection

BATCH = 1_000
"""Trials that one Tuner is given: the driver's memory grows with these, and not with the trials of a run."""
NOTES = "notes"
"""In the file of a finished phase: what its searcher had to say."""
IDLE_PASSES = 3
"""Passes in a row in which nothing becomes of any trial; after them the phase is left as it is."""


def run_phase(phase: Phase, storage: Storage, execution: Execution, session: ExitStack) -> tuple[str, ...]:
    """Run a phase's trials, or those that an earlier driver left; gives the reasons of those that gave up.

    Ray is connected to by the first phase that has something to run, and stays for the session.
    """
    done = f"phases/{phase.name}.json"
    if not phase.total:
        return ()
    if storage.exists(done) and _has_outcomes(phase, storage):
        if phase.proposing is not None:
            _say(phase.proposing, storage.read_json(done).get(NOTES))
        return ()
    check_trackers(execution.trackers, storage)
    session.enter_context(_system_memory())
    _mark(phase, storage)
    if phase.proposing is None:
        # Whoever runs a command again may have mended what a trial lacked.
        reopen(storage, {trial.name: trial.digest for trial in phase.trials})
        outcomes = _run_known(phase, storage, execution, session)
        marker: dict[str, Any] = {"trials": phase.total}
    else:
        outcomes, marker = _run_proposed(phase, storage, execution, session)
    check_lease(storage, look=True)
    storage.delete_folder(WORKERS)
    drop_final_checkpoints(storage)  # no rung is refilled any more
    _mark(phase, storage)
    _put_together(storage)
    failures = tuple(sorted(_failures(phase, outcomes)))
    if not failures:
        # Written after the last row: from here on the phase needs neither Ray nor its outcomes.
        storage.write_json(done, marker)
    return failures


def _has_outcomes(phase: Phase, storage: Storage) -> bool:
    """Whether every known trial of a finished phase still has its outcome."""
    digests = {trial.name: trial.digest for trial in phase.trials}
    return len(read_outcomes(storage, digests)) == len(digests)


def _run_known(phase: Phase, storage: Storage, execution: Execution, session: ExitStack) -> dict[str, Outcome]:
    """Pass after pass over the trials without a final outcome; gives the outcomes."""
    digests = {trial.name: trial.digest for trial in phase.trials}
    idle, before, began = 0, 0, time.time()
    while True:
        _put_together(storage)
        outcomes = read_outcomes(storage, digests)
        now = hash(frozenset(outcomes.items()))  # and not all of them once more
        idle, before = (idle + 1 if now == before else 0), now
        waiting = [trial for trial in phase.trials if trial.name not in outcomes or outcomes[trial.name].is_open]
        if not waiting or idle >= IDLE_PASSES:
            return outcomes
        session.enter_context(connection(execution.address, phase.run, import_tuner))
        from nasray.tune.tuner import run_pass

        gpus = gpus_per_trial(phase, storage, execution)
        _give_memory(phase, storage, execution, outcomes, gpus)
        run_pass(phase, waiting[:BATCH], storage, execution, outcomes, gpus, began=began)


def _run_proposed(
    phase: Phase, storage: Storage, execution: Execution, session: ExitStack
) -> tuple[dict[str, Outcome], dict[str, Any]]:
    """Pass after pass until the searcher has made its proposals; gives the outcomes, how many proposals it made, and
    what it has to say."""
    session.enter_context(connection(execution.address, phase.run, import_tuner))
    from nasray.tune.proposing import Proposed
    from nasray.tune.tuner import is_remote, run_pass

    proposed = Proposed(phase, storage)
    reopen(storage, {name: outcome.digest for name, outcome in proposed.outcomes().items()})
    search = proposed.search()
    idle, before, began = 0, 0, time.time()
    while not search.is_finished:
        _put_together(storage)
        outcomes = proposed.outcomes()
        now = hash((frozenset(outcomes.items()), search.told))
        idle, before = (idle + 1 if now == before else 0), now
        if idle >= IDLE_PASSES:
            break
        gpus = gpus_per_trial(phase, storage, execution)
        _give_memory(phase, storage, execution, outcomes, gpus)
        search.begin_pass()
        most = min(BATCH, phase.total)
        run_pass(phase, (), storage, execution, outcomes, gpus, search, proposed, most, began=began)
        if is_remote():  # it was a copy that was asked, at the cluster's head
            search = proposed.search()
    notes = search.black_box.notes()
    if search.distinct < search.proposed:
        notes.append(f"{search.proposed} proposed, {search.distinct} distinct")
    _say(proposed.proposing, notes)
    return proposed.outcomes(), {"proposed": search.proposed, "distinct": search.distinct, NOTES: notes}


def _say(proposing: Proposing, notes: Any) -> None:
    """What a phase's searcher has to say once it has ended; a file may hold anything."""
    for line in notes if isinstance(notes, list) else ():
        note(printable(f"{proposing.chooser}: {line}"))


@contextmanager
def _system_memory() -> Iterator[None]:
    """Within it Arrow takes its memory from the system, and gives it back after every pass; its own pool keeps it."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _mark(phase: Phase, storage: Storage) -> None:
    """Mark the rows of what rungs stopped, as far as a kill, or rows of an earlier pass, left them unmarked."""
    if phase.kind == "searches" and phase.rungs:
        mark_all_stopped(storage)


def _put_together(storage: Storage) -> None:
    """Rows and outcomes of earlier passes, so that a pass reads few files, however many trials there were."""
    compact_outcomes(storage)
    for table in TABLES.values():
        compact(storage, table)
    pa.default_memory_pool().release_unused()


def import_tuner() -> None:
    """Import what a pass needs, which takes as long as a Ray of our own to start."""
    import nasray.tune.tuner  # noqa: F401


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
        more = {"next": after} if after != before else {"reason": "there is no more to give"}
        say("warning", "out_of_memory", run=phase.run, trial=name, memory=outcome.memory, resources=before, **more)


def _failures(phase: Phase, outcomes: dict[str, Outcome]) -> list[str]:
    """Why trials gave up, or were left."""
    given_up = {name: str(one.reason) for name, one in outcomes.items() if one.state in GAVE_UP}
    known = {trial.name: f"{trial.name} ({label(trial)})" for trial in phase.trials if trial.name in given_up}
    told = told_once((known.get(name, name), reason) for name, reason in given_up.items())
    left = [trial.name for trial in phase.trials if trial.name not in outcomes or outcomes[trial.name].is_open]
    return told + [f"trial {name} did not finish. Run the same command again to resume." for name in left]
