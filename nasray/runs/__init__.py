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
from nasray.runs.tables import compact, is_run, load, read, write_front, write_row

__all__ = [
    "CANDIDATES",
    "EVALUATIONS",
    "LOOKED_UP",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Storage",
    "Table",
    "compact",
    "describe",
    "is_run",
    "kinds_of",
    "load",
    "open_storage",
    "read",
    "write_front",
    "write_row",
]
