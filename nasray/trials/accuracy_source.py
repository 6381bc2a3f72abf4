"""Where accuracies come from that are looked up in place of training: one value for file, columns and unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from nasray import registry
from nasray.errors import InvalidInput, shown
from nasray.settings import as_tuple, check_fields, check_number
from nasray.spaces import CellSpace
from nasray.tabular import AccuracyTable, Unit, column_epochs, read_table
from nasray.trials.identity import digest_of_files


@dataclass(frozen=True, kw_only=True)
class AccuracySource:
    """A table of accuracies that others trained.

    Raises:
        InvalidInput: a field of another type, or an unknown unit.
    """

    path: str
    """File or folder of the table (see :mod:`nasray.tabular`)."""
    columns: tuple[str, ...] = ()
    """Columns with accuracies, each as COLUMN=EPOCHS. None are given where the columns' names tell the epochs."""
    unit: Unit = "percent"
    """Unit of the table's accuracies: percent or fraction."""
    input_shape: tuple[int, ...] | None = None
    """Shape of one input of the networks, (channels, height, width). None means that of the published ones."""
    classes: int | None = None
    """Number of classes that the networks tell apart. None means as many as the published ones."""
    costs: tuple[str, ...] = ()
    """Columns with costs, as latencies and energies of devices: less is better, units are the table's own. Each is a
    column of the evaluations, and may be an objective."""

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise InvalidInput(f"table {shown(self.path)}: expected the path of a file or folder")
        object.__setattr__(self, "path", registry.absolute_path(self.path))
        for name in ("columns", "costs"):
            object.__setattr__(self, name, as_tuple(f"{name} of a table:", getattr(self, name)))
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", as_tuple("input_shape of a table:", self.input_shape))
        if self.classes is not None:
            check_number("classes of a table:", self.classes, low=1, whole=True)
        if not all(isinstance(column, str) for column in self.columns):
            raise InvalidInput(f"columns {shown(self.columns)} of a table: expected text, COLUMN=EPOCHS")
        if not all(isinstance(cost, str) for cost in self.costs) or len(set(self.costs)) < len(self.costs):
            raise InvalidInput(f"costs {shown(self.costs)} of a table: expected different names of columns")
        if self.unit not in get_args(Unit):
            raise InvalidInput(f"unit {shown(self.unit)} of a table: expected one of {', '.join(get_args(Unit))}")

    def open(self, space: str, dataset: str) -> AccuracyTable:
        """The table of a space's architectures on a dataset; read once in a process.

        Raises:
            InvalidInput: the table cannot be read.
        """
        return _open(self, space, dataset)

    @property
    def settings(self) -> str:
        """What rows that were looked up here have in their column ``settings``: JSON."""
        values = {name: value for name, value in self.to_dict().items() if name != "path"}
        return json.dumps({"table": Path(self.path).name, "digest": self.digest, **values})

    @property
    def digest(self) -> str:
        """Digest of the file's or folder's content (see :func:`nasray.trials.identity.digest_of_files`)."""
        return digest_of_files(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        shape = None if self.input_shape is None else list(self.input_shape)
        return {**asdict(self), "columns": list(self.columns), "costs": list(self.costs), "input_shape": shape}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> AccuracySource:
        """A source from what :meth:`to_dict` gave.

        Raises:
            InvalidInput: an unknown field, or a value that is not accepted.
        """
        check_fields("table", cls, values)
        return cls(**values)


@cache
def _open(source: AccuracySource, space: str, dataset: str) -> AccuracyTable:
    found: CellSpace = registry.find("space", space, CellSpace)
    columns = column_epochs(source.columns) if source.columns else None
    return read_table(source.path, found, columns=columns, dataset=dataset, unit=source.unit, costs=source.costs)
