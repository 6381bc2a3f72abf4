"""Tables of accuracies, looked up instead of trained. Neither torch nor Ray is needed."""

from nasray.tabular.columns import column_epochs
from nasray.tabular.files import read_table
from nasray.tabular.table import AccuracyTable, Unit

__all__ = ["AccuracyTable", "Unit", "column_epochs", "read_table"]
