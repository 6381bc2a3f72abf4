"""A table of accuracies: what training each architecture once gave, after one or more numbers of epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from nasray.errors import InvalidInput, shown
from nasray.spaces import Architecture, CellSpace, from_string, has_strings, string_pattern, to_string

Unit = Literal["percent", "fraction"]
"""Of a table's accuracies: from 0 to 100, or from 0 to 1."""


class Values(Protocol):
    """Where a table's numbers lie."""

    def __call__(self, row: int, epochs: int) -> float:
        """The accuracy in a row after `epochs` epochs, in the table's unit."""


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracies of a space's architectures, by epochs of training. It can be pickled.

    Made by :func:`nasray.tabular.read_table`, which validates.
    """

    space: CellSpace
    source: str
    """Where it was read."""
    columns: Mapping[int, str]
    """Epochs to the column of their accuracies."""
    unit: Unit
    rows: Mapping[str, int]
    """Canonical text of every architecture to its row."""
    values: Values
    costs: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Columns with costs: a number for each row, in the column's own unit; NaN where it is missing."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The fidelities that it holds, ascending."""
        return tuple(sorted(self.columns))

    def accuracy(self, architecture: Architecture, epochs: int) -> float:
        """Accuracy of an architecture after `epochs` epochs, a fraction from 0 to 1.

        Raises:
            InvalidInput: the table does not have the epochs, or the architecture, or holds no accuracy there.
        """
        self._check(epochs)
        return self._fraction(self._row(architecture), epochs)

    def costs_of(self, architecture: Architecture) -> dict[str, float]:
        """Costs of an architecture by column, each in the column's own unit; NaN where it is missing.

        Raises:
            InvalidInput: the table does not have the architecture.
        """
        row = self._row(architecture)
        return {column: float(values[row]) for column, values in self.costs.items()}

    def architectures(self) -> tuple[Architecture, ...]:
        """All of its architectures, in the order of its rows."""
        return tuple(read_architecture(self.space, text) for text in self.rows)

    def accuracies(self, epochs: int) -> npt.NDArray[np.float64]:
        """Accuracies of all architectures after `epochs` epochs, fractions, in the order of :meth:`architectures`.

        Raises:
            InvalidInput: the table does not have the epochs.
        """
        self._check(epochs)
        if epochs not in self._known:
            self._known[epochs] = np.array([self._fraction(row, epochs) for row in self.rows.values()])
        return self._known[epochs]

    def rank(self, architecture: Architecture, epochs: int) -> int:
        """1 for the most accurate of all architectures after `epochs` epochs; equals share the better rank.

        Raises:
            InvalidInput: as :meth:`accuracy`.
        """
        own = self.accuracy(architecture, epochs)
        return 1 + int((self.accuracies(epochs) > own).sum())

    @cached_property
    def _known(self) -> dict[int, npt.NDArray[np.float64]]:
        return {}

    def _row(self, architecture: Architecture) -> int:
        text = canonical_text(self.space, architecture)
        if text not in self.rows:
            raise InvalidInput(f"architecture {shown(text)}: expected one of the {len(self)} in table {self.source}")
        return self.rows[text]

    def _check(self, epochs: int) -> None:
        if epochs not in self.columns:
            accepted = ", ".join(map(str, self.epochs))
            raise InvalidInput(f"{epochs} epochs: expected one of {accepted}, those in table {self.source}")

    def _fraction(self, row: int, epochs: int) -> float:
        value = self.values(row, epochs)
        return value / 100.0 if self.unit == "percent" else value


def read_architecture(space: CellSpace, text: str) -> Architecture:
    """An architecture from its official string or from nasray's JSON.

    Raises:
        InvalidInput: neither, or not of the space.
    """
    if text.lstrip().startswith("|"):
        return from_string(space, text)
    return Architecture.from_json(space, text)


def canonical_text(space: CellSpace, architecture: Architecture) -> str:
    """What tells an architecture from all others of its space: its string where the space has strings, else JSON."""
    return to_string(space, architecture) if has_strings(space) else architecture.to_json()


def index_rows(space: CellSpace, texts: Sequence[object], source: str) -> dict[str, int]:
    """Canonical text of every architecture to its row.

    Raises:
        InvalidInput: a text is no architecture of the space, or two are of the same one.
    """
    # Most tables hold canonical strings, for which nothing needs to be built: 15,625 of them take 0.02 s.
    canonical = string_pattern(space) if has_strings(space) else re.compile(r"(?!)")
    rows: dict[str, int] = {}
    for row, given in enumerate(texts):
        if not isinstance(given, str):
            raise InvalidInput(
                f"table {source}, row {row + 1}: architecture {shown(given)}: expected text, a string or JSON"
            )
        try:
            text = given if canonical.fullmatch(given) else canonical_text(space, read_architecture(space, given))
        except InvalidInput as error:
            raise InvalidInput(f"table {source}, row {row + 1}: {error}") from None
        if text in rows:
            raise InvalidInput(
                f"table {source}, rows {rows[text] + 1} and {row + 1}: both of architecture {shown(given)}: "
                "expected one row for each"
            )
        rows[text] = row
    return rows
