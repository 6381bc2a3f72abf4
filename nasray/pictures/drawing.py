"""Drawing one architecture, as people ask for it by names. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasray import registry
from nasray.pictures.cell_picture import draw_cells
from nasray.spaces import Architecture, CellSpace, architecture_of_value

if TYPE_CHECKING:
    import pandas as pd


def draw(
    space: str | CellSpace,
    architecture: str | Architecture | Mapping[str, Any] | pd.Series[Any],
    out: str | Path,
    *,
    title: str | None = None,
) -> Path:
    """Draw the cells of an architecture.

    Args:
        space: a search space, by its name or itself.
        architecture: one of that space: itself, a row of a table, the name of a published one, JSON, a genotype or a
            string.
        out: file to write, .png, .svg or .pdf.
        title: of the picture; None is the architecture's name or id, and the space's name.

    Returns:
        The file.

    Raises:
        InvalidInput: there is no such space or architecture, or the file cannot be written.
    """
    found: CellSpace = registry.find("space", space, CellSpace) if isinstance(space, str) else space
    chosen = architecture_of_value(found, architecture)
    named = isinstance(architecture, str) and architecture in found.references
    called = str(architecture) if named else f"architecture {chosen.id}"
    draw_cells(found, chosen, out, title=title or f"{called} ({found.name})")
    return Path(out)
