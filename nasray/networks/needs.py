"""What a search method may ask of the supernet beyond the operations of its space."""

from __future__ import annotations

from dataclasses import dataclass

from nasray.spaces import Normalisation


@dataclass(frozen=True, kw_only=True)
class Needs:
    """A method that asks for nothing has these defaults. A target network never has anything else."""

    channel_fraction: int = 1
    """K: operations are built for, and see, the first 1/K of a node's channels; the others bypass them
    (PC-DARTS)."""
    shared_features: bool = False
    """Whether an operation on a node is one module for all later nodes, computed once for them (EnTranNAS)."""
    normalisation: Normalisation | None = None
    """Where the supernet's cells normalise; None is as the space does in searches (ISTA-NAS, one-stage)."""
