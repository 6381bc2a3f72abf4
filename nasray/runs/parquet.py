"""Parquet files of a run's rows: into bytes and back, refusing what no run of nasray's would have written."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nasray.errors import InvalidInput, message
from nasray.runs.schema import SCHEMA_VERSION, Column, Table
from nasray.spaces.metric import METRICS

MOST_BYTES = 4 * 2**30
"""A larger file is no table of nasray's: a million rows are some 100 MB."""
_MOST_ROWS, _MOST_COLUMNS, _MOST_VALUES = 50_000_000, 2_000, 2_000_000_000
SHARED_TEXT = pa.dictionary(pa.int32(), pa.string())
"""Type of a column whose texts are held once for all rows that have them."""
_MANY_ROWS = 100
_PLAIN = frozenset({pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.large_string(), pa.null()})
"""Types of further columns."""


class Foreign(Exception):
    """A Parquet file in the table's folder that is not of the table."""


def to_bytes(content: pa.Table) -> bytes:
    """Rows as a Parquet file, in which a text is a text to whoever opens it."""
    for place, field in enumerate(content.schema):
        if pa.types.is_dictionary(field.type):
            content = content.set_column(place, field.name, content.column(place).cast(field.type.value_type))
    sink = pa.BufferOutputStream()
    # Statistics and dictionaries would be most of a file of one row, and nothing reads them.
    small = content.num_rows < _MANY_ROWS
    pq.write_table(content, sink, compression="zstd", write_statistics=not small, use_dictionary=not small)
    return bytes(sink.getvalue())


def from_bytes(content: bytes, shared: Collection[str] = ()) -> pa.Table:
    """A Parquet file's rows; ValueError where it says that it holds more than any run of nasray's would.

    shared: columns whose texts are held once for all rows that have them, where there are many rows.
    """
    file = pq.ParquetFile(pa.BufferReader(content))
    _check_declared(file.metadata)
    texts = [field.name for field in file.schema_arrow if field.name in shared and field.type == pa.string()]
    if texts and file.metadata.num_rows >= _MANY_ROWS:
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
    rows = file.read()
    rows.validate(full=True)  # among other things, that texts are UTF-8
    return rows


def _check_declared(metadata: pq.FileMetaData) -> None:
    """Raise ValueError if a file says that it would fill the memory: a small one can, for columns are compressed."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    rows, columns = max(metadata.num_rows, sum(g.num_rows for g in groups)), metadata.num_columns
    size = sum(max(0, group.total_byte_size) for group in groups)
    if rows > _MOST_ROWS or columns > _MOST_COLUMNS or size > MOST_BYTES or rows * columns > _MOST_VALUES:
        raise ValueError(f"says that it holds {rows} rows of {columns} columns, {size} bytes")


def check_files(table: Table, contents: Mapping[str, pa.Table | str]) -> tuple[dict[str, pa.Table], dict[str, str]]:
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
                whole[name] = check_rows(table, content)
            except InvalidInput:
                raise
            except (pa.ArrowException, ValueError, Foreign) as error:
                damaged[name] = message(error)
    return whole, damaged


def _is_as_it_should(table: Table, content: pa.Table) -> bool:
    """Whether rows are of the table, with the types of its columns."""
    try:
        return bool(check_rows(table, content).schema.equals(content.schema))
    except (pa.ArrowException, ValueError, Foreign):
        return False


def check_rows(table: Table, content: pa.Table) -> pa.Table:
    """The rows with the types of the table's columns; Foreign where they cannot be rows of it.

    InvalidInput: a later version of nasray wrote them.
    """
    wanted = {column.name: column.type for column in table.columns}
    if len(set(content.column_names)) < content.num_columns:
        raise Foreign("has two columns of one name")
    for field in content.schema:
        if field.name not in wanted and field.type not in _PLAIN:
            raise Foreign(f"has a column {field.name!r:.60} of type {field.type!s:.60}")
    # Rows that were written before a column was added, which then may be missing, are read all the same.
    missing = sorted({c.name for c in table.columns if not c.nullable} - set(content.column_names))
    if missing:
        raise Foreign(f"has no column {', '.join(missing)}")
    if pa.types.is_integer(content.schema.field("schema_version").type):
        newest = max((v for v in content.column("schema_version").to_pylist() if v is not None), default=SCHEMA_VERSION)
    else:
        raise Foreign("has a schema_version that is no whole number")
    if newest > SCHEMA_VERSION:
        raise InvalidInput(f"{table.name}: version {newest} of the columns; this nasray reads up to {SCHEMA_VERSION}")
    for place, field in enumerate(content.schema):
        shared = field.name in table.long_texts and field.type == SHARED_TEXT
        if field.name in wanted and field.type != wanted[field.name] and not shared:
            content = content.set_column(place, field.name, content.column(place).cast(wanted[field.name]))
    for column in table.columns:
        if column.name in content.column_names:
            _check_values(column, content.column(column.name))
    for name in content.column("metric").unique().to_pylist():
        if name not in METRICS:
            raise Foreign(f"has a metric {name!r:.60} that this nasray does not know")
        rows = content.filter(pc.equal(content.column("metric"), name))
        for column in table.measured_by(METRICS[name]):
            if column.name in rows.column_names:
                _check_values(column, rows.column(column.name).cast(column.type))
            elif not column.nullable:
                raise Foreign(f"has no column {column.name}")
    return content


def _check_values(column: Column, values: pa.ChunkedArray) -> None:
    """What writing a row would have refused is refused in a file that somebody else has written."""
    if values.null_count and not column.nullable:
        raise Foreign(f"lacks {column.name} in a row")
    if column.type in (pa.int64(), pa.float64()) and len(values) > values.null_count:
        extremes = pc.min_max(values).as_py()
        finite = column.type == pa.int64() or pc.all(pc.is_finite(values)).as_py()  # min_max leaves NaN out
        if not finite or extremes["min"] < column.low or extremes["max"] > column.high:
            raise Foreign(f"has a {column.name} that none is ({extremes['min']} to {extremes['max']})")
