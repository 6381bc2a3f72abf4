"""A run's folder: storage, its lease, events, and its Parquet tables. Neither torch nor Ray is needed."""

from nasray.runs.front_file import is_run, load, storage_of, write_front
from nasray.runs.schema import (
    CANDIDATES,
    EPOCHS,
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
from nasray.runs.tables import amend_row, compact, read, row_file, write_row, write_rows

__all__ = [
    "CANDIDATES",
    "EPOCHS",
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
    "is_run",
    "kinds_of",
    "load",
    "open_storage",
    "read",
    "row_file",
    "storage_of",
    "write_front",
    "write_row",
    "write_rows",
]
