"""Rows of several files as one table: one row for each key, the newest."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from nasray.runs.parquet import SHARED_TEXT
from nasray.runs.schema import Table

# Without these a whole or truth column with a gap would turn into floats or objects.
_WITH_GAPS = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def join_alike(contents: Iterable[pa.Table]) -> list[pa.Table]:
    """The same rows, in one table for all that have the very same columns: thousands are joined by a few steps."""
    alike: dict[str, list[pa.Table]] = {}
    for content in contents:
        alike.setdefault(str(content.schema), []).append(content)
    return [pa.concat_tables(group) for group in alike.values()]


def unite(table: Table, contents: Iterable[pa.Table]) -> pa.Table:
    """All rows, extra columns by name after the table's own; one row for each key, sorted by key."""
    parts = join_alike(contents)
    known, extra = set(table.names), dict[str, pa.DataType]()
    for part in parts:
        for field in part.schema:
            if field.name not in known:
                extra[field.name] = _common_type(extra.get(field.name, field.type), field.type)
    schema = pa.schema([*table.schema, *(pa.field(name, extra[name]) for name in sorted(extra))])
    for name in table.long_texts:
        if any(part.schema.field(name).type == SHARED_TEXT for part in parts if name in part.column_names):
            schema = schema.set(schema.get_field_index(name), schema.field(name).with_type(SHARED_TEXT))
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


def to_pandas(table: Table, rows: pa.Table) -> pd.DataFrame:
    """The rows as a frame, whose columns have the same types whether or not they have gaps."""
    frame: pd.DataFrame = rows.to_pandas()
    always = {column.name for column in table.columns if column.nullable}
    for field in rows.schema:
        column = rows.column(field.name)
        # Long texts that many rows share are held once.
        if field.name in table.long_texts:
            frame[field.name] = shared_texts(column)
        # A column of the schema that may have gaps has the same type whether or not this run has any.
        if field.type in _WITH_GAPS and (column.null_count or field.name in always):
            frame[field.name] = column.to_pandas(types_mapper=_WITH_GAPS.get)
    return frame


def shared_texts(column: pa.ChunkedArray) -> pd.Series[str]:
    """Texts for a frame, of which equal ones are one text in memory: pandas' ``str``, held as Python's."""
    texts = column.combine_chunks().dictionary_encode()
    known = np.array([*texts.dictionary.to_pylist(), np.nan], dtype=object)
    places = texts.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
    return pd.Series(known[places], dtype=pd.StringDtype("python", na_value=np.nan))
