"""Outcomes: what became of a run's trials, one small file each, ``trials/NAME.json``, until they are put together.

A trial whose outcome is absent or open is run (again); one whose outcome is final is not. So the outcomes, with the
checkpoints beside them in ``trials/NAME/``, are all that a driver needs to go on with another one's run. A trial writes
its own outcome where it can; of one whose process died, or that was stopped at a rung, the driver does.

The driver puts final outcomes together, into ``trials/compact-NUMBER-ID.json``, which is never changed once it exists.
An outcome in a file of its own counts before what was put together, and of that the highest number counts. What was
read is deleted only once it lies in a new file: after a kill in between an outcome lies in two files, and is the same.
"""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nasray.errors import DamagedFiles, InvalidInput, message
from nasray.runs.storage import Storage

FOLDER = "trials"
_COMPACT = f"{FOLDER}/compact-"
_MOST_BYTES = 16 * 2**20
"""Of a file of outcomes that were put together."""

State = Literal["done", "stopped", "refused", "diverged", "failed", "waiting", "retrying", "lost", "out_of_memory"]
OPEN: frozenset[State] = frozenset({"waiting", "retrying", "lost", "out_of_memory"})
"""Its trial is to be run, or run on: nothing has become of it yet, it raised an error and may try again, its process
was lost, or it needs more memory."""
GAVE_UP: frozenset[State] = frozenset({"refused", "diverged", "failed"})
"""Final, and without a result."""

Point = tuple[float, float]
"""Multiply-adds (M) and accuracy (fraction) of something that may be on a front."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a trial so far.

    Raises:
        InvalidInput: an unknown state, or a count below 0.
    """

    state: State
    digest: str
    """Digest of all that the trial depends on: an outcome of another digest is another trial's."""
    reason: str | None = None
    """Why it gave up, or was lost: one line."""
    epoch: int = 0
    """Epochs done when the outcome was written."""
    points: tuple[Point, ...] = ()
    """What it gave; nothing where it was stopped."""
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
    proposal: str | None = None
    """What a searcher proposed: the proposal's key."""
    told: int | None = None
    """Which of all results its searcher was told, counted from 1; None where it was not told yet, or it was proposed by
    none."""

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
    storage.write_json(_file(trial), _values(outcome))


def read_outcome(storage: Storage, trial: str, digest: str | None = None) -> Outcome | None:
    """The outcome in a trial's own file, which every open one has; None where there is none, or one of another digest.

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
    """The outcomes of a run's trials by their names, from their own files and from those that hold many.

    Args:
        storage: the run's folder.
        digests: names and digests of the trials to read; None reads all.
        only: names of the trials to read, whatever their digests.

    Raises:
        DamagedFiles: a file that holds many outcomes cannot be read.
    """
    wanted = only if digests is None else digests
    own, compact = _files(storage)
    found: dict[str, Outcome] = {}
    for file in compact:
        many = _read_compact(storage, file)
        found |= {name: outcome for name, outcome in many.items() if wanted is None or name in wanted}
    for name in own:
        outcome = read_outcome(storage, name) if wanted is None or name in wanted else None
        if outcome is not None:
            found[name] = outcome
    return {name: found[name] for name in sorted(found) if digests is None or found[name].digest == digests[name]}


def compact_outcomes(storage: Storage) -> None:
    """Put final outcomes that have files of their own into one file, and smaller files of the kind into it as well.

    A file is taken in where it holds no more bytes than what it is added to: so there are few files, and an outcome is
    written anew a few times only. Only for who holds the run's lease, while no trial runs.

    Raises:
        DamagedFiles: a file that holds many outcomes cannot be read.
    """
    own, compact = _files(storage)
    number = int(compact[-1].removeprefix(_COMPACT).partition("-")[0]) if compact else 0
    final: dict[str, Outcome] = {}
    size = 0
    for name in own:
        outcome = read_outcome(storage, name)
        if outcome is not None and not outcome.is_open:
            final[name] = outcome
            size += len(_packed({name: outcome}))
        if size > _MOST_BYTES or (final and name == own[-1]):
            number += 1
            compact = _put_together(storage, number, final, compact)
            final, size = {}, 0


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


def _put_together(storage: Storage, number: int, own: Mapping[str, Outcome], compact: Sequence[str]) -> list[str]:
    """Write outcomes into a new file, with the last of these files as far as they are small; gives the files then."""
    outcomes, left = dict(own), list(compact)
    while left and storage.has_at_most(left[-1], min(len(_packed(outcomes)), _MOST_BYTES // 2)):
        outcomes = {**_read_compact(storage, left.pop()), **outcomes}
    # Two drivers, one of which lost the lease and does not know it yet, never write the same file.
    file = f"{_COMPACT}{number:08d}-{uuid.uuid4().hex[:8]}.json"
    storage.write_bytes(file, _packed(outcomes))
    for name in [*compact[len(left) :], *map(_file, own)]:
        storage.delete(name)
    return [*left, file]


def _files(storage: Storage) -> tuple[list[str], list[str]]:
    """Names of the trials whose outcomes have files of their own, and the files that hold many, the newest last."""
    files = storage.list(FOLDER, ".json")
    own = [name.partition("/")[2].removesuffix(".json") for name in files if not name.startswith(_COMPACT)]
    return own, [name for name in files if name.startswith(_COMPACT)]


def _read_compact(storage: Storage, file: str) -> dict[str, Outcome]:
    try:
        return {name: _understood(values) for name, values in storage.read_json(file).items()}
    except (InvalidInput, AttributeError, TypeError, ValueError) as error:
        raise DamagedFiles(
            f"{storage}: {file} ({message(error)}) cannot be read. Put back a whole copy, or delete it: its trials "
            "then run again, to the same rows."
        ) from None


def _packed(outcomes: Mapping[str, Outcome]) -> bytes:
    """JSON, a line for each trial."""
    lines = (f"{json.dumps(name)}: {json.dumps(_values(one), allow_nan=False)}" for name, one in outcomes.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _values(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(outcome).items() if value not in (None, ())}


def _file(trial: str) -> str:
    return f"{FOLDER}/{trial}.json"
