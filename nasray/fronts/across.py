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

from nasray.errors import InvalidInput, printable, shown
from nasray.fronts.pareto import average_over_seeds, complete, hypervolume, pareto_front
from nasray.runs.schema import CANDIDATES, EVALUATIONS, LOOKED_UP, Table, is_looked_up, metric_of
from nasray.runs.storage import Storage
from nasray.runs.tables import read
from nasray.spaces.metric import Metric, measured

COSTS = {"macs": "multiply-adds (M)", "params": "parameters (M)", "latency_ms": "latency (ms)"}
"""Costs that nasray counts or measures itself, for a person. Others are a table's, by the names of its columns."""


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
    cost: str = "macs"
    """Column of the cost: the front's other axis."""


@dataclass(frozen=True)
class Across:
    """The front of several runs together, and of each."""

    front: pd.DataFrame
    fronts: Mapping[str, pd.DataFrame]
    """Front of each run alone, by the run's name."""
    rows: Rows
    """All that could be on a front."""
    hypervolume: float
    """Hypervolume of the common front (M, or the cost's unit, x the metric's)."""
    reference: tuple[float, float]
    """Multiply-adds (M), metric: the worst of the runs' own reference points. Of another cost, which these do not have,
    the largest of all rows."""


def front_across(
    runs: Mapping[str, Storage],
    *,
    budget: float | None = None,
    table: str | None = None,
    only: Sequence[str] = (),
    cost: str = "macs",
    equal_tries: bool = False,
) -> Across:
    """The front of runs, each at the highest fidelity that it has.

    Where several seeds were trained it is one of means, over all runs that trained an architecture.

    Args:
        runs: folders by the name under which they are shown.
        budget: largest multiply-adds (M).
        table: ``evaluations`` or ``candidates``; None is evaluations where every run has some.
        only: conditions that rows must meet, as :func:`rows_of_runs` takes them.
        cost: column of the cost.
        equal_tries: take equally many trainings of every network, as :func:`pareto_front` does: of each front as many
            as its own rows have of the network with the fewest.

    Raises:
        InvalidInput: a run has no rows of that kind or no such cost, the runs' rows must not share a front, or equal
            tries of candidates.
    """
    rows = rows_of_runs(runs, budget=budget, table=table, only=only, cost=cost)
    everything = pd.concat(rows.of.values(), ignore_index=True)
    parts = dict(rows.of)
    if rows.table is EVALUATIONS and everything["seed"].nunique() > 1:
        everything = average_over_seeds(everything, cost=cost)
        parts = {name: average_over_seeds(frame, cost=cost) for name, frame in parts.items()}
    front, metric = pareto_front(everything, minimise=cost, equal_tries=equal_tries), rows.metric
    reference = common_reference(runs, everything, metric)
    if cost != "macs" and len(everything):
        reference = (float(everything[cost].max()), reference[1])
    return Across(
        front=front,
        fronts={name: pareto_front(own, minimise=cost, equal_tries=equal_tries) for name, own in parts.items()},
        rows=dataclasses.replace(rows, of=parts),
        hypervolume=hypervolume(front, reference, minimise=cost) if len(front) else 0.0,
        reference=reference,
    )


def _within(of: Mapping[str, pd.DataFrame], budget: float) -> dict[str, pd.DataFrame]:
    """The rows of each run that obey a budget (M).

    Raises:
        InvalidInput: none does, or it is no number above 0.
    """
    if not 0 < budget < math.inf:
        raise InvalidInput(f"budget {budget!r}: expected multiply-adds in millions, a number above 0")
    found = {name: frame[frame["macs"] <= budget] for name, frame in of.items()}
    if not any(map(len, found.values())):
        least = min(frame["macs"].min() for frame in of.values())
        raise InvalidInput(
            f"Nothing in {', '.join(of)} is within {budget:g} M multiply-adds: the smallest has {least:.4g} M."
        )
    return found


def rows_of_runs(
    runs: Mapping[str, Storage],
    *,
    budget: float | None = None,
    table: str | None = None,
    only: Sequence[str] = (),
    cost: str = "macs",
) -> Rows:
    """The rows of runs that could be on a front: complete ones, of each run's highest fidelity.

    Args:
        runs: folders by name.
        budget: largest multiply-adds (M).
        table: ``evaluations`` or ``candidates``; None is evaluations where every run has some.
        only: NAME=VALUE, a column or a setting and the value that a row must have there.
        cost: column of the cost.

    Raises:
        InvalidInput: a run has no such rows or no such cost, or a condition names nothing that rows have.
    """
    if table is None:
        trained = all(len(read(run, EVALUATIONS, strict=False)) for run in runs.values())
        table = EVALUATIONS.name if trained else CANDIDATES.name
    chosen = EVALUATIONS if table == EVALUATIONS.name else CANDIDATES
    of = {name: _rows(name, run, chosen, only) for name, run in runs.items()}
    for name, frame in of.items():
        _check_cost(name, frame, chosen, cost)
    first = next(iter(of.values()))
    # Whose accuracies a table has, and on which examples, its columns say.
    kind = f"{LOOKED_UP} in a table" if is_looked_up(first) else f"{chosen.kind}, validation split"
    if chosen is EVALUATIONS:
        kind += f", {int(first['epochs'].iloc[0])} epochs"
    return Rows(
        table=chosen,
        of=of if budget is None else _within(of, budget),
        kind=kind,
        dataset=str(first["dataset"].iloc[0]),
        spaces=tuple(sorted({str(space) for frame in of.values() for space in frame["space"].unique()})),
        metric=metric_of(pd.concat(of.values(), ignore_index=True)),
        cost=cost,
    )


def common_reference(runs: Mapping[str, Storage], rows: pd.DataFrame, metric: Metric) -> tuple[float, float]:
    """The hypervolume's reference point for several runs: the worst of those that they have written down.

    Args:
        runs: folders by name.
        rows: of all runs; where no run states a point, as single searches do not, it is their own worst corner.
        metric: of the rows.
    """
    worst = min if metric.higher_is_better else max
    points = [point for run in runs.values() if (point := reference_of(run)) is not None]
    if points:
        return max(macs for macs, _ in points), worst(value for _, value in points)
    if not len(rows):
        return 0.0, 0.0
    bound = metric.low if metric.higher_is_better else metric.high
    value = bound if math.isfinite(bound) else worst(rows[metric.name].dropna(), default=0.0)
    return float(rows["macs"].max()), float(value)


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
    raise InvalidInput(f"{run}/run.json with the reference {shown(values)}: expected two numbers")


def _rows(name: str, run: Storage, table: Table, only: Sequence[str]) -> pd.DataFrame:
    frame = read(run, table, strict=False)
    if not len(frame):
        raise InvalidInput(f"run {name!r} has no {table.name}: expected runs that have some, or the other --table")
    for condition in only:
        frame = _kept(name, frame, condition)
    frame = complete(frame)
    if table is EVALUATIONS:
        # Each fidelity has a front of its own: here it is the highest's.
        frame = frame[frame["epochs"] == frame["epochs"].max()]
    if not len(frame):
        raise InvalidInput(f"run {name!r} has no complete {table.name}: expected runs that have some")
    return frame


def _check_cost(run: str, frame: pd.DataFrame, table: Table, cost: str) -> None:
    """Refuse a cost that no row of a run has."""
    costs = [name for name in frame.columns if name in COSTS or (name not in table.names and measured(name) is None)]
    known = [n for n in costs if pd.api.types.is_float_dtype(frame[n].dtype) and frame[n].notna().any()]
    if cost not in known:
        said = ", ".join(map(printable, known[:20])) + (", ..." if len(known) > 20 else "")
        raise InvalidInput(f"cost {shown(cost)}: run {run!r} has no such cost. Its rows have {said}.")


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
            raise InvalidInput(f"only {shown(condition)}: expected NAME=VALUE, a column or a setting and its value")
        values = [own[text].get(name) for text in frame["settings"]]
    meets = [_spoken(value) == _spoken(wanted) for value in values]
    if not any(meets):
        there = ", ".join(sorted({_spoken(value) for value in values})[:5])
        raise InvalidInput(f"only {shown(condition)}: run {run!r} has no such rows; it has {name}={there}")
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
