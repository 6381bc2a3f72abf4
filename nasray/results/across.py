"""One front across several runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from nasray.errors import InvalidInput
from nasray.results.fronts import average_over_seeds, hypervolume, pareto_front
from nasray.results.schema import CANDIDATES, EVALUATIONS, Table
from nasray.results.storage import Storage
from nasray.results.tables import read


@dataclass(frozen=True)
class Across:
    """The front of several runs together, and of each."""

    front: pd.DataFrame
    fronts: Mapping[str, pd.DataFrame]
    """Of each run alone, by its name."""
    rows: Mapping[str, pd.DataFrame]
    """All rows of each run that could be on a front."""
    kind: str
    """Kind of accuracy and fidelity, in words."""
    hypervolume: float
    """Of the common front (M x fraction)."""
    reference: tuple[float, float]
    """Multiply-adds (M), accuracy: the worst of the runs' own reference points."""
    dataset: str
    spaces: tuple[str, ...]
    """Of all rows."""


def front_across(runs: Mapping[str, Storage], *, budget: float | None = None, table: str | None = None) -> Across:
    """The front of runs, at the highest fidelity that they have.

    Args:
        runs: folders by the name under which they are shown.
        budget: largest multiply-adds (M).
        table: ``evaluations`` or ``candidates``; None is evaluations where every run has some.

    Raises:
        InvalidInput: a run has no rows of that kind, or the runs' rows must not share a front.
    """
    if table is None:
        trained = all(len(read(run, EVALUATIONS)) for run in runs.values())
        table = EVALUATIONS.name if trained else CANDIDATES.name
    chosen = EVALUATIONS if table == EVALUATIONS.name else CANDIDATES
    rows = {name: _rows(name, run, chosen) for name, run in runs.items()}
    dataset = str(next(iter(rows.values()))["dataset"].iloc[0])
    spaces = tuple(sorted({str(space) for frame in rows.values() for space in frame["space"]}))
    if budget is not None:
        rows = {name: frame[frame["macs"] <= budget] for name, frame in rows.items()}
    everything = pd.concat(rows.values(), ignore_index=True)
    front = pareto_front(everything)
    points = [point for run in runs.values() if (point := _reference(run)) is not None]
    if points:
        reference = (max(macs for macs, _ in points), min(accuracy for _, accuracy in points))
    else:  # single searches state none: their own worst corner
        reference = (float(everything["macs"].max()), 0.0) if len(everything) else (0.0, 0.0)
    kind = chosen.kind + ", validation split"
    if chosen is EVALUATIONS and len(everything):
        kind += f", {int(everything['epochs'].iloc[0])} epochs"
    return Across(
        front=front,
        fronts={name: pareto_front(frame) for name, frame in rows.items()},
        rows=rows,
        kind=kind,
        hypervolume=hypervolume(front, reference) if len(front) else 0.0,
        reference=reference,
        dataset=dataset,
        spaces=spaces,
    )


def _rows(name: str, run: Storage, table: Table) -> pd.DataFrame:
    frame = read(run, table)
    if not len(frame):
        raise InvalidInput(f"run {name!r} has no {table.name}: accepted are runs that have some, or the other --table")
    if table is EVALUATIONS:
        # Each fidelity has a front of its own: here it is the highest's.
        frame = frame[frame["complete"] & (frame["epochs"] == frame.loc[frame["complete"], "epochs"].max())]
        if not len(frame):
            raise InvalidInput(f"run {name!r} has no complete evaluations: accepted are runs that have some")
        if frame["seed"].nunique() > 1:
            frame = average_over_seeds(frame)
    return frame


def _reference(run: Storage) -> tuple[float, float] | None:
    values = run.read_json("run.json").get("reference")
    return None if values is None else (float(values[0]), float(values[1]))
