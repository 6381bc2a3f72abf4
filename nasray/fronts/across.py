"""One front across several runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nasray.errors import InvalidInput, shown
from nasray.fronts.pareto import average_over_seeds, hypervolume, pareto_front
from nasray.runs.schema import CANDIDATES, EVALUATIONS, LOOKED_UP, Table, is_looked_up, metric_of
from nasray.runs.storage import Storage
from nasray.runs.tables import read
from nasray.spaces.metric import Metric


@dataclass(frozen=True)
class Rows:
    """The rows of runs that one front may be made of."""

    table: Table
    of: Mapping[str, pd.DataFrame]
    """Rows of each run, by the run's name."""
    kind: str
    """Kind of accuracy and fidelity, in words."""
    dataset: str
    spaces: tuple[str, ...]
    metric: Metric


@dataclass(frozen=True)
class Across:
    """The front of several runs together, and of each."""

    front: pd.DataFrame
    fronts: Mapping[str, pd.DataFrame]
    """Front of each run alone, by the run's name."""
    rows: Rows
    """All that could be on a front."""
    hypervolume: float
    """Hypervolume of the common front (M x the metric's unit)."""
    reference: tuple[float, float]
    """Multiply-adds (M), metric: the worst of the runs' own reference points."""


def front_across(
    runs: Mapping[str, Storage], *, budget: float | None = None, table: str | None = None, only: Sequence[str] = ()
) -> Across:
    """The front of runs, each at the highest fidelity that it has.

    Where several seeds were trained it is one of means, over all runs that trained an architecture.

    Args:
        runs: folders by the name under which they are shown.
        budget: largest multiply-adds (M).
        table: ``evaluations`` or ``candidates``; None is evaluations where every run has some.
        only: conditions that rows must meet, as :func:`rows_of_runs` takes them.

    Raises:
        InvalidInput: a run has no rows of that kind, or the runs' rows must not share a front.
    """
    rows = rows_of_runs(runs, budget=budget, table=table, only=only)
    everything = pd.concat(rows.of.values(), ignore_index=True)
    parts = dict(rows.of)
    if rows.table is EVALUATIONS and everything["seed"].nunique() > 1:
        everything = average_over_seeds(everything)
        parts = {name: average_over_seeds(frame) for name, frame in parts.items()}
    front, metric = pareto_front(everything), rows.metric
    worst = min if metric.higher_is_better else max
    points = [point for run in runs.values() if (point := reference_of(run)) is not None]
    if points:
        reference = (max(macs for macs, _ in points), worst(value for _, value in points))
    elif not len(everything):
        reference = (0.0, 0.0)
    else:  # single searches state none: their own worst corner
        bound = metric.low if metric.higher_is_better else metric.high
        value = bound if math.isfinite(bound) else worst(everything[metric.name].dropna(), default=0.0)
        reference = (float(everything["macs"].max()), float(value))
    return Across(
        front=front,
        fronts={name: pareto_front(frame) for name, frame in parts.items()},
        rows=dataclasses.replace(rows, of=parts),
        hypervolume=hypervolume(front, reference) if len(front) else 0.0,
        reference=reference,
    )


def rows_of_runs(
    runs: Mapping[str, Storage], *, budget: float | None = None, table: str | None = None, only: Sequence[str] = ()
) -> Rows:
    """The rows of runs that could be on a front: complete ones, of each run's highest fidelity.

    Args:
        runs: folders by name.
        budget: largest multiply-adds (M).
        table: ``evaluations`` or ``candidates``; None is evaluations where every run has some.
        only: NAME=VALUE, a column or a setting and the value that a row must have there.

    Raises:
        InvalidInput: a run has no such rows, or a condition names nothing that rows have.
    """
    if table is None:
        trained = all(len(read(run, EVALUATIONS, strict=False)) for run in runs.values())
        table = EVALUATIONS.name if trained else CANDIDATES.name
    chosen = EVALUATIONS if table == EVALUATIONS.name else CANDIDATES
    of = {name: _rows(name, run, chosen, only) for name, run in runs.items()}
    first = next(iter(of.values()))
    # Whose accuracies a table has, and on which examples, its columns say.
    kind = f"{LOOKED_UP} in a table" if is_looked_up(first) else f"{chosen.kind}, validation split"
    if chosen is EVALUATIONS:
        kind += f", {int(first['epochs'].iloc[0])} epochs"
    return Rows(
        table=chosen,
        of=of if budget is None else {name: frame[frame["macs"] <= budget] for name, frame in of.items()},
        kind=kind,
        dataset=str(first["dataset"].iloc[0]),
        spaces=tuple(sorted({str(space) for frame in of.values() for space in frame["space"].unique()})),
        metric=metric_of(pd.concat(of.values(), ignore_index=True)),
    )


def reference_of(run: Storage) -> tuple[float, float] | None:
    """The hypervolume's reference point that a run has written down: multiply-adds (M), metric; None for none."""
    values = run.read_json("run.json").get("reference")
    return None if values is None else as_reference(values, run)


def as_reference(values: Any, run: Storage) -> tuple[float, float]:
    """A reference point from what a run's run.json holds.

    Raises:
        InvalidInput: anything but two finite numbers.
    """
    if isinstance(values, list) and len(values) == 2 and all(type(one) in (int, float) for one in values):
        with contextlib.suppress(OverflowError):
            macs, accuracy = map(float, values)
            if math.isfinite(macs) and math.isfinite(accuracy):
                return macs, accuracy
    raise InvalidInput(f"{run}/run.json with the reference {shown(values)}: accepted are two numbers")


def _rows(name: str, run: Storage, table: Table, only: Sequence[str]) -> pd.DataFrame:
    frame = read(run, table, strict=False)
    if not len(frame):
        raise InvalidInput(f"run {name!r} has no {table.name}: accepted are runs that have some, or the other --table")
    for condition in only:
        frame = _kept(name, frame, condition)
    if table is EVALUATIONS:
        # Each fidelity has a front of its own: here it is the highest's.
        frame = frame[frame["complete"] & (frame["epochs"] == frame.loc[frame["complete"], "epochs"].max())]
        if not len(frame):
            raise InvalidInput(f"run {name!r} has no complete {table.name}: accepted are runs that have some")
    return frame


def _kept(run: str, frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    name, equals, wanted = condition.partition("=")
    if name in frame.columns:
        values = list(frame[name])
    else:
        settings = {text: _object(text) for text in frame["settings"].unique()}
        # Those of a search lie one level deeper.
        own = {
            text: {**one, **one["settings"]} if isinstance(one.get("settings"), dict) else one
            for text, one in settings.items()
        }
        if not equals or not any(name in one for one in own.values()):
            raise InvalidInput(f"only {shown(condition)}: accepted is NAME=VALUE, a column or a setting and its value")
        values = [own[text].get(name) for text in frame["settings"]]
    meets = [_spoken(value) == _spoken(wanted) for value in values]
    if not any(meets):
        there = ", ".join(sorted({_spoken(value) for value in values})[:5])
        raise InvalidInput(f"only {shown(condition)}: run {run!r} has no such rows, accepted are {name}={there}")
    return frame[meets]


def _object(text: Any) -> dict[str, Any]:
    """A row's settings; none where they are no JSON object, as a table of somebody else's may hold."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _spoken(value: Any) -> str:
    """A value as it may be typed: 5, 5.0 and "5" are one."""
    if value is None or value is pd.NA or value != value:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return f"{float(value):.12g}"
    except (TypeError, ValueError):
        return str(value).lower() if str(value) in ("True", "False", "None") else str(value)
