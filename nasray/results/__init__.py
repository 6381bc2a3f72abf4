"""The Parquet tables of a run, fronts, hypervolume and pictures. Neither torch nor Ray is needed."""

from nasray.results.cell_picture import cell_picture, draw_cells
from nasray.results.fronts import average_over_seeds, hypervolume, near_front, pareto_front
from nasray.results.plots import front_picture, plot_front
from nasray.results.schema import (
    CANDIDATES,
    EVALUATIONS,
    SCHEMA_VERSION,
    TABLES,
    Column,
    Table,
    describe,
    kinds_of,
)
from nasray.results.storage import Storage, open_storage
from nasray.results.tables import compact, load, read, write_front, write_row

__all__ = [
    "CANDIDATES",
    "EVALUATIONS",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Storage",
    "Table",
    "average_over_seeds",
    "cell_picture",
    "compact",
    "describe",
    "draw_cells",
    "front_picture",
    "hypervolume",
    "kinds_of",
    "load",
    "near_front",
    "open_storage",
    "pareto_front",
    "plot_front",
    "read",
    "write_front",
    "write_row",
]
