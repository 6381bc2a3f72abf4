"""What the searches of runs were set to, and what each was worth: what importance and effects are told from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nasray.errors import InvalidInput, shown
from nasray.fronts import check_comparable, hypervolume
from nasray.fronts.across import Rows, common_reference, rows_of_runs
from nasray.runs import CANDIDATES, EVALUATIONS, Storage, read
from nasray.settings import COMPUTING, TRAINED
from nasray.spaces.metric import Metric, measured

HYPERVOLUME = "hypervolume"
"""Beside the metric and macs: what a search is worth, in M x the metric's unit."""
_SCHEMA = frozenset({*CANDIDATES.names, *EVALUATIONS.names})
_OWN = frozenset({"kind", "operations_per_node", "search", "place", HYPERVOLUME})
"""Columns that are neither the schema's nor a setting."""
_NEUTRAL = frozenset({"seed", "data_root", "split_seed"}) | COMPUTING
"""Of a search's settings those that say where and how often it ran, not what it was set to."""


@dataclass(frozen=True)
class Searches:
    """The searches of one method on one space."""

    method: str
    space: str
    kind: str
    """Kind of accuracy and fidelity, in words."""
    rows: pd.DataFrame
    """A row for each search: what it was set to, and what it was worth."""
    settings: tuple[str, ...]
    """Columns of what differs between the searches."""
    metrics: tuple[str, ...]
    """Columns of what a search is worth: the metric, macs (M) and hypervolume (M x the metric's unit)."""


def searches_of(runs: Mapping[str, Storage], table: str | None = None) -> list[Searches]:
    """The searches of runs, each method's and space's together, those of which something was varied.

    A search has the metric and the multiply-adds of its final architecture, and the hypervolume of all that it gave,
    from the runs' reference point. With ``evaluations`` these are of what was trained from scratch, of the highest
    fidelity, means over seeds: one search is once each way in which what it found was trained; and of a black-box
    searcher, whose proposals have values of their own, each network that was trained stands for itself. An architecture
    that several searches gave counts for the first. Random baselines are left out, and what was stopped early.

    Settings are the columns of knobs and of what a sweep varies, and all other settings of a search in which the
    searches of a method differ, as those of two runs may: nothing that differs goes unnamed.

    Args:
        runs: folders by the name under which they are shown.
        table: ``candidates`` (inherited accuracy) or ``evaluations``; None is evaluations where every run varied its
            training from scratch, and candidates else, which every search has.

    Raises:
        InvalidInput: a run has no such rows, or the runs' rows do not compare.
    """
    if table is None:
        table = _table(runs)
    elif table not in (CANDIDATES.name, EVALUATIONS.name):
        raise InvalidInput(f"table {shown(table)}: expected {CANDIDATES.name} or {EVALUATIONS.name}")
    found = rows_of_runs(runs, table=table)
    together = pd.concat([own.assign(run=run) for run, own in found.of.items()], ignore_index=True)
    check_comparable(together)
    reference = common_reference(runs, together, found.metric)
    finders = pd.concat(
        [read(run, CANDIDATES, strict=False).assign(run=name) for name, run in runs.items()], ignore_index=True
    )
    rows = _searched(found, together, finders)
    names = _settings(rows, runs)
    if found.table is EVALUATIONS:
        rows = _means(rows, names, found.metric)
    told = [
        _search(own, names, found.metric, reference)
        for _, own in rows.groupby(["run", "space", "search", *_trained(names)], sort=True, dropna=False)
    ]
    return list(_by_method(found, pd.DataFrame(told), names, finders)) if told else []


def _table(runs: Mapping[str, Storage]) -> str:
    for run in runs.values():
        trained = read(run, EVALUATIONS, strict=False)
        varied = [name for name in trained.columns if name.startswith(TRAINED) and trained[name].nunique() > 1]
        if not varied and len(read(run, CANDIDATES, strict=False)):
            return CANDIDATES.name
    return EVALUATIONS.name


def _searched(found: Rows, rows: pd.DataFrame, finders: pd.DataFrame) -> pd.DataFrame:
    """The rows that searches gave, with the columns `search` and `place`, by which a search's last is told."""
    order = ["run", "trial_id", "epoch", "snapshot"]
    if found.table is CANDIDATES:
        rows = rows.sort_values(order, kind="stable").reset_index(drop=True)
        return rows.assign(search=rows["trial_id"], place=np.arange(len(rows)))
    rows = rows[rows["baseline_of"].isna()]
    gave = finders.sort_values(order, kind="stable").reset_index(drop=True)
    places = {
        key: place for place, key in enumerate(zip(gave["run"], gave["trial_id"], gave["architecture_id"], strict=True))
    }
    known = set(zip(gave["run"], gave["trial_id"], strict=True))
    rows = rows.sort_values(["run", "created_at", "architecture_id", "seed"], kind="stable").reset_index(drop=True)
    keys = list(zip(rows["run"], rows["search_trial_id"], rows["architecture_id"], strict=True))
    return rows.assign(
        # What a black-box searcher proposed is no candidate of any search.
        search=[trial if (run, trial) in known else f"{trial} {identity}" for run, trial, identity in keys],
        place=[places.get(key, -1) for key in keys],
        method=rows["method"].str.split(", ").str[0],
    )


def _settings(rows: pd.DataFrame, runs: Mapping[str, Storage]) -> list[str]:
    """Columns of settings, whether or not they differ."""
    sweeps = [run.read_json("run.json").get("sweep") or {} for run in runs.values() if run.exists("run.json")]
    costs = {cost for sweep in sweeps for cost in (sweep.get("table") or {}).get("costs", ())}
    return [str(n) for n in rows.columns if n not in _SCHEMA | _OWN | costs and measured(str(n)) is None]


def _trained(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith(TRAINED)]


def _means(rows: pd.DataFrame, names: Sequence[str], metric: Metric) -> pd.DataFrame:
    """Means over the seeds of a training."""
    network = ["run", "method", "space", "search", "architecture_id", "channels", *_trained(names)]
    groups = rows.groupby(network, sort=False, dropna=False)
    own = [name for name in ("seed", "search_trial_id", "place", *names) if name not in network]
    means = groups[[metric.name, "macs"]].mean()
    return pd.concat([groups[own].first(), means], axis="columns").reset_index()


def _search(rows: pd.DataFrame, names: Sequence[str], metric: Metric, reference: tuple[float, float]) -> dict[str, Any]:
    last = rows.iloc[int(rows["place"].to_numpy().argmax())]
    points = rows[["macs", metric.name]].reset_index(drop=True)
    return {
        **{name: last[name] for name in ("run", "method", "space", *names)},
        "search": last["trial_id"] if "trial_id" in rows.columns else last["search_trial_id"],
        metric.name: float(last[metric.name]),
        "macs": float(last["macs"]),
        HYPERVOLUME: hypervolume(points, reference, metric=metric),
    }


def _by_method(found: Rows, rows: pd.DataFrame, names: Sequence[str], finders: pd.DataFrame) -> Iterator[Searches]:
    texts = finders.drop_duplicates(["run", "trial_id"]).set_index(["run", "trial_id"])["settings"].to_dict()
    for (method, space), own in rows.groupby(["method", "space"], sort=True):
        given = own.dropna(axis="columns", how="all").reset_index(drop=True)
        own = given.assign(**_others([texts.get(key) for key in zip(own["run"], own["search"], strict=True)], names))
        there = [name for name in own.columns if name in names or name not in rows.columns]
        differing = tuple(name for name in there if own[name].nunique(dropna=False) > 1)
        if differing:
            metrics = (found.metric.name, "macs", HYPERVOLUME)
            yield Searches(str(method), str(space), found.kind, own, differing, metrics)


def _others(texts: Sequence[Any], names: Sequence[str]) -> dict[str, list[Any]]:
    """Settings of searches that have no column, and are not the same in all of them."""
    parsed = {text: _flat(text) for text in {one for one in texts if isinstance(one, str)}}
    values = [parsed.get(text, {}) for text in texts]
    known = {*names, *(name.removeprefix("search_") for name in names)}
    found = {}
    for name in sorted({name for one in values for name in one} - known - _NEUTRAL):
        column = [one.get(name) for one in values]
        if len({json.dumps(value, sort_keys=True) for value in column}) > 1:
            plain = all(isinstance(value, int | float | str) for value in column)  # none is a value as well
            found[name] = column if plain else [json.dumps(value) for value in column]
    return found


def _flat(text: str) -> dict[str, Any]:
    """A search's own settings; none where they are no JSON object, as a table of somebody else's may hold."""
    try:
        values = json.loads(text).get("settings")
    except (ValueError, RecursionError, AttributeError):
        return {}
    return values if isinstance(values, dict) else {}
