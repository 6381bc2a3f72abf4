"""The report of runs: one HTML page that needs no network."""

from nasray.pictures.report.document import page
from nasray.pictures.report.tables import RunTables

__all__ = ["RunTables", "page"]
