"""The report of runs, put together: their tables, what their cells cost, and the page that shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nasray.errors import InvalidInput
from nasray.fronts import front_across, pareto_front, repetitions
from nasray.pictures.report import RunTables, page
from nasray.pictures.report.cells import Cells
from nasray.pictures.report.facts import commands_of, device_seconds, facts_of, notes_on, settings_of
from nasray.pictures.report.tables import (
    BASELINE,
    columns,
    costs_of,
    curves_of,
    part_labels,
    rank_correlations,
    rows_of,
    varied_knobs,
)
from nasray.runs import Storage
from nasray.runs.schema import metric_of
from nasray.spaces import CellSpace
from nasray.spaces.metric import Metric

if TYPE_CHECKING:
    from nasray.results.searches import Searches

REPORT = "report.html"
"""In a run's folder."""
_COLUMNS = {
    **{name: name for name in ("table", "run", "part", "what", "method", "space", "dataset", "seed", "macs", "params")},
    **{name: name for name in ("epochs", "epoch", "snapshot", "gap", "seconds", "channels", "inherited", "device")},
    "architecture_id": "id",
    "baseline_of": "like",
    "training": "training",
    "weights": "weights",
}
"""Columns of the tables that the page has, and what they are called there."""


def report_page(runs: Sequence[RunTables], find: Callable[[str], CellSpace | None]) -> str:
    """The page of runs as HTML.

    Args:
        runs: one or more, by different names.
        find: gives a space by its name in the tables; None where its code was not given.

    Raises:
        InvalidInput: there are no rows yet, or the runs' rows are of several metrics; Plotly is not installed.
    """
    rows = rows_of(runs)
    if not len(rows):
        raise InvalidInput(f"{runs[0].storage} has no candidates and no evaluations yet: there is nothing to report.")
    metric = metric_of(rows)
    title = ", ".join(run.name for run in runs)
    notes = list(notes_on(runs, rows, metric))
    figures = _figures(runs, rows, metric, find)
    told = [(run.name, facts_of(run), commands_of(run), settings_of(run)) for run in runs]
    return page(title, {**figures, "title": title}, told, notes)


def write_page(text: str, storage: Storage, out: str | Path | None) -> str:
    """Write a page into a file, or as report.html into a run's folder; gives the file, or its URI.

    Raises:
        InvalidInput: it cannot be written.
    """
    if out is None:
        storage.write_bytes(REPORT, text.encode())
        return f"{storage}/{REPORT}"
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"report {out}: cannot be written ({error.strerror})") from error
    return str(out)


def _figures(
    runs: Sequence[RunTables], rows: pd.DataFrame, metric: Metric, find: Callable[[str], CellSpace | None]
) -> dict[str, Any]:
    knobs, costs = varied_knobs(runs, rows), costs_of(rows, runs)
    named = {**_COLUMNS, metric.name: "value", metric.test_column: "test", metric.supernet_column: "supernet"}
    # A search's own name, and that of the search that found a trained architecture.
    trial = rows["trial_id"] if "trial_id" in rows.columns else pd.Series(None, index=rows.index, dtype=object)
    if "search_trial_id" in rows.columns:
        trial = trial.where(trial.notna(), rows["search_trial_id"])
    told = columns(rows.assign(trial=trial), {**named, "trial": "trial"})
    cells = Cells(find)
    told["cells"] = [cells.of(architecture) for architecture in rows["architecture"]]
    counted, told["size"] = _counted(runs, rows, find, cells)
    trained = rows[(rows["table"] == "evaluations") | rows["what"].isin(_on_fronts(rows))]
    cells.draw(trained.sort_values(["table", "macs"], ascending=[False, True])["architecture"])
    front = _common_front(runs)
    return {
        "metric": {**asdict(metric), "label": metric.label, "low": None, "high": None},
        "baseline": BASELINE,
        "rows": told,
        "count": len(rows),
        "parts": part_labels(rows),
        "taus": rank_correlations(rows, metric),
        "costs": costs,
        "more_costs": columns(rows, {name: name for name in costs if name not in _COLUMNS}),
        "knobs": columns(rows, {name: str(name) for name in knobs}),
        **cells.to_dict(),
        "sizes": counted,
        "hypervolume": front,
        "surfaces": _surfaces(runs),
        "mattered": _mattered(runs),
        "curves": curves_of(runs, metric),
        "hours": sum(sum(device_seconds(run).values()) for run in runs) / 3600,
    }


def _on_fronts(rows: pd.DataFrame) -> set[int]:
    """Numbers of the rows that are on the front of their part."""
    fronts = [pareto_front(own) for _, own in rows[rows["part"] >= 0].groupby("part")]
    return {int(what) for front in fronts for what in front["what"]}


def _counted(
    runs: Sequence[RunTables], rows: pd.DataFrame, find: Callable[[str], CellSpace | None], cells: Cells
) -> tuple[list[dict[str, Any]], list[int]]:
    try:
        from nasray.results.cell_costs import costs_of_rows
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return [], [-1] * len(rows)  # a page without the costs of operations, where tables are opened without torch
    counted: list[dict[str, Any]] = []
    own = np.full(len(rows), -1)
    for run in runs:
        of_run, data = rows[rows["run"] == run.name], run.values.get("data")
        if isinstance(data, Mapping):
            found, places = costs_of_rows(of_run, data, find, cells.choice)
            own[rows["run"] == run.name] = [-1 if place < 0 else place + len(counted) for place in places]
            counted += found
    return counted, own.tolist()


def _common_front(runs: Sequence[RunTables]) -> dict[str, Any] | None:
    """Hypervolume of the runs' common front; None where their rows have none."""
    with contextlib.suppress(InvalidInput):
        found = front_across({run.name: run.storage for run in runs})
        return {"volume": found.hypervolume, "reference": list(found.reference), "kind": found.rows.kind}
    return None


def _surfaces(runs: Sequence[RunTables]) -> dict[str, Any] | None:
    """Attainment surfaces of each method over repetitions; None where the runs, or a run's seeds, are none."""
    with contextlib.suppress(InvalidInput):
        over = "seeds" if len(runs) == 1 else "runs"
        found = repetitions({run.name: run.storage for run in runs}, over)  # type: ignore[arg-type]
        return {
            "over": over,
            "names": list(found.names),
            "trained": found.rows.table.name == "evaluations",
            "of": {
                method: [
                    [fraction, own["macs"].tolist(), own[found.rows.metric.name].tolist()]
                    for fraction, own in surface.groupby("fraction")
                ]
                for method, surface in found.surfaces.items()
            },
            "volumes": {
                method: [float(own["hypervolume"].mean()), float(own["hypervolume"].std())]
                for method, own in found.volumes.groupby("method")
            },
        }
    return None


def _mattered(runs: Sequence[RunTables]) -> list[dict[str, Any]]:
    """Importance and effects of what each method's searches varied; empty where that is nothing, or they are few."""
    try:
        from nasray.results.importance import FEWEST, importances
        from nasray.results.searches import searches_of

        found = [one for one in searches_of({run.name: run.storage for run in runs}) if len(one.rows) >= FEWEST]
        return [_of_searches(one, importances([one])) for one in found]
    except InvalidInput:  # rows that do not compare, or none
        return []
    except ModuleNotFoundError as error:
        if error.name not in ("optuna", "sklearn", "scipy"):
            raise
        return []


def _of_searches(own: Searches, told: pd.DataFrame) -> dict[str, Any]:
    from nasray.results.effects import effects_of

    notes = {str(metric): str(rows["note"].iloc[0]) for metric, rows in told.groupby("metric")}
    explained = {str(metric): float(rows["explained"].iloc[0]) for metric, rows in told.groupby("metric")}
    drawn = ("value", "least", "most", "mean", "low", "high", "searches")
    return {
        **{"method": own.method, "space": own.space, "kind": own.kind, "searches": len(own.rows)},
        "metrics": [
            [name, notes[name], None if np.isnan(explained[name]) else explained[name]] for name in own.metrics
        ],
        "importance": columns(told, {name: name for name in ("metric", "setting", "importance")}),
        "effects": {
            name: columns(effect, {"metric": "metric", **{one: one for one in drawn}})
            for name, effect in ((name, effects_of([own], [name]).infer_objects()) for name in own.settings)
        },
    }
