"""One driver at a time: a run's lease, on any storage, without locks and without comparing clocks.

Every driver has a claim, a file of its own in the run's folder ``lease``, which only it writes: who it is, and a
counter that it raises every few seconds. A newcomer writes its claim, and then looks for others. Each of two newcomers
sees the other's claim, or one of them is there first; so of two at most one goes on:

- a claim of a process on the same machine is judged by that process: alive refuses, gone is deleted at once, so that
  a killed driver's successor waits for nothing;
- any other claim is watched: a counter that rises refuses, one that stands still for a minute of the watcher's own
  monotonic clock is deleted. What time it is on either machine plays no part.

Whoever finds its own claim deleted was taken for dead and has a successor: it has lost the lease, and must stop. A
higher term tells the successor from what the dead one may write when it wakes up.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyarrow import ArrowException

from nasray.errors import InvalidInput, LeaseLost
from nasray.runs import Storage
from nasray.runs.events import say
from nasray.runs.leftovers import sweep_up
from nasray.runs.processes import here, start_of

FOLDER = "lease"
BEAT_SECONDS = 5.0
"""Between two rises of an owner's counter."""
SILENT_SECONDS = 60.0
"""A counter that stands still for so long belongs to nobody that is alive."""

_held: dict[str, Lease] = {}
"""The leases of this process, by the run's folder."""


@dataclass(frozen=True)
class Claim:
    """What a driver's claim says."""

    id: str
    term: int
    """One more than that of any claim that it found."""
    held: bool
    """False until it found no other."""
    host: str
    place: str
    """Where process ids mean the same: a boot of a machine, and a namespace of it."""
    pid: int
    born: str
    """When its process started, in the machine's own count: a process id is used again."""
    beat: int = 0

    @property
    def owner(self) -> str:
        """For a person."""
        return f"process {self.pid} on {self.host}"


@contextmanager
def lease(storage: Storage, run: str) -> Iterator[None]:
    """Hold the lease of a run.

    Raises:
        InvalidInput: another driver is at it.
    """
    one = Lease(storage, run)
    one.acquire()
    _held[str(storage)] = one
    try:
        sweep_up(storage)
        yield
    finally:
        del _held[str(storage)]
        one.release()


def check_lease(storage: Storage | str, *, look: bool = False) -> None:
    """Go on only where this process has not lost the run's lease; a process that never held it may.

    Args:
        storage: the run's folder.
        look: ask the storage now, and do not trust the last beat: before something is written that matters.

    Raises:
        LeaseLost: another driver took the run over.
    """
    one = _held.get(str(storage))
    if one is not None:
        one.check(look=look)


def driver_of(storage: Storage) -> str | None:
    """Who drives a run, for a person; None where nobody does. What another machine's driver left when it was killed
    cannot be told from a living one's."""
    held = (claim for claim in _claims(storage).values() if claim is not None and claim.held)
    return next((claim.owner for claim in held if not _is_gone(claim, here())), None)


class Lease:
    """A driver's claim to a run, kept alive by a thread.

    Args:
        storage: the run's folder.
        run: its name, for what is said.
        beat_seconds: between two rises of the counter.
        silent_seconds: after which a counter that stands still belongs to nobody.
    """

    def __init__(
        self,
        storage: Storage,
        run: str,
        *,
        beat_seconds: float = BEAT_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.storage, self.run = storage, run
        self.beat_seconds, self.silent_seconds = beat_seconds, silent_seconds
        self._claim = Claim(
            id=uuid.uuid4().hex,
            term=0,
            held=False,
            host=socket.gethostname(),
            place=here(),
            pid=os.getpid(),
            born=start_of(os.getpid()) or "",
        )
        self._successor: str | None = None
        self._lock = threading.Lock()  # of the claim and its file
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="nasray lease", daemon=True)

    def acquire(self) -> None:
        """Claim the run, and wait until nobody else can be at it.

        Raises:
            InvalidInput: another driver is.
        """
        self._claim = replace(self._claim, term=1 + max((c.term for c in self._others().values() if c), default=0))
        self._write()
        self._thread.start()
        try:
            self._outwait()
            with self._lock:
                self._claim = replace(self._claim, held=True)
                self._write()
            self.check(look=True)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the run free."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self.beat_seconds)
        with self._lock, contextlib.suppress(OSError, ArrowException):
            self.storage.delete(self._name(self._claim.id))

    def check(self, *, look: bool = False) -> None:
        """Raise LeaseLost where another driver has taken the run over; ``look`` asks the storage."""
        if look:
            with contextlib.suppress(OSError, ArrowException):
                self._look()
        if self._successor is not None:
            raise LeaseLost(f"run {self.run!r} in {self.storage} was taken over by {self._successor}: this driver ends")

    def _outwait(self) -> None:
        """Come back when no other claim is left.

        Raises:
            InvalidInput: one of them goes first.
            LeaseLost: this claim was taken for a dead one's meanwhile.
        """
        seen: dict[str, tuple[Claim | None, float]] = {}
        while others := self._others():
            self.check()
            for name, claim in others.items():
                first = name not in seen
                moved = not first and claim != seen[name][0]
                if claim is not None and _is_gone(claim, self._claim.place):
                    self._end_of(name, claim, "its process is gone")
                elif claim is not None and self._goes_first(claim, moved):
                    raise self._refusal(claim)
                elif first or moved:
                    seen[name] = claim, time.monotonic()
                    if first and (claim is None or claim.held):
                        say("warning", "lease_watched", run=self.run, owner=_owner(claim), seconds=self.silent_seconds)
                elif time.monotonic() - seen[name][1] >= self.silent_seconds:
                    self._end_of(name, claim, f"no sign of life for {self.silent_seconds:g} s")
            self._ended.wait(min(0.1, self.beat_seconds / 5))

    def _goes_first(self, claim: Claim, moved: bool) -> bool:
        """Whether it is alive, and before this one: who holds the run, or of two newcomers the one of the lower id."""
        alive = moved or claim.place == self._claim.place
        return alive and (claim.held or claim.id < self._claim.id)

    def _end_of(self, name: str, claim: Claim | None, reason: str) -> None:
        self.storage.delete(name)
        if claim is None or claim.held:
            say("warning", "lease_taken_over", run=self.run, owner=_owner(claim), reason=reason)

    def _refusal(self, claim: Claim) -> InvalidInput:
        return InvalidInput(
            f"run {self.run!r} in {self.storage} is driven by {claim.owner}: give another --name, or wait until "
            "that driver ends"
        )

    def _keep(self) -> None:
        """Raise the counter until the lease ends or is lost."""
        while not self._ended.wait(self.beat_seconds):
            # A storage that fails for a while ends no lease: whoever watches waits longer than some beats.
            with contextlib.suppress(OSError, ArrowException):
                self._look()
                with self._lock:
                    if self._successor is not None or self._ended.is_set():
                        return
                    self._claim = replace(self._claim, beat=self._claim.beat + 1)
                    self._write()

    def _look(self) -> None:
        """Find out whether another driver has taken over."""
        mine = self._name(self._claim.id)
        names = self.storage.list(FOLDER, ".json")
        others = self._others()
        later = [c for c in others.values() if c and c.held and (c.term, c.id) > (self._claim.term, self._claim.id)]
        if later:
            self._successor = later[0].owner
        elif mine not in names and not self._ended.is_set():
            self._successor = "another driver"

    def _others(self) -> dict[str, Claim | None]:
        return _claims(self.storage, but=self._name(self._claim.id))

    def _write(self) -> None:
        self.storage.write_json(self._name(self._claim.id), asdict(self._claim))

    def _name(self, claim: str) -> str:
        return f"{FOLDER}/{claim}.json"


def _claims(storage: Storage, but: str | None = None) -> dict[str, Claim | None]:
    """All claims to a run but one, by the names of their files; None for one that cannot be understood."""
    found: dict[str, Claim | None] = {}
    for name in storage.list(FOLDER, ".json"):
        if name == but:
            continue
        try:
            found[name] = _understood(storage.read_json(name))
        except FileNotFoundError:
            continue
        except InvalidInput:
            found[name] = None
    return found


def _is_gone(claim: Claim, place: str) -> bool:
    """Whether it is a process of this place that has ended."""
    return claim.place == place and start_of(claim.pid) != claim.born


def _owner(claim: Claim | None) -> str:
    return "unknown" if claim is None else claim.owner


def _understood(values: dict[str, Any]) -> Claim | None:
    kinds = {"id": str, "term": int, "held": bool, "host": str, "place": str, "pid": int, "born": str, "beat": int}
    if set(values) != set(kinds) or any(not isinstance(values[name], kind) for name, kind in kinds.items()):
        return None
    return Claim(**values)
