"""Going on with a phase from Tune's own state, or without it where it cannot be read.

Tune copies its state to the storage file by file. A kill, a full disk or a lost connection can leave a part of one, and
Tune then refuses to go on, or begins anew with a traceback. Nothing of a run depends on that state alone: rows lie in
the tables, and every trial finds its checkpoints in its own folder. So the phase begins anew, and its trials go on;
those that a searcher proposes have other names then, and the search begins anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import ray.util.client
from pyarrow import ArrowException
from ray import tune

from nasray.errors import ClusterLost, StorageFailure
from nasray.runs import Storage
from nasray.runs.events import say
from nasray.runs.patience import patiently, reason_of
from nasray.tune.reports.progress import Events
from nasray.tune.session.connection import quiet_tune
from nasray.tune.session.interruption import run_interruptibly

UNREADABLE = ".unreadable"
"""What is added to the names of state files that Tune could not go on from."""


def run_or_resume(
    folder: Storage, phase: str, run: str, *, begin: Callable[[], tune.Tuner], resume: Callable[[], tune.Tuner]
) -> tune.ResultGrid:
    """The results of a phase: of one that is begun, or resumed where it was begun before.

    Args:
        folder: where Tune's experiments lie.
        phase: name of this one's folder there.
        run: for events.
        begin: makes the Tuner of a new experiment.
        resume: makes that of one which is there.

    Raises:
        StorageFailure: Tune could not write its own state, or read it, for the storage failed.
    """
    if folder.exists(f"{phase}/tuner.pkl"):
        reason = _damage(folder, phase)
        try:
            if reason is None:
                return _fit(folder, phase, resume)
        except StorageFailure:
            raise
        except Exception as error:  # a damaged pickle may raise anything
            if Events.begun or _by_client():  # through a Ray Client, where it began is not known here
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        say("warning", "tune_state_damaged", run=run, phase=phase, reason=reason, then="its trials go on without")
        for name in folder.list(phase):
            if name.endswith((".pkl", ".json")):
                folder.move(name, name + UNREADABLE)
    return _fit(folder, phase, begin)


def _damage(folder: Storage, phase: str) -> str | None:
    """What is wrong with the state that Tune would go on from, as far as its text tells."""
    states = [name for name in folder.list(phase, ".json") if "/experiment_state-" in name]
    if not states:
        return "a driver ended before it wrote one"
    try:
        json.loads(folder.read_bytes(max(states)))
    except (ValueError, RecursionError) as error:
        return f"{max(states)} is cut short or changed ({error})"
    return None


def _by_client() -> bool:
    return bool(ray.util.client.ray.is_connected())  # type: ignore[no-untyped-call]


def _fit(folder: Storage, phase: str, make: Callable[[], tune.Tuner]) -> tune.ResultGrid:
    by_client = _by_client()

    def once() -> tune.ResultGrid:
        Events.begun = False
        try:
            with quiet_tune():
                return run_interruptibly(lambda: make().fit())
        except ConnectionError as error:
            if not by_client:
                raise
            raise ClusterLost(
                f"the cluster does not answer any more in phase {phase} ({reason_of(error)}): the same command goes on "
                "once it does"
            ) from error
        except Exception as error:
            # On a full disk Tune cannot write down why a trial failed, and cannot read what it wrote of it.
            of_storage = isinstance(error, OSError | ArrowException)
            if not Events.begun or not (of_storage or type(error).__name__ in ("EOFError", "UnpicklingError")):
                raise
            raise StorageFailure(
                f"Tune stopped in phase {phase}, for it cannot read or write in {folder} ({reason_of(error)}): the "
                "same command goes on once the storage works"
            ) from error

    logger = logging.getLogger("ray.tune.execution.experiment_state")
    if _in_one_line not in logger.filters:
        logger.addFilter(_in_one_line)
    return patiently(once, what=f"begin or resume phase {phase} in {folder}", seconds=folder.patience)


def _in_one_line(record: logging.LogRecord) -> bool:
    """What Tune logs of storage that it cannot write to, without the traceback."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg = f"{record.getMessage().strip()} {reason_of(record.exc_info[1])}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True
