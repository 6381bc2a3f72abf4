"""Trials that end by no doing of their own: lost processes, and too little memory.

A trial writes what becomes of it itself; here the driver writes it of one whose process is gone. Only errors that a
trial raises count against it, on machines that come and go. But a trial that takes its process down with it must end
too, so losses in a row without an epoch between them have a bound.

A trial that ran out of memory gets more in the phase's next pass: where the GPU's memory was short twice its share, up
to a whole GPU; where the node's was, twice the cores, the further ones being left idle, so that fewer trials run beside
it and it still computes with the threads that it had. Such a retry is no failure, for it cannot repeat for ever; once
there is no more to give, it is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import OutOfMemoryError
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial as TuneTrial

from nasray.errors import StorageFailure
from nasray.runs import Storage, open_storage
from nasray.runs.events import say
from nasray.runs.outcomes import Outcome, read_outcome, write_outcome
from nasray.runs.patience import PATIENCE
from nasray.runs.stopped import mark_stopped
from nasray.trials.memory import short_of_memory
from nasray.trials.running import ENDED, EPOCH, GIVEN_UP
from nasray.tune.session.secrets import keep_secrets

E = TypeVar("E", bound=BaseException)

MOST_LOSSES = 10
"""Of a trial's processes, one after the other, without an epoch done between them."""


class Failures(Callback):
    """Writes the outcomes of trials that could not, and says what was lost, and why.

    Args:
        run: name of the run.
        storage: the run's folder.
        digests: of the pass's trials by their names; a proposed trial's is added when it is proposed.
    """

    def __init__(self, run: str, storage: Storage, digests: Mapping[str, str]) -> None:
        self.run, self.digests = run, digests
        self._where = str(storage)
        self._tried: dict[str, int] = {}
        """Errors by trial that were seen to be tried again."""

    def setup(self, *arguments: Any, **info: Any) -> None:
        """Called by Tune before any trial, in the process in which it runs: with a Ray Client that is the head's."""
        keep_secrets()

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune when a trial's process ended with an error, before another is started for it."""
        name, reason = str(trial), _noted(trial)
        outcome = self._outcome(name)
        if outcome.failures > self._tried.get(name, 0):  # it wrote so itself, before it raised the error
            self._tried[name] = outcome.failures
            say("warning", "trial_retried", run=self.run, trial=name, failures=outcome.failures, reason=outcome.reason)
            return
        memory = short_of_memory(reason)
        if memory is not None:
            self._write(name, replace(outcome, state="out_of_memory", memory=memory, reason=reason))
            return
        epoch = int((trial.last_result or {}).get(EPOCH, 0))
        losses = 1 if epoch > outcome.epoch else outcome.losses + 1
        lost = replace(outcome, state="lost", reason=reason, losses=losses, epoch=max(epoch, outcome.epoch))
        if losses > MOST_LOSSES:
            lost = replace(lost, state="failed", reason=f"lost its process {losses} times in a row: {reason}")
        self._write(name, lost)
        say("warning", "worker_lost", run=self.run, trial=name, in_a_row=losses, reason=reason)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune when a trial ended by itself, or was stopped at a rung."""
        name, result = str(trial), trial.last_result or {}
        if result.get(GIVEN_UP):
            outcome = self._outcome(name)
            if outcome.state in ("waiting", "retrying", "lost"):  # it did not come as far as its own outcome
                self._write(name, replace(outcome, state="refused", reason=result[GIVEN_UP]))
        elif not result.get(ENDED):
            # What a search gave until then stays in its table, and counts nowhere.
            self._write(name, replace(self._outcome(name), state="stopped", epoch=int(result.get(EPOCH, 0)), points=()))
            mark_stopped(self._storage, name)

    def _write(self, name: str, outcome: Outcome) -> None:
        """Write an outcome; where even that fails, the run ends with an error that names the trial."""
        try:
            write_outcome(self._storage, name, outcome)
        except StorageFailure as error:
            say("error", "trial_failed", run=self.run, trial=name, reason=str(error))
            raise

    @property
    def _storage(self) -> Storage:
        return open_storage(self._where, patience=PATIENCE)

    def _outcome(self, name: str) -> Outcome:
        digest = self.digests.get(name, "")
        return read_outcome(self._storage, name, digest or None) or Outcome(state="waiting", digest=digest)


def cause_of(error: BaseException | None, kind: type[E]) -> E | None:
    """The error of a kind that led to another one; None if there is none.

    Tune turns what its callbacks raise, and a kill by Ray's memory monitor, into an error of its own.
    """
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def note_kill(
    storage: Storage, error: OutOfMemoryError, processes: Mapping[str, int], digests: Mapping[str, str]
) -> None:
    """Write down which of a pass's trials the memory monitor killed: that of the process it names, else all that ran.

    Args:
        storage: the run's folder.
        error: of the kill.
        processes: ids of processes by trial.
        digests: of the pass's trials.
    """
    named = {int(pid) for pid in re.findall(r"pid[=: ]+(\d+)", str(error))}
    found = [name for name, pid in processes.items() if pid in named]
    for name in found or processes:
        outcome = read_outcome(storage, name, digests[name]) or Outcome(state="waiting", digest=digests[name])
        reason = "killed by Ray because its node ran out of memory"
        write_outcome(storage, name, replace(outcome, state="out_of_memory", memory="host", reason=reason))


def with_more_memory(outcome: Outcome, cpus: float, gpus: float, max_failures: int) -> Outcome:
    """The outcome of a trial that ran out of memory, with what it gets in the next pass.

    Args:
        outcome: of the trial.
        cpus: cores of the other trials.
        gpus: share of a GPU of the other trials.
        max_failures: how often it may fail once there is no more to give.
    """
    if outcome.memory == "gpu":
        share = outcome.gpus or gpus
        if 0 < share < 1:
            return replace(outcome, state="retrying", gpus=min(1.0, 2 * share))
    else:
        cores = cpus + (outcome.idle_cpus or 0.0)
        wanted = min(2 * cores, _largest_node())
        if wanted > cores:
            return replace(outcome, state="retrying", idle_cpus=wanted - cpus)
    failures = outcome.failures + 1
    if failures > max_failures:
        return replace(outcome, state="failed", failures=failures, reason=f"{outcome.reason}; there is no more to give")
    return replace(outcome, state="retrying", failures=failures)


def resources(outcome: Outcome | None, cpus: float, gpus: float) -> PlacementGroupFactory:
    """What a trial reserves: the others' cores and GPUs, and what it needs beyond them."""
    head = {"CPU": cpus, "GPU": max(gpus, (outcome and outcome.gpus) or 0.0)}
    idle = (outcome and outcome.idle_cpus) or 0.0
    if not idle:
        return PlacementGroupFactory([head])
    # What is idle lies on the trial's own node.
    return PlacementGroupFactory([head, {"CPU": idle}], strategy="STRICT_PACK")


def described(outcome: Outcome | None, cpus: float, gpus: float) -> str:
    """The resources of a trial, for a message."""
    head, *others = resources(outcome, cpus, gpus).bundles
    idle = sum(bundle.get("CPU", 0.0) for bundle in others)
    told = f"{head.get('CPU', 0.0):g} CPUs, {head.get('GPU', 0.0):g} GPUs"
    return f"{told}, {idle:g} CPUs idle beside it" if idle else told


def _largest_node() -> float:
    """Cores of the node that has most."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return max((node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]), default=0.0)


def _noted(trial: TuneTrial) -> str:
    """What Tune noted of a trial's last error, in one line: of a lost process what Ray found out of it."""
    noted = trial.error_file
    if noted is None or not Path(noted).exists():
        return ""
    last = re.split(r"^Failure # .*$", Path(noted).read_text(errors="replace"), flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    return next((line for line in lines if short_of_memory(line)), lines[-1] if lines else "")
