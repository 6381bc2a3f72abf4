"""What a report's page draws, as plain columns: the rows of runs, apart as far as they do not compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from nasray.fronts import comparable_parts, kendall_tau
from nasray.fronts.across import COSTS
from nasray.runs import CANDIDATES, EVALUATIONS, Storage
from nasray.runs.schema import is_looked_up, metric_of
from nasray.spaces.metric import Metric, measured

BASELINE = "random"
"""The method that a search has to be better than."""
SEARCH, TRAINING = "search", "evaluation"
"""Kinds of trials in the table of epochs."""
_MOST_POINTS = 20_000
"""Of learning curves: more are thinned out, for no screen shows them."""
_SCHEMA = frozenset({*CANDIDATES.names, *EVALUATIONS.names})


@dataclass(frozen=True, kw_only=True)
class RunTables:
    """One of the runs that a report is of."""

    name: str
    """Under which it is shown."""
    storage: Storage
    candidates: pd.DataFrame
    evaluations: pd.DataFrame
    epochs: pd.DataFrame | None
    """Every epoch's figures; None where the run has none."""

    @cached_property
    def values(self) -> dict[str, Any]:
        """Its run.json; empty where it has none."""
        return self.storage.read_json("run.json") if self.storage.exists("run.json") else {}

    @property
    def sweep(self) -> dict[str, Any]:
        """The sweep in run.json; empty where it is of something else."""
        sweep = self.values.get("sweep")
        return sweep if isinstance(sweep, dict) else {}


def rows_of(runs: Sequence[RunTables]) -> pd.DataFrame:
    """The rows of all runs, trained ones first: the tables' columns, and `run`, `table`, `part`, `what`, `inherited`.

    `run` is the name under which a run is shown. Rows of one `part` may share a front; it is -1 where training was
    stopped early. Of rows with the same `what` means are taken: one training with several seeds. `inherited` is what
    the metric of a trained architecture was with the supernet's weights.

    Raises:
        InvalidInput: the runs' metrics differ.
    """
    frames: list[pd.DataFrame] = []
    for table, of in ((EVALUATIONS, "evaluations"), (CANDIDATES, "candidates")):
        own = [getattr(run, of).assign(run=run.name, table=table.name) for run in runs if len(getattr(run, of))]
        if own:
            frames.append(_with_parts(pd.concat(own, ignore_index=True), len(frames)))
    if not frames:
        return pd.DataFrame({"table": [], "run": [], "part": [], "what": [], "inherited": []})
    for frame in frames[1:]:
        frame["part"] += frames[0]["part"].max() + 1
        frame["what"] += frames[0]["what"].max() + 1
    rows = pd.concat(frames, ignore_index=True)
    rows.loc[rows.get("complete", pd.Series(True, index=rows.index)).isin([False]), "part"] = -1
    metric = metric_of(rows)
    return rows.assign(inherited=_inherited(rows, metric))


def _with_parts(rows: pd.DataFrame, place: int) -> pd.DataFrame:
    parts = sorted(comparable_parts(rows), key=lambda own: -int(own.get("epochs", pd.Series([0])).max()))
    part = pd.Series(-1, index=rows.index)
    for number, own in enumerate(parts):
        part[own.index] = number
    told_apart = ["part"]
    if "epochs" in rows.columns:
        told_apart += ["space", "architecture_id", "channels", "training"]
        told_apart += [name for name in rows.columns if name.startswith("training.")]
    else:
        told_apart += ["run", "trial_id", "epoch", "snapshot"]
    rows = rows.assign(part=part)
    return rows.assign(what=rows.groupby(told_apart, sort=False, dropna=False).ngroup())


def _inherited(rows: pd.DataFrame, metric: Metric) -> pd.Series[Any]:
    """Of every evaluation the metric that its architecture had in the search that found it, when it last gave it."""
    if "search_trial_id" not in rows.columns or "trial_id" not in rows.columns:
        return pd.Series(np.nan, index=rows.index)
    found = rows[rows["table"] == CANDIDATES.name].sort_values(["epoch", "snapshot"], kind="stable")
    last = found.drop_duplicates(["run", "trial_id", "architecture_id"], keep="last")
    by_name = last.set_index(["run", "trial_id", "architecture_id"])[metric.name].to_dict()
    keys = zip(rows["run"], rows["search_trial_id"], rows["architecture_id"], strict=True)
    return pd.Series([by_name.get(key, np.nan) for key in keys], index=rows.index, dtype=float)


def part_labels(rows: pd.DataFrame) -> list[str]:
    """For every part, in words, what its rows have in common; the same words for no two."""
    labels: list[str] = []
    several = rows["dataset"].nunique() > 1 if len(rows) else False
    for _, own in rows[rows["part"] >= 0].groupby("part", sort=True):
        table = EVALUATIONS if own["table"].iloc[0] == EVALUATIONS.name else CANDIDATES
        label = "looked up in a table" if is_looked_up(own) else table.kind
        if table is EVALUATIONS:
            label += f", {int(own['epochs'].iloc[0])} epochs"
        label += f", {own['dataset'].iloc[0]}" if several else ""
        same = sum(one.startswith(label) for one in labels)
        labels.append(f"{label} (other settings, {same + 1})" if same else label)
    return labels


def varied_knobs(runs: Sequence[RunTables], rows: pd.DataFrame) -> list[str]:
    """Columns of knobs and varied settings that differ among the rows that are no baseline."""
    table_costs = {cost for run in runs for cost in (run.sweep.get("table") or {}).get("costs", ())}
    own = {"table", "part", "what", "inherited", "kind"} | table_costs
    names = [name for name in rows.columns if name not in _SCHEMA | own and measured(name) is None]
    searched = rows[rows["method"] != BASELINE] if len(rows) else rows
    return [name for name in names if searched[name].nunique(dropna=True) > 1]


def costs_of(rows: pd.DataFrame, runs: Sequence[RunTables]) -> dict[str, str]:
    """Columns of costs that some row has, each with its name for a person."""
    table_costs = [cost for run in runs for cost in (run.sweep.get("table") or {}).get("costs", ())]
    names = dict.fromkeys([*COSTS, *table_costs])
    return {n: COSTS.get(n, str(n)) for n in names if n in rows.columns and rows[n].notna().any()}


def rank_correlations(rows: pd.DataFrame, metric: Metric) -> list[float | None]:
    """For every part Kendall's tau of inherited and retrained figures; None where fewer than two can be compared."""
    found: list[float | None] = []
    for _, own in rows[rows["part"] >= 0].groupby("part", sort=True):
        once = own.groupby("what")[["inherited", metric.name]].mean() if len(own) else own
        tau = kendall_tau(once["inherited"], once[metric.name])
        found.append(None if np.isnan(tau) else tau)
    return found


def columns(rows: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """Columns of a frame as JSON has them shortest: numbers as lists, texts as numbers into a list of them.

    Args:
        rows: the frame.
        names: its columns, and what they are called on the page; those that it does not have are left out.
    """
    return {called: _column(rows[name]) for name, called in names.items() if name in rows.columns}


def _column(values: pd.Series[Any]) -> Any:
    if pd.api.types.is_bool_dtype(values.dtype):
        values = values.astype(int)
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return [_short(one) for one in numbers.tolist()]
    codes, texts = pd.factorize(values.astype(object).where(values.notna(), None))
    return {"of": [str(text) for text in texts], "is": codes.tolist()}


def _short(number: float) -> float | int | None:
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.9g}")


def curves_of(runs: Sequence[RunTables], metric: Metric) -> dict[str, Any] | None:
    """Learning curves, thinned out where they have more points than a screen shows; None where no run has some."""
    own = [run.epochs.assign(run=run.name) for run in runs if run.epochs is not None and len(run.epochs)]
    if not own:
        return None
    told = (metric.name, metric.supernet_column, f"train_{metric.name}", "loss", "macs", "expected_macs", "gap")
    frame = pd.concat(own, ignore_index=True).sort_values(["run", "kind", "trial_id", "epoch"], kind="stable")
    trials = frame.groupby(["run", "kind", "trial_id"], sort=False)
    step = -(-len(frame) // _MOST_POINTS)
    last = trials.cumcount(ascending=False) == 0
    frame = frame[(trials.cumcount() % step == 0) | last]
    names = ("run", "kind", "trial_id", "epoch", *told)
    return columns(frame, {name: name for name in names if name in frame.columns and frame[name].notna().any()})
