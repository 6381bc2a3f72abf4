"""Evaluations that are looked up: what training an architecture gave somebody, in place of training it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nasray import registry
from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.gates import architecture_masks
from nasray.spaces import Architecture, CellSpace, NetworkSize
from nasray.tabular import AccuracyTable, Unit, column_epochs, read_table
from nasray.trials.identity import digest_of_files


@dataclass(frozen=True, kw_only=True)
class AccuracySource:
    """A file of accuracies that are looked up in place of training."""

    path: str
    """Of a file or folder, see :func:`nasray.tabular.read_table`."""
    columns: tuple[str, ...] = ()
    """Columns of accuracies, as ``COLUMN=EPOCHS``; empty takes the columns whose names tell their epochs."""
    unit: Unit = "percent"
    """Unit of the accuracies: percent or fraction."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", registry.absolute_path(self.path))

    def open(self, space: str, dataset: str) -> AccuracyTable:
        """The table, read once in a process.

        Args:
            space: of the architectures.
            dataset: whose columns are meant.

        Raises:
            InvalidInput: as :func:`nasray.tabular.read_table`.
        """
        return _open(self, space, dataset)

    @property
    def settings(self) -> str:
        """What rows that were looked up were trained with: which table it was, as JSON."""
        return json.dumps(
            {"table": Path(self.path).name, "digest": self.digest, "columns": list(self.columns), "unit": self.unit}
        )

    @property
    def digest(self) -> str:
        """Of the file's or folder's content (see :func:`nasray.trials.identity.digest_of_files`)."""
        return digest_of_files(self.path)


@cache
def _open(source: AccuracySource, space: str, dataset: str) -> AccuracyTable:
    found: CellSpace = registry.find("space", space, CellSpace)
    columns = column_epochs(source.columns) if source.columns else None
    return read_table(source.path, found, columns=columns, dataset=dataset, unit=source.unit)


def tabular_size(space: CellSpace, dataset: str) -> NetworkSize:
    """Size of the networks that a table's accuracies are of: the published one.

    Raises:
        InvalidInput: the space has no published networks on the dataset.
    """
    if dataset not in space.published_sizes:
        raise InvalidInput(
            f"table for space {space.name!r} on {dataset!r}: accepted are datasets with a published size, "
            f"{', '.join(space.published_sizes) or 'of which it has none'}"
        )
    return space.published_sizes[dataset]


class Lookup:
    """An evaluation that goes from fidelity to fidelity of a table, with the face of a training.

    Args:
        table: of the accuracies.
        architecture: what is looked up.
        size: of its network.
        rungs: epochs at which it stops on its way to the table's most.

    Raises:
        InvalidInput: a rung that the table does not have.
    """

    def __init__(
        self, table: AccuracyTable, architecture: Architecture, size: NetworkSize, rungs: Sequence[int] = ()
    ) -> None:
        unknown = set(rungs) - set(table.epochs)
        if unknown:
            raise InvalidInput(
                f"rung of {min(unknown)} epochs: accepted are those of the table, {', '.join(map(str, table.epochs))}"
            )
        self.table, self.architecture, self.size = table, architecture, size
        costs, masks = cost_table(table.space, size), architecture_masks(table.space, architecture, size.cells)
        self.macs = costs.macs(masks)
        """M."""
        self.params = costs.params(masks)
        """M."""
        self._fidelities = tuple(sorted({*rungs, table.epochs[-1]}))
        self._done = 0
        self.accuracy = 0.0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._fidelities[self._done - 1] if self._done else 0

    @property
    def finished(self) -> bool:
        """Whether it is at the table's most epochs."""
        return self._done == len(self._fidelities)

    def run_epoch(self) -> dict[str, float]:
        """Go to the next fidelity.

        Raises:
            InvalidInput: the architecture is not in the table.
        """
        self.accuracy = self.table.accuracy(self.architecture, self._fidelities[self._done])
        self._done += 1
        return {"accuracy": self.accuracy}

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return {"done": self._done, "accuracy": self.accuracy}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._done, self.accuracy = state["done"], state["accuracy"]
