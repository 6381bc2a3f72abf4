"""Outcomes: what became of a run's trials, one small file each, ``trials/NAME.json``.

A trial whose outcome is absent or open is run (again); one whose outcome is final is not. So the outcomes, with the
checkpoints beside them in ``trials/NAME/``, are all that a driver needs to go on with another one's run. A trial writes
its own outcome where it can; of one whose process died, or that was stopped at a rung, the driver does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nasray.errors import InvalidInput
from nasray.runs.storage import Storage

FOLDER = "trials"

State = Literal["done", "stopped", "refused", "diverged", "failed", "waiting", "retrying", "lost", "out_of_memory"]
OPEN: frozenset[State] = frozenset({"waiting", "retrying", "lost", "out_of_memory"})
"""Its trial is to be run, or run on: nothing has become of it yet, it raised an error and may try again, its process
was lost, or it needs more memory."""
GAVE_UP: frozenset[State] = frozenset({"refused", "diverged", "failed"})
"""Final, and without a result."""

Point = tuple[float, float]
"""Multiply-adds (M) and accuracy (fraction) of something that may be on a front."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a trial so far.

    Raises:
        InvalidInput: a state that is none, or a count below 0.
    """

    state: State
    digest: str
    """Digest of all that the trial depends on: an outcome of another digest is another trial's."""
    reason: str | None = None
    """Why it gave up, or was lost: one line."""
    epoch: int = 0
    """Epochs done when the outcome was written."""
    points: tuple[Point, ...] = ()
    """What it gave."""
    failures: int = 0
    """How often it raised an error."""
    losses: int = 0
    """How often in a row its process was lost without an epoch done in between."""
    gpus: float | None = None
    """The share of a GPU that it needs: more than the others' where that was too little."""
    memory: Literal["gpu", "host"] | None = None
    """Which memory was short when it last ran out of some."""
    idle_cpus: float | None = None
    """Cores that are kept idle beside it, so that fewer trials share the node's memory."""
    architecture: str | None = None
    """What a proposed trial trains, as JSON."""

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise InvalidInput(f"Outcome state {self.state!r}. Give one of {', '.join(get_args(State))}.")
        for name in ("epoch", "failures", "losses"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"Outcome {name} {getattr(self, name)} is below 0.")

    @property
    def is_open(self) -> bool:
        """Whether the trial is to be run, or run on."""
        return self.state in OPEN


def write_outcome(storage: Storage, trial: str, outcome: Outcome) -> None:
    """Write a trial's outcome in place of the one before.

    Args:
        storage: the run's folder.
        trial: its name.
        outcome: what became of it.
    """
    values = {name: value for name, value in dataclasses.asdict(outcome).items() if value not in (None, ())}
    storage.write_json(_file(trial), values)


def read_outcome(storage: Storage, trial: str, digest: str | None = None) -> Outcome | None:
    """A trial's outcome; None where there is none, none that can be understood, or one of another digest.

    What cannot be understood (a file that a full disk cut short) is as if it were absent: the trial then goes on from
    its checkpoints, and writes the same rows.
    """
    try:
        outcome = _understood(storage.read_json(_file(trial)))
    except FileNotFoundError:
        return None
    except (InvalidInput, TypeError, ValueError):
        return None
    return outcome if digest is None or outcome.digest == digest else None


def read_outcomes(
    storage: Storage, digests: Mapping[str, str] | None = None, *, only: Collection[str] | None = None
) -> dict[str, Outcome]:
    """The outcomes of a run's trials by their names.

    Args:
        storage: the run's folder.
        digests: names and digests of the trials that are meant; None is all that there are.
        only: names of the trials that are meant, whatever their digests.
    """
    wanted = only if digests is None else digests
    names = [name.partition("/")[2].removesuffix(".json") for name in storage.list(FOLDER, ".json")]
    names = [name for name in names if wanted is None or name in wanted]
    found = {name: read_outcome(storage, name, None if digests is None else digests[name]) for name in names}
    return {name: outcome for name, outcome in found.items() if outcome is not None}


def reopen(storage: Storage, digests: Mapping[str, str]) -> None:
    """Let trials that were refused, or failed, be tried again: what a new driver does for whoever ran the command anew.

    A trial that diverged would diverge again, and stays as it is.
    """
    for name, outcome in read_outcomes(storage, digests).items():
        if outcome.state in ("refused", "failed"):
            again = dataclasses.replace(outcome, state="retrying", failures=0, losses=0)
            write_outcome(storage, name, again)


def points_of(outcomes: Iterable[Outcome]) -> list[Point]:
    """All that trials gave."""
    return [point for outcome in outcomes for point in outcome.points]


def _understood(values: Mapping[str, Any]) -> Outcome:
    points = tuple((float(macs), float(accuracy)) for macs, accuracy in values.get("points", ()))
    if not all(math.isfinite(value) for point in points for value in point):
        raise ValueError("points that are not finite")
    return Outcome(**{**values, "points": points})


def _file(trial: str) -> str:
    return f"{FOLDER}/{trial}.json"
