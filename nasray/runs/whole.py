"""Whether a run's folder has what its parts name: rows the files of their networks, outcomes their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pandas as pd

from nasray.runs.schema import LOOKED_UP, metric_of
from nasray.runs.storage import Storage


def mend_files(storage: Storage, rows: pd.DataFrame) -> tuple[str, ...]:
    """Write again what rows of evaluations say of missing files, and give a line for each file that is lost.

    An architecture is in its row; trained weights are nowhere else.
    """
    there = set(storage.list("architectures"))
    trained = rows[rows["training"] != LOOKED_UP]
    for row in trained.drop_duplicates("architecture_id").to_dict("records"):
        name = f"architectures/{row['architecture_id']}.json"
        if name not in there:
            storage.write_json(name, json.loads(row["architecture"]))
    lost = [name for name in trained["weights"].dropna().unique() if name not in there]
    return tuple(f"{name}, the weights of a trained network, is missing. Its row stands" for name in sorted(lost))


def without_rows(points: Mapping[str, Iterable[tuple[float, float]]], *tables: pd.DataFrame) -> list[str]:
    """The trials whose rows are lost.

    Args:
        points: of trials that are done, by name: multiply-adds (M) and metric of each row that they wrote.
        tables: candidates and evaluations, as they are read.
    """
    there: set[tuple[float, float]] = set()
    for rows in tables:
        there.update(rows[["macs", metric_of(rows).name]].itertuples(index=False, name=None))
    return sorted(name for name, own in points.items() if not there.issuperset(own))
