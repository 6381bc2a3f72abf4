"""A network for training code of one's own."""

from __future__ import annotations

from nasray import registry
from nasray.networks.network import Network, target_network
from nasray.spaces import Architecture, CellSpace, NetworkSize, read_architecture


def network(space: str | CellSpace, architecture: str | Architecture, size: NetworkSize) -> Network:
    """The network of an architecture, untrained: torch's own random generator initialises it.

    The names of its parameters are stable: weights that one version saved, the next one loads.

    Args:
        space: a search space, by its name or itself.
        architecture: one of that space: itself, the name of a published one, JSON, a genotype or a string.
        size: its channels and cells, the shape of an input, and the number of classes.

    Returns:
        A module that takes inputs (N, *size.input_shape) and gives logits (N, size.classes).

    Raises:
        InvalidInput: there is no such space or architecture, or the architecture fixes another number of cells.
    """
    found: CellSpace = registry.find("space", space, CellSpace) if isinstance(space, str) else space
    chosen = read_architecture(found, architecture) if isinstance(architecture, str) else architecture
    return target_network(found, chosen, size)
