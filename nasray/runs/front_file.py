"""A run as its reader finds it: its tables in pandas, and its front, which is never replaced because rows were lost."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd
import pyarrow as pa

from nasray.errors import DamagedFiles, InvalidInput, StorageFailure, message
from nasray.runs.parquet import MOST_BYTES, from_bytes, to_bytes
from nasray.runs.schema import TABLES, kinds_of
from nasray.runs.storage import Storage, open_storage
from nasray.runs.tables import read
from nasray.runs.uniting import shared_texts

FRONT_FILE = "front.parquet"
_RUN_MARKS = ("run.json", *TABLES, FRONT_FILE)


def is_run(storage: Storage) -> bool:
    """Whether a run lies in a folder, finished or not."""
    return any(storage.exists(mark) for mark in _RUN_MARKS)


def storage_of(run: str | Path) -> Storage:
    """The folder of a run by its path, its URI, or its name in runs/. It need not be there."""
    storage = open_storage(run)
    if not is_run(storage) and "/" not in str(run):
        named = open_storage(f"runs/{run}")
        return named if is_run(named) else storage
    return storage


def found_run(run: str | Path, beside: str) -> str:
    """The folder or URI of a run, as :func:`storage_of` finds it, or by its name in a folder of runs."""
    storage = storage_of(run)
    if not is_run(storage) and "/" not in str(run):
        other = open_storage(beside).child(str(run))
        return str(other if is_run(other) else storage)
    return str(storage)


def name_of_run(where: str) -> str:
    """The name of a run's folder, or of the one that a URI ends with."""
    return where.partition("?")[0].rstrip("/").rpartition("/")[2]


def load(path: str | Path, table: str = "evaluations") -> pd.DataFrame:
    """Load a run's table into pandas; the run may still be going on.

    path: the run's folder, its URI, or its name in runs/. table: "evaluations" (trained from scratch), "candidates"
    (weights inherited from the supernet), "epochs" (learning curves) or "front". A table without rows is an empty frame
    with all columns. A file that cannot be read is left out with a DamagedFilesWarning that names it. InvalidInput:
    another table, a folder that is no run's, or a front that has not been written yet.
    """
    accepted = ("evaluations", "candidates", "epochs", "front")
    if table not in accepted:
        raise InvalidInput(f"table {table!r}: expected one of {', '.join(accepted)}")
    storage = storage_of(path)
    if not is_run(storage):
        raise InvalidInput(f"{storage}: not a run; expected a folder that has one of {', '.join(_RUN_MARKS)}")
    if table in TABLES:
        return read(storage, TABLES[table], strict=False)
    try:
        return _read_front(storage)
    except FileNotFoundError:
        raise InvalidInput(f"{storage}: has no front yet; expected evaluations or candidates") from None


def write_front(storage: Storage, front: pd.DataFrame) -> None:
    """Write a front, such as `pareto_front` gives, into the run's folder as `front.parquet`.

    The column `kind` is added where it is missing: which kind of accuracy the rows hold. A front is never replaced
    because rows were lost. DamagedFiles: a file of its table cannot be read, or the front that is there has rows that
    their table no longer has.
    """
    if "kind" not in front.columns:
        kinds = kinds_of(front) or [t.kind for t in TABLES.values() if t.mark in front.columns]
        if len(kinds) != 1:
            raise InvalidInput("front: expected rows of candidates or of evaluations, or a column 'kind'")
        front = front.assign(kind=kinds[0])
    _check_nothing_lost(storage, set(front["kind"]))
    storage.write_bytes(FRONT_FILE, to_bytes(pa.Table.from_pandas(front, preserve_index=False)))


def _read_front(storage: Storage) -> pd.DataFrame:
    """The front that was written; FileNotFoundError where there is none, InvalidInput where it cannot be read."""
    try:
        storage.check_size(FRONT_FILE, MOST_BYTES)
        rows = from_bytes(storage.read_bytes(FRONT_FILE))
        nested = [field.name for field in rows.schema if pa.types.is_nested(field.type)]
        if nested:
            raise ValueError(f"has lists in its column {nested[0]!r:.60}")
        frame = pd.DataFrame(rows.to_pandas())
        for name in {name for table in TABLES.values() for name in table.long_texts} & set(frame.columns):
            if frame[name].dtype == "str":
                frame[name] = shared_texts(rows.column(name))  # as the tables have them
        return frame
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | InvalidInput | StorageFailure):
            raise
        raise InvalidInput(
            f"{storage}/{FRONT_FILE} cannot be read ({message(error)}): expected a Parquet file"
        ) from None


def _check_nothing_lost(storage: Storage, kinds: Collection[str]) -> None:
    """Raise DamagedFiles where the tables of these kinds, or of the front that is there, do not have all their rows."""
    try:
        before = _read_front(storage)
    except (FileNotFoundError, InvalidInput):  # one that cannot be read is made again
        before = pd.DataFrame()
    told = set(before["kind"]) if "kind" in before.columns else set[str]()
    for table in TABLES.values():
        if table.kind not in {*kinds, *told}:
            continue
        rows = read(storage, table)
        # Means over seeds have a row for several of the table.
        names = [name for name in table.key if name not in ("method", "settings", "seed")]
        if table.kind in told and set(names) <= set(before.columns):
            known = set(rows[names].itertuples(index=False, name=None))
            own = before.loc[before["kind"] == table.kind, names]
            lost = [one for one in own.itertuples(index=False, name=None) if one not in known]
            if lost:
                raise DamagedFiles(
                    f"{len(lost)} of {len(own)} rows of {storage}/{FRONT_FILE} are no longer in {table.name}/: a file "
                    f"there is missing. Put it back, or delete {FRONT_FILE} to do without these rows"
                )
