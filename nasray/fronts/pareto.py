"""Pareto fronts and hypervolume: what is best at which cost, of rows that may be compared.

A front is worth what its worst row is worth, so rows of several datasets, kinds of accuracy or fidelities are
refused, and what was stopped early is left out. The fidelity of a training from scratch is its length and all other
settings of it: an architecture that looks better because its learning rate was better has no place on a front (our
choice). Hyperparameters that a sweep varied for all of the rows, each of which has its value in a column
`training.NAME`, are what was searched: each network stands with its best row, and `tries` says of how many. Columns
that a frame does not have are not checked, so that frames of any origin can be used.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import moocore
import numpy as np
import numpy.typing as npt
import pandas as pd

from nasray.errors import InvalidInput, printable, shown
from nasray.fronts.tries import TRIES, VARIED, best_tries, equally_many, has_tries, sortable
from nasray.runs.schema import (
    CANDIDATES,
    EPOCHS,
    EVALUATION,
    EVALUATIONS,
    FROM_SCRATCH,
    POPULATION,
    SEARCH,
    kinds_of,
    metric_of,
)
from nasray.settings import COMPUTING, TrainingSettings
from nasray.spaces.metric import METRICS, Metric, measured

# Depth and the examples that measured it; an inherited accuracy has no epochs of its own, its cost is counted at one
# width, and methods of one and of two levels leave a different number of examples to the weights. Networks trained from
# scratch may differ in width: a budget makes some narrower, which is another cost and not another training.
_FIDELITY = {
    CANDIDATES.kind: ("channels", "cells", "validation_examples"),
    EVALUATIONS.kind: ("epochs", "cells", "train_examples", "validation_examples"),
}
# The other settings that an accuracy trained from scratch depends on. Channels and cells may stand there as None, for
# the space's own numbers, and those of examples follow from shares: columns have them all as they are. What computes
# changes the last digits, not the training.
_RECIPE = frozenset([*(one.name for one in fields(TrainingSettings)), "population", "perturbation_interval"]) - {
    *_FIDELITY[EVALUATIONS.kind], "channels", "validation_fraction", *COMPUTING,
}  # fmt: skip
_MEASURED_ON = {"latency_ms": ("device", "latency_batch")}
"""Costs that were measured, and the columns that say on what: those of two devices do not compare."""
_SAMPLE = 4096


def pareto_front(
    frame: pd.DataFrame,
    *,
    metric: Metric | str | None = None,
    minimise: str = "macs",
    equal_tries: bool = False,
) -> pd.DataFrame:
    """The rows that no other row beats, by rising `minimise` (M for macs); the metric betters strictly with it.

    metric: or a column of one, such as `test_accuracy`; None is what the rows' column `metric` says, and accuracy where
    they have none. Whether more or less of it is better is the metric's own.

    Of rows at one point the one with the first `architecture_id` is kept, so the order of the rows has no
    say; the index is renumbered. Rows that are not complete, or not finite in one of the two columns, are
    left out.
    Accuracies of several seeds count as they stand: see `average_over_seeds`.

    Where a sweep varied the training (columns `training.NAME`), each network stands with its best row, and the column
    `tries` says of how many complete rows of that network it is the best; several seeds that count as they stand are
    several tries, a mean over them is one. The best of many is biased upwards: `equal_tries` takes of every network
    only as many as the network with the fewest has, those of the lowest seed first, of one seed those that were written
    first (`created_at`).
    InvalidInput: one of the two columns is missing or holds no numbers; rows of several datasets, kinds of
    accuracy or fidelities, among those that could be on the front; `equal_tries` of rows of candidates, or of rows that
    are the best of several already.
    """
    usable, cost, gain, tries = _usable(frame, metric, minimise, equal_tries=equal_tries)
    if tries is not None:
        # Whole numbers in a new column; a written front that is read again has them already.
        told = np.ones(len(frame), dtype=np.int64)
        told[usable] = tries
        frame = frame.assign(**{TRIES: told})
    if not len(cost):
        return frame.iloc[:0].reset_index(drop=True)
    on_front = _non_dominated(cost, gain)
    rows = frame.iloc[usable[on_front]]
    return rows.iloc[_one_each(rows, cost[on_front], minimise)].reset_index(drop=True)


def near_front(frame: pd.DataFrame, within: float) -> pd.DataFrame:
    """The front, and the rows whose metric is at most `within` (in its unit) worse than the front's, by rising macs.

    A row is worse than the front by what the best row of at most its macs has more. Of an architecture that occurs
    several times the best row is kept. InvalidInput: as `pareto_front`.
    """
    metric = metric_of(frame)
    usable, cost, gain, _ = _usable(frame, metric, "macs")
    if not len(cost):
        return frame.iloc[:0].reset_index(drop=True)
    front = _non_dominated(cost, gain)
    above = gain[front][np.searchsorted(cost[front], cost, side="right") - 1]
    rows = frame.iloc[usable[above - gain <= within]]
    named = [name for name in ("architecture_id", "trial_id", "epoch", "snapshot") if name in rows.columns]
    ascending = [True, not metric.higher_is_better] + [True] * len(named)
    rows = rows.sort_values(["macs", metric.name, *named], ascending=ascending, kind="stable")
    twice = ["architecture_id"] if "architecture_id" in rows.columns else ["macs", metric.name]
    return rows.drop_duplicates(twice).reset_index(drop=True)


def hypervolume(
    frame: pd.DataFrame,
    reference: tuple[float, float],
    *,
    metric: Metric | str | None = None,
    minimise: str = "macs",
) -> float:
    """The area that the rows dominate, up to `reference`, in M x fraction (units of the two columns).

    reference: (macs in M, the metric in its unit), the worst corner; a row that is not better than it in both
    adds nothing. Two areas compare only with the same reference. metric: as for `pareto_front`. InvalidInput: as
    `pareto_front`, and a reference that is not two finite numbers.
    """
    corner = np.asarray(reference, dtype=np.float64)
    name, sign = column_of(frame, metric)
    if corner.shape != (2,) or not np.isfinite(corner).all():
        raise InvalidInput(f"reference {reference!r}: expected two finite numbers, ({minimise}, {name})")
    _, cost, gain, _ = _usable(frame, metric, minimise)
    corner = corner * [1.0, sign]
    inside = (cost < corner[0]) & (-gain < corner[1])
    if not inside.any():
        return 0.0
    cost, gain = cost[inside], gain[inside]
    front = _non_dominated(cost, gain)
    return float(moocore.hypervolume(np.column_stack([cost[front], -gain[front]]), ref=corner))


def average_over_seeds(evaluations: pd.DataFrame, *, cost: str = "macs") -> pd.DataFrame:
    """One row for each architecture and fidelity: means over its seeds, of which a front can be taken.

    The metric (`accuracy`, `test_accuracy`), `seconds` and a further `cost` are means; `accuracy_std` and
    `test_accuracy_std` sample standard deviations (missing for one seed); `seeds` counts the different seeds;
    `created_at` is when the first of them was written. Rows that are not complete are left out. Where runs or methods
    found the same architecture, their names are joined by a comma.
    InvalidInput: a column that it takes to tell architectures, fidelities and seeds apart is missing.
    """
    fidelity = [name for name in EVALUATIONS.key if name not in ("method", "settings", "seed")]
    fidelity += ["train_examples", "validation_examples"]
    told_apart = ("dataset_digest", "code_digest", *_MEASURED_ON.get(cost, ()))
    fidelity += [name for name in evaluations.columns if name in told_apart or name in VARIED]
    metric = metric_of(evaluations)
    values = (metric.name, metric.test_column)
    missing = [n for n in (*fidelity, "seed", metric.name, "complete") if n not in evaluations.columns]
    if missing:
        raise InvalidInput(f"expected rows of evaluations; these have no column {', '.join(missing)}")
    rows = complete(evaluations)
    if "settings" in rows.columns:
        rows, fidelity = rows.assign(recipe=_recipes(rows)), [*fidelity, "recipe"]
    order = [*fidelity, "seed", *(["created_at"] if "created_at" in rows.columns else [])]
    rows = rows.sort_values(order, kind="stable")
    finders = rows.groupby(fidelity, sort=True, dropna=False)
    # One training may have been done by two runs or for two methods: the newest counts, once.
    groups = rows.drop_duplicates([*fidelity, "seed"], keep="last").groupby(fidelity, sort=True, dropna=False)
    columns: dict[str, Any] = {
        n: groups[n].first() for n in ("architecture", "metric", "macs", "params", "settings") if n in rows.columns
    }
    columns |= {n: finders[n].agg(_joined) for n in ("run", "method") if n in rows.columns}
    means = [*values, "seconds", *([] if cost in columns else [cost])]
    columns |= {n: groups[n].mean() for n in means if n in rows.columns}
    columns |= {f"{n}_std": groups[n].std() for n in values if n in rows.columns}
    columns |= {n: finders[n].min() for n in ("created_at",) if n in rows.columns}
    averaged = pd.DataFrame({**columns, "seeds": groups["seed"].nunique()}).reset_index()
    return averaged.drop(columns="recipe", errors="ignore").assign(complete=True)


def check_comparable(frame: pd.DataFrame, *, cost: str = "macs", but: Collection[str] = ()) -> None:
    """Refuse rows that must not share a front, whether or not they could be on one.

    cost: column of the front's other axis. but: names of columns and settings in which they may differ all the same.
    InvalidInput: saying what differs.
    """
    kinds = kinds_of(frame)
    several = {"kind of accuracy": kinds} if len(kinds) > 1 else {}
    fidelity = _FIDELITY.get(kinds[0] if kinds else EVALUATIONS.kind, _FIDELITY[EVALUATIONS.kind])
    for name in ("dataset", "dataset_digest", "metric", *fidelity, *_MEASURED_ON.get(cost, ())):
        if name in frame.columns and frame[name].nunique(dropna=False) > 1:
            several[name] = ["missing" if pd.isna(v) else str(v) for v in frame[name].unique()]
    if kinds == [EVALUATIONS.kind] and "settings" in frame.columns:
        several |= _differing_settings(frame)
    several = {name: sorted(map(printable, values)) for name, values in several.items() if name not in but}
    said = [f"{name} ({', '.join(values[:5])})" for name, values in several.items()]
    if said:
        raise InvalidInput(
            f"rows that cannot be compared, for they differ in {', '.join(said)}: "
            "expected rows of one dataset, one kind of accuracy and one fidelity. Take some of them: --only NAME=VALUE"
        )


def comparable_parts(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The complete rows of a frame, apart as far as they do not compare: the rows of each part may share a front.

    frame: rows of candidates, or of evaluations.
    """
    rows = complete(frame)
    if not len(rows):
        return
    (kind,) = kinds_of(rows)
    names = [name for name in ("dataset", "dataset_digest", "metric", *_FIDELITY[kind]) if name in rows.columns]
    for _, own in rows.groupby(names, sort=True, dropna=False):
        differing = _differing_settings(own) if kind == EVALUATIONS.kind and "settings" in own.columns else {}
        if not differing:
            yield own
            continue
        values = own["settings"].map(json.loads)
        recipes = values.map(lambda one, names=tuple(differing): json.dumps([one.get(name) for name in names]))
        for _, part in own.groupby(recipes.where(_from_scratch(own), ""), sort=True):
            yield part


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame but those of trainings or searches that were stopped early."""
    return frame[_complete(frame)]


class _Points(NamedTuple):
    """The rows that may be on a front."""

    positions: npt.NDArray[np.intp]
    cost: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]
    """The metric, so that more of it is better."""
    tries: npt.NDArray[np.intp] | None
    """Of how many trainings of its network each is the best; None where the training was not varied."""


def _usable(frame: pd.DataFrame, metric: Metric | str | None, minimise: str, *, equal_tries: bool = False) -> _Points:
    """The rows that may be on a front; refuses what does not compare."""
    if {SEARCH, EVALUATION, EPOCHS.kind} & set(kinds_of(frame)):
        raise InvalidInput("Rows of epochs have no front. Give rows of candidates, or of evaluations.")
    name, sign = column_of(frame, metric)
    cost, gain = _numbers(frame, minimise), -sign * _numbers(frame, name)
    keep = np.isfinite(cost) & np.isfinite(gain) & _complete(frame)
    usable = np.flatnonzero(keep)
    told_by = {
        *("dataset", "dataset_digest", "metric", "kind", "settings", "training"),
        *(CANDIDATES.mark, EVALUATIONS.mark),
        *VARIED,
    }
    told_by = told_by.union(*_FIDELITY.values(), *_MEASURED_ON.values())
    checked = frame[[name for name in frame.columns if name in told_by]]
    check_comparable(checked if len(usable) == len(frame) else checked.iloc[usable], cost=minimise)
    if equal_tries:
        usable = usable[equally_many(frame.iloc[usable])]
    if not (equal_tries or has_tries(frame)):
        return _Points(usable, cost[usable], gain[usable], None)
    best, tries = best_tries(frame.iloc[usable], cost[usable], gain[usable])
    usable = usable[best]
    return _Points(usable, cost[usable], gain[usable], tries)


def column_of(frame: pd.DataFrame, metric: Metric | str | None) -> tuple[str, float]:
    """The column of a metric, and the sign with which less of it is better."""
    own = metric_of(frame)  # in any case: rows of several metrics never compare
    if metric is None or isinstance(metric, Metric):
        return (metric or own).name, (metric or own).sign
    found = measured(metric)
    if found is None:
        raise InvalidInput(f"Unknown metric {shown(metric)}. Give one of {', '.join(METRICS)}, or a Metric.")
    return metric, found.sign


def _numbers(frame: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    if name not in frame.columns:
        raise InvalidInput(f"column {name!r}: not in the frame, which has {', '.join(map(str, frame.columns))}")
    if not pd.api.types.is_numeric_dtype(frame[name].dtype):
        raise InvalidInput(f"column {name!r}: expected numbers, not {frame[name].dtype}")
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _complete(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    if "complete" not in frame.columns:
        return np.ones(len(frame), dtype=bool)
    return ~frame["complete"].isin([False]).to_numpy(dtype=bool)


def _differing_settings(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The settings of trainings from scratch that are not the same in all rows, with their values."""
    rows = frame[_from_scratch(frame)]
    recipes = [json.loads(_recipe(text)) for text in rows["settings"].unique()]
    varied = {VARIED[name] for name in rows.columns if name in VARIED and rows[name].notna().all()}
    found: dict[str, list[str]] = {}
    for name in sorted({name for recipe in recipes for name in recipe} - varied):
        values = {json.dumps(recipe[name]) if name in recipe else "missing" for recipe in recipes}
        if len(values) > 1:
            found[name] = sorted(values)
    return found


def _recipes(frame: pd.DataFrame) -> pd.Series[Any]:
    """JSON of those settings that tell trainings apart; a one-stage search is identified by all of its settings."""
    recipes = frame["settings"].map({text: _recipe(text) for text in frame["settings"].unique()})
    return recipes.where(_from_scratch(frame), frame["settings"])


def _recipe(settings: str) -> str:
    values = json.loads(settings)
    return json.dumps({name: values[name] for name in sorted(_RECIPE & values.keys())})


def _from_scratch(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    # Where a search ends with a trained network, how it trained is part of the method.
    if "training" not in frame.columns:
        return np.ones(len(frame), dtype=bool)
    return frame["training"].isin([FROM_SCRATCH, POPULATION]).to_numpy(dtype=bool)


def _non_dominated(cost: npt.NDArray[np.float64], gain: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Positions of the points that none dominates, equal points included, by rising cost."""
    if len(cost) <= _SAMPLE:
        return _front_by_sorting(cost, gain)
    # Sorting a million points takes most of the time, and nearly all of them are dominated by the front of a few.
    step = -(-len(cost) // _SAMPLE)
    some_cost, some_gain = cost[::step], gain[::step]
    front = _front_by_sorting(some_cost, some_gain)
    bars = np.concatenate(([-np.inf], some_gain[front]))
    left = np.flatnonzero(gain >= bars[np.searchsorted(some_cost[front], cost, side="right")])
    positions: npt.NDArray[np.intp] = left[_front_by_sorting(cost[left], gain[left])]
    return positions


def _front_by_sorting(cost: npt.NDArray[np.float64], gain: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    order = np.lexsort((-gain, cost))
    cost, gain = cost[order], gain[order]
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(gain)[:-1]))
    first = gain > best_before
    # Copies of a front's point follow it directly in this order.
    point = np.flatnonzero(first)[np.cumsum(first) - 1]
    positions: npt.NDArray[np.intp] = order[(cost == cost[point]) & (gain == gain[point])]
    return positions


def _one_each(rows: pd.DataFrame, cost: npt.NDArray[np.float64], minimise: str) -> npt.NDArray[np.intp] | slice:
    """Positions of one row for each cost, of rows by rising cost: whichever order they were given in, the same one."""
    same = cost[1:] == cost[:-1]
    if not same.any():
        return slice(None)
    tied = np.append(False, same) | np.append(same, False)
    order = [minimise, *(["architecture_id"] if "architecture_id" in rows.columns else [])]
    order += sorted((name for name in rows.columns if name not in order), key=str)
    several = rows[tied].reset_index(drop=True).sort_values(order, key=sortable, kind="stable")
    first = several.drop_duplicates(minimise).index.to_numpy()
    return np.sort(np.append(np.flatnonzero(~tied), np.flatnonzero(tied)[first]))


def _joined(names: pd.Series[Any]) -> str:
    return ", ".join(sorted({one for name in names for one in str(name).split(", ")}))
