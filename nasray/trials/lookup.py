"""Evaluations that are looked up: what training an architecture gave somebody, in place of training it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.gates import architecture_masks
from nasray.spaces import Architecture, CellSpace, NetworkSize
from nasray.tabular import AccuracyTable
from nasray.trials.accuracy_source import AccuracySource


def tabular_size(space: CellSpace, dataset: str, source: AccuracySource | None) -> NetworkSize:
    """Size of the networks that a table's accuracies are of: the published one, as far as the source does not say
    otherwise. The dataset is a name, and need not be one that nasray can load.

    Raises:
        InvalidInput: neither the source nor the space says what an input of the dataset is.
    """
    shape, classes = (None, None) if source is None else (source.input_shape, source.classes)
    published = space.published_sizes.get(dataset)
    if published is None and (shape is None or classes is None):
        raise InvalidInput(
            f"table for space {space.name!r} on {dataset!r}: expected its input_shape and classes, or a dataset "
            f"with a published size ({', '.join(space.published_sizes) or 'the space has none'})"
        )
    size = published or NetworkSize(
        channels=space.evaluation_channels, cells=space.evaluation_cells, input_shape=shape or (), classes=classes or 0
    )
    return size.replace(input_shape=shape or size.input_shape, classes=classes or size.classes)


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
                f"rung of {min(unknown)} epochs: expected one of the table's: {', '.join(map(str, table.epochs))}"
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

    @property
    def costs(self) -> dict[str, float]:
        """The table's own costs of the architecture, by column; NaN where one is missing.

        Raises:
            InvalidInput: the architecture is not in the table.
        """
        return self.table.costs_of(self.architecture)

    def run_epoch(self) -> dict[str, float]:
        """Go to the next fidelity; gives the accuracy there, and the costs.

        Raises:
            InvalidInput: the architecture is not in the table.
        """
        self.accuracy = self.table.accuracy(self.architecture, self._fidelities[self._done])
        self._done += 1
        return {"accuracy": self.accuracy, **self.costs}

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return {"done": self._done, "accuracy": self.accuracy}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._done, self.accuracy = state["done"], state["accuracy"]
