"""The Parquet tables of a run, fronts, hypervolume and pictures. Neither torch nor Ray is needed."""

from nasray.results.across import front_across
from nasray.results.attainment import QUARTILES, attained, attainment_surfaces
from nasray.results.cell_picture import cell_picture, draw_cells
from nasray.results.fronts import average_over_seeds, check_comparable, hypervolume, near_front, pareto_front
from nasray.results.plots import front_picture, plot_front
from nasray.results.repetitions import repetitions
from nasray.results.schema import (
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
from nasray.results.storage import Storage, open_storage
from nasray.results.tables import compact, load, read, write_front, write_row

__all__ = [
    "CANDIDATES",
    "EVALUATIONS",
    "LOOKED_UP",
    "QUARTILES",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Storage",
    "Table",
    "attained",
    "attainment_surfaces",
    "average_over_seeds",
    "cell_picture",
    "check_comparable",
    "compact",
    "describe",
    "draw_cells",
    "front_across",
    "front_picture",
    "hypervolume",
    "kinds_of",
    "load",
    "near_front",
    "open_storage",
    "pareto_front",
    "plot_front",
    "read",
    "repetitions",
    "write_front",
    "write_row",
]
