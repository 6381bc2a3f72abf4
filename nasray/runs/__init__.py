"""A run's folder: storage, its lease, events, and its Parquet tables. Neither torch nor Ray is needed."""

from nasray.runs.schema import (
    CANDIDATES,
    EVALUATIONS,
    LOOKED_UP,
    SCHEMA_VERSION,
    TABLES,
    Column,
    Table,
    describe,
    kinds_of,
)
from nasray.runs.storage import Storage, open_storage
from nasray.runs.tables import amend_row, compact, load, read, row_file, write_front, write_row

__all__ = [
    "CANDIDATES",
    "EVALUATIONS",
    "LOOKED_UP",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Storage",
    "Table",
    "amend_row",
    "compact",
    "describe",
    "kinds_of",
    "load",
    "open_storage",
    "read",
    "row_file",
    "write_front",
    "write_row",
]
