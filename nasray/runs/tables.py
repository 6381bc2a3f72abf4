"""A run's tables: small Parquet files of a row or a few, read as one, and put together once in a while.

Files in a table's folder have one of three names:

- `row-...`: one row, named by its key, or the last epochs of a trial, named by it. Writing them again replaces the
  file.
- `claimed-...`: such a file that a compaction has taken. It is renamed, so that a writer who writes the same
  row again makes a new file, which the compaction will not delete.
- `compact-...`: many rows.

The last two are never changed once they exist. Each compaction deletes only what it has read and written
anew, so several of them, readers and writers may run at once, and any of them may be killed: at worst a row
lies in two files, and reading keeps the newest.

A file that cannot be read is never deleted, and never a silent loss: reading names it, and refuses unless the caller
says that it only looks. A damaged row that lies whole in another file is no loss.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from nasray.errors import DamagedFiles, DamagedFilesWarning, InvalidInput, StorageFailure, message, printable
from nasray.runs.parquet import MOST_BYTES, Foreign, check_files, check_rows, from_bytes, to_bytes
from nasray.runs.schema import SCHEMA_VERSION, Table
from nasray.runs.storage import Storage
from nasray.runs.uniting import join_alike, to_pandas, unite

_MOST_LISTINGS = 20
_LARGE_BYTES = 4 * 2**20
"""Of a file of many rows, some ten thousand, to which no more are added."""
_AT_ONCE = 16
"""Files that are read at once: an object store answers in tens of milliseconds, whatever the size."""
_TOGETHER = 1_000
"""Files whose rows are checked together, and then are one table."""
_ROW_NAME = re.compile(r"^claimed-[0-9a-f]{32}-(?=row-)")
"""What a compaction puts before the name of a row's file."""


def write_row(storage: Storage, table: Table, row: Mapping[str, Any], knobs: Mapping[str, Any] | None = None) -> str:
    """Write one row into the run's folder `storage`, and return the name of its file.

    Columns are those of `table`; extra ones, and `knobs`, become columns of their own. A row of the same key
    that was written before is replaced. InvalidInput: what `Table.accept` refuses.
    """
    return _write(storage, table, table.accept(row, knobs))


def write_rows(storage: Storage, table: Table, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the table's own columns into one file, in place of what it held.

    name: of the file among those of the table, the same for the same rows and more of them. InvalidInput: a value that
    its column does not take.
    """
    stamped = [{"schema_version": SCHEMA_VERSION, **row} for row in rows]
    try:
        content = check_rows(table, pa.Table.from_pylist(stamped, schema=table.schema))
    except (pa.ArrowException, Foreign) as error:
        raise InvalidInput(f"{table.name}: a row {message(error)}") from error
    digest = hashlib.sha256(name.encode()).hexdigest()[:20]
    storage.write_bytes(f"{table.name}/row-{_readable(name)}-{digest}.parquet", to_bytes(content))


def amend_row(storage: Storage, table: Table, name: str, **values: Any) -> None:
    """Set columns of a row that was written, and leave its others as they are.

    name: of the row's file, as `write_row` gave it, or `row_file` gives it; where a compaction took the file the row
    is written anew. FileNotFoundError: there is no such row. InvalidInput: a column that is part of the row's name or
    not of the table, a value that it does not take. DamagedFiles: the row cannot be read.
    """
    columns = {column.name: column for column in table.columns}
    fixed = sorted(set(values) - (set(columns) - {*table.key, "created_at", "schema_version"}))
    if fixed:
        raise InvalidInput(f"Column {', '.join(fixed)} of {table.name} is part of the row's name, or unknown.")
    found, parts, damaged = None, list[pa.Table](), dict[str, str]()
    try:
        found = check_rows(table, from_bytes(storage.read_bytes(name)))
    except FileNotFoundError:
        _, parts, damaged = _read_files(storage, table)
    except (pa.ArrowException, OSError, ValueError, Foreign) as error:
        if isinstance(error, StorageFailure):
            raise
        damaged = {name: message(error)}
    if found is None:
        rows = [r for r in unite(table, parts).to_pylist() if _row_name(table, r) == _base(name)]
        if not rows and not damaged:
            raise FileNotFoundError(f"{storage}/{name}")
        if not rows:
            raise _damaged(storage, damaged)
        # Later than the row that was taken, or which of the two counts would be left to chance.
        rows[0]["created_at"] += timedelta(microseconds=1)
    else:
        rows = found.to_pylist()
    amended = {column: columns[column].accept(value) for column, value in values.items()}
    kept = {n: value for n, value in rows[0].items() if value is not None or n in columns}
    _write(storage, table, {**dict.fromkeys(columns), **kept, **amended})


def row_file(table: Table, row: Mapping[str, Any]) -> str:
    """The name of the file that a row has, or will have; `row` has at least the columns of the table's key."""
    return f"{table.name}/{_row_name(table, row)}"


def row_files(storage: Storage, table: Table, first: str) -> list[str]:
    """Names of the files of single rows whose key begins with the value `first`, but for what a compaction took."""
    start = f"row-{_readable(first)}-"
    return [name for name in storage.list(table.name, ".parquet") if _base(name).startswith(start)]


def read(storage: Storage, table: Table, *, strict: bool = True) -> pd.DataFrame:
    """All rows of a run's table, one for each key (the newest), sorted by key; also while the run goes on.

    Columns that only some rows have are missing (NaN, NA) in the others.

    strict: refuse where a file cannot be read (DamagedFiles, in one line that names it): nothing may be chosen, or
    written, by the rows that happen to be left. False is for who only looks: such a file is left out, with a
    DamagedFilesWarning that names it. InvalidInput: a row that a later version of nasray wrote.
    """
    _, parts, damaged = _read_files(storage, table)
    if damaged and strict:
        raise _damaged(storage, damaged)
    for name, reason in damaged.items():
        warnings.warn(printable(f"{storage}/{name} was left out: {reason}"), DamagedFilesWarning, stacklevel=2)
    return to_pandas(table, unite(table, parts))


def compact(storage: Storage, table: Table) -> int:
    """Put the rows of a run's table into one file, and return how many there are in it.

    Files of many rows that have grown large are left as they are, so that what this takes does not grow with the run.
    Rows that are written meanwhile stay files of their own until the next compaction, and files that cannot be read
    stay for good. On an object store, where a file is renamed by a copy and a deletion, a row that is *rewritten*
    between these two keeps its older values.
    """
    for name in storage.list(table.name, ".parquet"):
        if _base(name).startswith("row-"):
            try:
                storage.move(name, f"{table.name}/claimed-{uuid.uuid4().hex}-{_base(name)}")
            except FileNotFoundError:
                continue  # another compaction was faster

    def is_taken(name: str) -> bool:
        base = _base(name)
        return base.startswith("claimed-") or (base.startswith("compact-") and storage.has_at_most(name, _LARGE_BYTES))

    files, parts, _ = _read_files(storage, table, is_taken)
    united = unite(table, parts)
    if len(files) > 1 or any(_base(name).startswith("claimed-") for name in files):
        storage.write_bytes(f"{table.name}/compact-{uuid.uuid4().hex}.parquet", to_bytes(united))
        for name in files:
            storage.delete(name)
    return int(united.num_rows)


def _row_name(table: Table, row: Mapping[str, Any]) -> str:
    values = [row[name] for name in table.key]
    # What is readable may be cut and have letters replaced; the hash of the exact values is what names the
    # row.
    readable = _readable("-".join(str(value) for value in values))
    return f"row-{readable}-{hashlib.sha256(json.dumps(values).encode()).hexdigest()[:20]}.parquet"


def _readable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", name)[:80].strip("-.")


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _write(storage: Storage, table: Table, row: Mapping[str, Any]) -> str:
    schema = table.schema
    for name, value in row.items():
        if name not in table.names:
            schema = schema.append(pa.field(name, pa.scalar(value).type))
    name = row_file(table, row)
    storage.write_bytes(name, to_bytes(pa.Table.from_pylist([row], schema=schema)))
    return name


def _read_files(
    storage: Storage, table: Table, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[list[str], list[pa.Table], dict[str, str]]:
    """Names of the wanted files, and their rows; and those that cannot be read, with the reason.

    A file of one row that cannot be read, and whose row another file has, is in neither.
    """
    files: list[str] = []
    parts: list[pa.Table] = []
    damaged: dict[str, str] = {}
    # A file that vanished is in a compaction's file now, and a listing made while files come and go may miss
    # both: list again, until twice in a row nothing vanished and nothing is new. Rows that keep coming in do not
    # hold a reader for ever.
    listings, quiet, vanished, seen = 0, 0, False, set[str]()
    while vanished or (quiet < 2 and listings < _MOST_LISTINGS):
        listings += 1
        vanished = False
        new = [name for name in storage.list(table.name, ".parquet") if name not in seen and wanted(name)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(new), _TOGETHER):
                names = new[start : start + _TOGETHER]
                read = dict(zip(names, pool.map(lambda name: _read_file(storage, table, name), names), strict=True))
                contents = {name: content for name, content in read.items() if content is not None}
                vanished |= len(contents) < len(read)
                seen |= set(contents)
                whole, more = check_files(table, contents)
                files += whole
                # Each of these small tables takes 60 KiB by itself.
                parts += [one.combine_chunks() if len(one) <= _TOGETHER else one for one in join_alike(whole.values())]
                damaged |= more
        quiet = 0 if new else quiet + 1
    if damaged:
        keys = [content.select(list(table.key)).to_pylist() for content in parts]
        known = {_row_name(table, row) for rows in keys for row in rows}
        damaged = {name: reason for name, reason in damaged.items() if _ROW_NAME.sub("", _base(name)) not in known}
    return files, parts, dict(sorted(damaged.items()))


def _read_file(storage: Storage, table: Table, name: str) -> pa.Table | str | None:
    """A file's content, or why it cannot be read; None where it is gone."""
    try:
        storage.check_size(name, MOST_BYTES)
        content = storage.read_bytes(name)
    except FileNotFoundError:
        return None
    except InvalidInput as error:
        return message(error)
    try:
        return from_bytes(content, table.long_texts)
    except (pa.ArrowException, OSError, ValueError) as error:
        return message(error)


def _damaged(storage: Storage, damaged: Mapping[str, str]) -> DamagedFiles:
    first = [f"{name} ({reason})" for name, reason in list(damaged.items())[:3]]
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    several = len(damaged) > 1
    return DamagedFiles(
        f"{storage}: {', '.join(first)}{more} cannot be read. Put back {'whole copies' if several else 'a whole copy'},"
        f" or delete {'them' if several else 'it'} to do without {'their' if several else 'its'} rows"
    )
