"""The runs of a folder at a glance: what each is of, how far it is, and its front."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nasray.errors import InvalidInput, StorageFailure, message
from nasray.results.run import Run
from nasray.runs import Storage, open_storage
from nasray.runs.lease import driver_of
from nasray.runs.outcomes import GAVE_UP, read_outcomes
from nasray.runs.schema import metric_of


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What a person wants to know of a run first."""

    name: str
    what: str
    """sweep, search or training; run where that cannot be read."""
    state: str
    """finished; running, with who drives it; stopped: nobody is at it, and it is not finished; or damaged, with why."""
    done: int
    """Trials that have ended."""
    open: int
    """Trials that have begun and not ended."""
    failed: int
    """Trials that gave up."""
    front: int | None
    """Rows on its front; None where its rows have no common one."""
    best: str
    """The best row of the front, in words; empty without one."""


def runs_in(folder: str | Path) -> list[Overview]:
    """All runs that lie in a folder, by name.

    Args:
        folder: a path, or a URI.
    """
    storage = open_storage(folder)
    children = (storage.child(name) for name in storage.folders())
    return [_overview_or_damage(child) for child in children if child.exists("run.json")]


def _overview_or_damage(storage: Storage) -> Overview:
    """A run at a glance, or that it is damaged: it does not hide the others."""
    try:
        return overview(storage)
    except (InvalidInput, StorageFailure, OSError) as error:
        state = f"damaged: {message(error)}"
        return Overview(name=storage.name, what="run", state=state, done=0, open=0, failed=0, front=None, best="")


def overview(storage: Storage) -> Overview:
    """A run at a glance."""
    values = storage.read_json("run.json")
    what = next((one for one in ("search", "training") if one in values), "sweep")
    outcomes = read_outcomes(storage).values()
    is_open = sum(one.is_open for one in outcomes)
    ended = "ended" in values if what == "sweep" or "population" in values else bool(outcomes) and not is_open
    driver = driver_of(storage)
    try:
        front = Run(storage).front()
    except InvalidInput:  # of several fidelities
        front = None
    best = ""
    if front is not None and len(front):
        metric, row = metric_of(front), front.iloc[-1]
        best = f"{metric.name} {row[metric.name]:.4f} at {row['macs']:.4g} M"
    return Overview(
        name=storage.name,
        what=what,
        state="finished" if ended else "stopped" if driver is None else f"running ({driver})",
        done=len(outcomes) - is_open,
        open=is_open,
        failed=sum(one.state in GAVE_UP for one in outcomes),
        front=None if front is None else len(front),
        best=best,
    )
