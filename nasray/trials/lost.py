"""Rows that are gone although their trials are done: somebody has deleted a file of a table."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

from nasray.runs import CANDIDATES, EVALUATIONS, Storage, read
from nasray.runs.events import say
from nasray.runs.outcomes import Point, read_outcomes, write_outcome
from nasray.runs.schema import metric_of
from nasray.trials.trial import training_name


def reopen_without_rows(storage: Storage) -> list[str]:
    """Let trials run again that are done but whose rows are gone; gives their names.

    No phase counts as finished then, nor where there are fewer outcomes than one of them had trials.
    """
    outcomes = read_outcomes(storage)
    done = {name: one for name, one in outcomes.items() if one.state == "done"}
    points = {name: one.points for name, one in done.items()}
    lost = without_rows(points, read(storage, CANDIDATES), read(storage, EVALUATIONS))
    for name in lost:
        write_outcome(storage, name, dataclasses.replace(done[name], state="lost", reason="its rows are gone"))
        say("warning", "rows_lost", run=storage.name, trial=name, then="it runs again")
    finished = [name for name in storage.list("phases", ".json") if not name.endswith("-placement.json")]
    phases = [storage.read_json(name) for name in finished]
    if lost or any(phase.get("distinct", phase.get("trials", 0)) > len(outcomes) for phase in phases):
        storage.delete_folder("phases")
    return lost


def without_rows(
    points: Mapping[str, Iterable[Point]], candidates: pd.DataFrame, evaluations: pd.DataFrame
) -> list[str]:
    """The trials whose rows are lost, by name: fewer of a point than the trial wrote.

    Args:
        points: of trials that are done, by name: multiply-adds (M) and metric of each row that they wrote.
        candidates: as they are read.
        evaluations: likewise.
    """
    there: dict[str, Counter[Point]] = {}
    for name, point in _points(candidates, ["trial_id"]):
        there.setdefault(name[0], Counter())[point] += 1
    for (search, id, method, seed), point in _points(
        evaluations, ["search_trial_id", "architecture_id", "method", "seed"]
    ):
        # What a search trained in one stage is its own; all else is a training's.
        for trial in {str(search), training_name(id, method, seed)}:
            there.setdefault(trial, Counter())[point] += 1
    return sorted(name for name, own in points.items() if Counter(own) - there.get(_without_digest(name), Counter()))


def _points(rows: pd.DataFrame, names: list[str]) -> Iterable[tuple[tuple[str, ...], Point]]:
    for *key, macs, value in rows[[*names, "macs", metric_of(rows).name]].itertuples(index=False, name=None):
        yield tuple(key), (macs, value)


def _without_digest(name: str) -> str:
    return name.rpartition("_")[0] or name
