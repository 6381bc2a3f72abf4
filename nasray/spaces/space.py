"""Search spaces: the cells that can be chosen and how they make a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import mul
from typing import Any

from nasray.errors import InvalidInput, shown
from nasray.spaces.graph import CellGraph

_WITH_SPREAD = r"(?P<mean>\d+(\.\d+)?)(\s*(±|\+/-|\+-)\s*(?P<spread>\d+(\.\d+)?))?"


MOST_CHANNELS, MOST_CELLS, MOST_CLASSES, MOST_PIXELS = 2**16, 1000, 2**24, 2**14
"""Beyond any network: what is larger has more weights or features than 64 bits can count, or is never built."""


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """How large a network is: with an architecture, all that its cost depends on.

    Raises:
        InvalidInput: a number below 1, or beyond any network.
    """

    channels: int
    """Channels of the first cell's nodes."""
    cells: int
    """Cells in which something can be chosen."""
    input_shape: tuple[int, ...]
    """Shape of one network input without the batch dimension, (channels, height, width) for images."""
    classes: int
    skeleton: str = "auto"
    """What surrounds the cells: ``cifar`` (small images), ``imagenet`` (three stride-2 stem convolutions), or ``auto``:
    that of ImageNet from sides of 128 pixels, where the space has it, else the other."""

    def __post_init__(self) -> None:
        for name, most in (("channels", MOST_CHANNELS), ("cells", MOST_CELLS), ("classes", MOST_CLASSES)):
            if not 1 <= getattr(self, name) <= most:
                raise InvalidInput(f"{name} {getattr(self, name)}: expected a whole number from 1 to {most}")
        if not self.input_shape or not 1 <= min(self.input_shape) <= max(self.input_shape) <= MOST_PIXELS:
            raise InvalidInput(f"input shape {self.input_shape}: expected whole numbers from 1 to {MOST_PIXELS}")

    def replace(self, **changes: Any) -> NetworkSize:
        """The same size with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Where a space's cells normalise (methods.md 0.2): it differs between papers, and between search and
    evaluation."""

    affine: bool
    """Whether batch normalisations inside cells have a learned scale and shift."""
    scale: bool = True
    """Whether the scale of an affine one is learned; it is 1 otherwise."""
    after_pool: bool
    """Whether a batch normalisation follows each pooling."""
    after_identity: bool
    """Whether a batch normalisation follows each identity."""


@dataclass(frozen=True, kw_only=True)
class CellSpace:
    """A search space whose networks are stacks of cells.

    A cell position has a *kind* (a key of ``cells``). Where ``cell_per_position`` is false, all positions of a
    kind share one choice and an architecture names it by the kind (``normal``, ``reduce``); where it is true,
    every position has its own, named by kind and position (``normal_0``, ..., ``reduce_4``).

    Raises:
        InvalidInput: no cells, or a field of another type.
    """

    name: str
    task: str = "classification"
    """What the space's networks do: it must be the dataset's task."""
    cells: Mapping[str, CellGraph]
    """Kind of cell to its graph: ``normal``, and ``reduce``, which halves the resolution and doubles the channels.
    In a space with stages the reduction that ends stage S may have a kind ``reduce_S`` of its own."""
    stages: tuple[int, ...] = ()
    """Normal cells of every stage in the published network; a reduction ends every stage but the last. Where no kind
    of cell is a reduction, it is a residual block without any choice, which does not count as a cell. Empty where
    reductions stand at one and two thirds of the depth."""
    cell_per_position: bool = False
    search_channels: int
    search_cells: int
    evaluation_channels: int
    evaluation_cells: int
    search_normalisation: Normalisation
    evaluation_normalisation: Normalisation
    references: Mapping[str, Reference] = field(default_factory=dict)
    """Published architectures of this space by name."""
    published_sizes: Mapping[str, NetworkSize] = field(default_factory=dict)
    """Dataset to the size of the networks that the published figures are of."""

    def __post_init__(self) -> None:
        if not isinstance(self.cells, Mapping) or not all(isinstance(one, CellGraph) for one in self.cells.values()):
            raise InvalidInput(f"space {self.name!r} with cells {shown(self.cells)}: expected graphs by their kind")
        if not self.cells:
            raise InvalidInput(f"space {self.name!r} without cells: expected at least one kind of cell")
        for name in ("search_channels", "search_cells", "evaluation_channels", "evaluation_cells"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InvalidInput(f"space {self.name!r} with {name} {shown(value)}: expected a whole number from 1")

    @property
    def _cells_reduce(self) -> bool:
        return any(graph.stride > 1 for graph in self.cells.values())

    def kinds(self, num_cells: int) -> tuple[str, ...]:
        """Kind of cell at every position: reductions at one and two thirds of the depth (methods.md 0.1), or at the
        ends of the stages.

        Raises:
            InvalidInput: too few cells for the stages.
        """
        if self.stages:
            return self._staged_kinds(num_cells)
        if "reduce" not in self.cells:
            (only,) = self.cells
            return (only,) * num_cells
        reductions = {num_cells // 3, 2 * num_cells // 3}
        return tuple("reduce" if i in reductions else "normal" for i in range(num_cells))

    def _staged_kinds(self, num_cells: int) -> tuple[str, ...]:
        # One normal cell a stage, then always one more where the published share is met least (our choice): with
        # as many cells as published it is the published network.
        reductions = len(self.stages) - 1 if self._cells_reduce else 0
        least = len(self.stages) + reductions
        if num_cells < least:
            raise InvalidInput(f"{num_cells} cells for {self.name!r}: expected {least} and more")
        kinds: list[str] = []
        for stage, cells in enumerate(self._normal_cells(num_cells - reductions), start=1):
            kinds += ["normal"] * cells
            if reductions and stage < len(self.stages):
                kinds.append("reduce" if "reduce" in self.cells else f"reduce_{stage}")
        return tuple(kinds)

    def _normal_cells(self, num_cells: int) -> list[int]:
        # Of every stage.
        normal = [1] * len(self.stages)
        while sum(normal) < num_cells:
            least_met = min(range(len(normal)), key=lambda stage: normal[stage] / self.stages[stage])
            normal[least_met] += 1
        return normal

    def fixed_reductions(self, num_cells: int) -> frozenset[int]:
        """Positions of the cells before which a reduction without any choice stands."""
        if not self.stages or self._cells_reduce:
            return frozenset()
        return frozenset(accumulate(self._normal_cells(num_cells)[:-1]))

    def widths(self, num_cells: int) -> tuple[int, ...]:
        """Channels at every position, in those of the first cell: every reduction doubles them."""
        fixed = self.fixed_reductions(num_cells)
        factors = [
            self.cells[kind].stride * (2 if position in fixed else 1)
            for position, kind in enumerate(self.kinds(num_cells))
        ]
        return tuple(accumulate(factors, mul))

    def layout(self, num_cells: int) -> tuple[str, ...]:
        """Cell name at every position."""
        kinds = self.kinds(num_cells)
        return tuple(f"{kind}_{i}" for i, kind in enumerate(kinds)) if self.cell_per_position else kinds

    def graph(self, cell_name: str) -> CellGraph:
        """The graph of a cell by its name.

        Raises:
            InvalidInput: the space has no such cell.
        """
        kind, _, position = cell_name.rpartition("_") if self.cell_per_position else (cell_name, "", "0")
        if kind not in self.cells or not position.isdecimal():
            form = "KIND_POSITION with KIND " if self.cell_per_position else ""
            raise InvalidInput(f"cell {cell_name!r} of space {self.name!r}: expected {form}{' or '.join(self.cells)}")
        return self.cells[kind]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published architecture with where it was published and the figures printed there."""

    genotype: Mapping[str, Any]
    """The field's genotype form."""
    source: str
    published: Mapping[str, Any] = field(default_factory=dict)
    """Dataset to figures as printed (strings where the print has a spread)."""

    def test_accuracy(self, dataset: str) -> tuple[float, float | None] | None:
        """Accuracy on the test split as published, and its spread where one is printed: fractions.

        None where no figure is published for the dataset, or none that is a number with or without a spread.
        """
        figures = self.published.get(dataset, {})
        printed = re.fullmatch(_WITH_SPREAD, str(figures.get("test_error_pct", figures.get("top1_err"))).strip())
        if printed is None:
            return None
        spread = printed["spread"]
        return 1 - float(printed["mean"]) / 100, None if spread is None else float(spread) / 100
