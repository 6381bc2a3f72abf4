"""What a search method may ask of the supernet beyond the operations of its space."""

from __future__ import annotations

from dataclasses import dataclass

from nasray.spaces import Normalisation


@dataclass(frozen=True, kw_only=True)
class Needs:
    """A method that asks for nothing has these defaults."""

    normalisation: Normalisation | None = None
    """Where the supernet's cells normalise; None is as the space does in searches (ISTA-NAS, one-stage)."""
