"""A run's tables: one small Parquet file for each row, read as one, and put together once in a while.

Files in a table's folder have one of three names:

- `row-...`: one row, named by its key. Writing the row again replaces the file.
- `claimed-...`: a row's file that a compaction has taken. It is renamed, so that a writer who writes the same
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
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nasray.errors import DamagedFiles, DamagedFilesWarning, InvalidInput, StorageFailure, message, printable
from nasray.runs.schema import SCHEMA_VERSION, TABLES, Column, Table, kinds_of
from nasray.runs.storage import Storage, open_storage
from nasray.spaces.metric import METRICS

FRONT_FILE = "front.parquet"
_RUN_MARKS = ("run.json", *TABLES, FRONT_FILE)
# Without these a whole or truth column with a gap would turn into floats or objects.
_WITH_GAPS = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
_MOST_LISTINGS = 20
_AT_ONCE = 16
"""Files that are read at once: an object store answers in tens of milliseconds, whatever the size."""
_TOGETHER = 1_000
"""Files whose rows are checked together, and then are one table."""
_ROW_NAME = re.compile(r"^claimed-[0-9a-f]{32}-(?=row-)")
"""What a compaction puts before the name of a row's file."""
# More than this in one file is no table of nasray's: a million rows are some 100 MB.
_MOST_BYTES, _MOST_ROWS, _MOST_COLUMNS, _MOST_VALUES = 4 * 2**30, 50_000_000, 2_000, 2_000_000_000
_PLAIN = frozenset({pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.large_string(), pa.null()})
"""Types of further columns."""


def write_row(storage: Storage, table: Table, row: Mapping[str, Any], knobs: Mapping[str, Any] | None = None) -> str:
    """Write one row into the run's folder `storage`, and return the name of its file.

    Columns are those of `table`; extra ones, and `knobs`, become columns of their own. A row of the same key
    that was written before is replaced. InvalidInput: what `Table.accept` refuses.
    """
    return _write(storage, table, table.accept(row, knobs))


def amend_row(storage: Storage, table: Table, name: str, **values: Any) -> None:
    """Set columns of a row that was written, and leave its others as they are.

    name: of the row's file, as `write_row` gave it, or `row_file` gives it; where a compaction took the file the row
    is written anew. FileNotFoundError: there is no such row. InvalidInput: a column that is part of the row's name or
    not of the table, a value that it does not take. DamagedFiles: the row cannot be read.
    """
    columns = {column.name: column for column in table.columns}
    fixed = sorted(set(values) - (set(columns) - {*table.key, "created_at", "schema_version"}))
    if fixed:
        raise InvalidInput(f"Column {', '.join(fixed)} of {table.name} cannot be set: it names the row, or is none.")
    found, parts, damaged = None, list[pa.Table](), dict[str, str]()
    try:
        found = _checked(table, parquet(storage.read_bytes(name)))
    except FileNotFoundError:
        _, parts, damaged = _read_files(storage, table)
    except (pa.ArrowException, OSError, ValueError, _Foreign) as error:
        if isinstance(error, StorageFailure):
            raise
        damaged = {name: message(error)}
    if found is None:
        rows = [r for r in _unite(table, parts).to_pylist() if _row_name(table, r) == _base(name)]
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
    return _to_pandas(table, _unite(table, parts))


def compact(storage: Storage, table: Table) -> int:
    """Put all rows of a run's table into one file, and return how many there are in it.

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
    files, parts, _ = _read_files(storage, table, lambda name: _base(name).startswith(("claimed-", "compact-")))
    united = _unite(table, parts)
    if len(files) > 1 or any(_base(name).startswith("claimed-") for name in files):
        storage.write_bytes(f"{table.name}/compact-{uuid.uuid4().hex}.parquet", _to_parquet(united))
        for name in files:
            storage.delete(name)
    return int(united.num_rows)


def write_front(storage: Storage, front: pd.DataFrame) -> None:
    """Write a front, such as `pareto_front` gives, into the run's folder as `front.parquet`.

    The column `kind` is added where it is missing: which kind of accuracy the rows hold. A front is never replaced
    because rows were lost. DamagedFiles: a file of its table cannot be read, or the front that is there has rows that
    their table no longer has.
    """
    if "kind" not in front.columns:
        kinds = kinds_of(front) or [t.kind for t in TABLES.values() if t.mark in front.columns]
        if len(kinds) != 1:
            raise InvalidInput("front: rows of candidates or of evaluations are expected, or a column 'kind'")
        front = front.assign(kind=kinds[0])
    _check_nothing_lost(storage, set(front["kind"]))
    storage.write_bytes(FRONT_FILE, _to_parquet(pa.Table.from_pandas(front, preserve_index=False)))


def is_run(storage: Storage) -> bool:
    """Whether a run lies in a folder, finished or not."""
    return any(storage.exists(mark) for mark in _RUN_MARKS)


def load(path: str | Path, table: str = "evaluations") -> pd.DataFrame:
    """Load a run's table into pandas; the run may still be going on.

    path: the run's folder, or its URI. table: "evaluations" (trained from scratch), "candidates" (weights
    inherited from the supernet) or "front". A table without rows is an empty frame with all columns. A file that
    cannot be read is left out with a DamagedFilesWarning that names it. InvalidInput: another table, a folder that
    is no run's, or a front that has not been written yet.
    """
    accepted = ("evaluations", "candidates", "front")
    if table not in accepted:
        raise InvalidInput(f"table {table!r}: {', '.join(accepted)} would be accepted")
    storage = open_storage(path)
    if not is_run(storage):
        raise InvalidInput(f"{storage}: not a run; a folder that has one of {', '.join(_RUN_MARKS)} is expected")
    if table in TABLES:
        return read(storage, TABLES[table], strict=False)
    try:
        return _read_front(storage)
    except FileNotFoundError:
        raise InvalidInput(f"{storage}: has no front yet; evaluations or candidates would be accepted") from None


def _read_front(storage: Storage) -> pd.DataFrame:
    """The front that was written; FileNotFoundError where there is none, InvalidInput where it cannot be read."""
    try:
        storage.check_size(FRONT_FILE, _MOST_BYTES)
        return pd.DataFrame(parquet(storage.read_bytes(FRONT_FILE)).to_pandas())
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | InvalidInput | StorageFailure):
            raise
        raise InvalidInput(
            f"{storage}/{FRONT_FILE} cannot be read ({message(error)}): accepted is a Parquet file"
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


def _row_name(table: Table, row: Mapping[str, Any]) -> str:
    values = [row[name] for name in table.key]
    # What is readable may be cut and have letters replaced; the hash of the exact values is what names the
    # row.
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(str(value) for value in values))[:80].strip("-.")
    return f"row-{readable}-{hashlib.sha256(json.dumps(values).encode()).hexdigest()[:20]}.parquet"


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _to_parquet(content: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Statistics and dictionaries would be most of a file of one row, and nothing reads them.
    small = content.num_rows < 100
    pq.write_table(content, sink, compression="zstd", write_statistics=not small, use_dictionary=not small)
    return bytes(sink.getvalue())


def _write(storage: Storage, table: Table, row: Mapping[str, Any]) -> str:
    schema = table.schema
    for name, value in row.items():
        if name not in table.names:
            schema = schema.append(pa.field(name, pa.scalar(value).type))
    name = row_file(table, row)
    storage.write_bytes(name, _to_parquet(pa.Table.from_pylist([row], schema=schema)))
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
                read = dict(zip(names, pool.map(lambda name: _read_file(storage, name), names), strict=True))
                contents = {name: content for name, content in read.items() if content is not None}
                vanished |= len(contents) < len(read)
                seen |= set(contents)
                whole, more = _check_files(table, contents)
                files += whole
                # Each of these small tables takes 60 KiB by itself.
                parts += [one.combine_chunks() if len(one) <= _TOGETHER else one for one in _joined(whole.values())]
                damaged |= more
        quiet = 0 if new else quiet + 1
    if damaged:
        keys = [content.select(list(table.key)).to_pylist() for content in parts]
        known = {_row_name(table, row) for rows in keys for row in rows}
        damaged = {name: reason for name, reason in damaged.items() if _ROW_NAME.sub("", _base(name)) not in known}
    return files, parts, dict(sorted(damaged.items()))


def _joined(contents: Iterable[pa.Table]) -> list[pa.Table]:
    """The same rows, in one table for all that have the very same columns: thousands are joined by a few steps."""
    alike: dict[str, list[pa.Table]] = {}
    for content in contents:
        alike.setdefault(str(content.schema), []).append(content)
    return [pa.concat_tables(group) for group in alike.values()]


def _read_file(storage: Storage, name: str) -> pa.Table | str | None:
    """A file's content, or why it cannot be read; None where it is gone."""
    try:
        storage.check_size(name, _MOST_BYTES)
        content = storage.read_bytes(name)
    except FileNotFoundError:
        return None
    except InvalidInput as error:
        return message(error)
    try:
        return parquet(content)
    except (pa.ArrowException, OSError, ValueError) as error:
        return message(error)


def _check_files(table: Table, contents: Mapping[str, pa.Table | str]) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """The contents that are of the table, as it has them; and why the others are not."""
    damaged: dict[str, str] = {}
    alike: dict[str, dict[str, pa.Table]] = {}
    for name, content in contents.items():
        if isinstance(content, str):
            damaged[name] = content
        else:
            alike.setdefault(str(content.schema), {})[name] = content
    whole: dict[str, pa.Table] = {}
    for group in alike.values():
        # Most files of a run have the very same columns: thousands of rows are checked by a few steps.
        if len(group) > 1 and _is_as_it_should(table, pa.concat_tables(group.values())):
            whole |= group
            continue
        for name, content in group.items():
            try:
                whole[name] = _checked(table, content)
            except InvalidInput:
                raise
            except (pa.ArrowException, ValueError, _Foreign) as error:
                damaged[name] = message(error)
    return whole, damaged


def _is_as_it_should(table: Table, content: pa.Table) -> bool:
    """Whether rows are of the table, with the types of its columns."""
    try:
        return bool(_checked(table, content).schema.equals(content.schema))
    except (pa.ArrowException, ValueError, _Foreign):
        return False


def _damaged(storage: Storage, damaged: Mapping[str, str]) -> DamagedFiles:
    first = [f"{name} ({reason})" for name, reason in list(damaged.items())[:3]]
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    several = len(damaged) > 1
    return DamagedFiles(
        f"{storage}: {', '.join(first)}{more} cannot be read. Put back {'whole copies' if several else 'a whole copy'},"
        f" or delete {'them' if several else 'it'} to do without {'their' if several else 'its'} rows"
    )


class _Foreign(Exception):
    """A Parquet file in the table's folder that is not of the table."""


def parquet(content: bytes | Path) -> pa.Table:
    """A Parquet file's rows; ValueError where it says that it holds more than any run of nasray's would."""
    file = pq.ParquetFile(content if isinstance(content, Path) else pa.BufferReader(content))
    check_declared(file.metadata)
    rows = file.read()
    rows.validate(full=True)  # among other things, that texts are UTF-8
    return rows


def check_declared(metadata: pq.FileMetaData) -> None:
    """Raise ValueError if a file says that it would fill the memory: a small one can, for columns are compressed."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    rows, columns = max(metadata.num_rows, sum(g.num_rows for g in groups)), metadata.num_columns
    size = sum(max(0, group.total_byte_size) for group in groups)
    if rows > _MOST_ROWS or columns > _MOST_COLUMNS or size > _MOST_BYTES or rows * columns > _MOST_VALUES:
        raise ValueError(f"says that it holds {rows} rows of {columns} columns, {size} bytes")


def _checked(table: Table, content: pa.Table) -> pa.Table:
    wanted = {column.name: column.type for column in table.columns}
    if len(set(content.column_names)) < content.num_columns:
        raise _Foreign("has two columns of one name")
    for field in content.schema:
        if field.name not in wanted and field.type not in _PLAIN:
            raise _Foreign(f"has a column {field.name!r:.60} of type {field.type!s:.60}")
    # Rows that were written before a column was added, which then may be missing, are read all the same.
    missing = sorted({c.name for c in table.columns if not c.nullable} - set(content.column_names))
    if missing:
        raise _Foreign(f"has no column {', '.join(missing)}")
    if pa.types.is_integer(content.schema.field("schema_version").type):
        newest = max((v for v in content.column("schema_version").to_pylist() if v is not None), default=SCHEMA_VERSION)
    else:
        raise _Foreign("has a schema_version that is no whole number")
    if newest > SCHEMA_VERSION:
        raise InvalidInput(f"{table.name}: version {newest} of the columns; this nasray reads up to {SCHEMA_VERSION}")
    for place, field in enumerate(content.schema):
        if field.name in wanted and field.type != wanted[field.name]:
            content = content.set_column(place, field.name, content.column(place).cast(wanted[field.name]))
    for column in table.columns:
        if column.name in content.column_names:
            _check_values(column, content.column(column.name))
    for name in content.column("metric").unique().to_pylist():
        if name not in METRICS:
            raise _Foreign(f"has a metric {name!r:.60} that this nasray does not know")
        rows = content.filter(pc.equal(content.column("metric"), name))
        for column in table.measured_by(METRICS[name]):
            if column.name in rows.column_names:
                _check_values(column, rows.column(column.name).cast(column.type))
            elif not column.nullable:
                raise _Foreign(f"has no column {column.name}")
    return content


def _check_values(column: Column, values: pa.ChunkedArray) -> None:
    """What writing a row would have refused is refused in a file that somebody else has written."""
    if values.null_count and not column.nullable:
        raise _Foreign(f"lacks {column.name} in a row")
    if column.type in (pa.int64(), pa.float64()) and len(values) > values.null_count:
        extremes = pc.min_max(values).as_py()
        finite = column.type == pa.int64() or pc.all(pc.is_finite(values)).as_py()  # min_max leaves NaN out
        if not finite or extremes["min"] < column.low or extremes["max"] > column.high:
            raise _Foreign(f"has a {column.name} that none is ({extremes['min']} to {extremes['max']})")


def _unite(table: Table, contents: Iterable[pa.Table]) -> pa.Table:
    """All rows, extra columns by name after the table's own; one row for each key, sorted by key."""
    parts = _joined(contents)
    known, extra = set(table.names), dict[str, pa.DataType]()
    for part in parts:
        for field in part.schema:
            if field.name not in known:
                extra[field.name] = _common_type(extra.get(field.name, field.type), field.type)
    schema = pa.schema([*table.schema, *(pa.field(name, extra[name]) for name in sorted(extra))])
    rows = pa.concat_tables([schema.empty_table(), *(_fit(part, schema) for part in parts)])
    keys = [*table.key, "created_at"]
    # Taking the last of a key, in a stable order, takes the newest, and the same one at every reading.
    order = rows.select(keys).to_pandas().sort_values(keys, kind="stable").drop_duplicates(keys[:-1], keep="last")
    return rows.take(pa.array(order.index.to_numpy())).combine_chunks()


def _fit(content: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        content.column(field.name).cast(field.type, safe=False)
        if field.name in content.column_names
        else pa.nulls(content.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other:
        return one
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def _to_pandas(table: Table, rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas()
    always = {column.name for column in table.columns if column.nullable}
    for field in rows.schema:
        column = rows.column(field.name)
        # A column of the schema that may have gaps has the same type whether or not this run has any.
        if field.type in _WITH_GAPS and (column.null_count or field.name in always):
            frame[field.name] = column.to_pandas(types_mapper=_WITH_GAPS.get)
    return frame
