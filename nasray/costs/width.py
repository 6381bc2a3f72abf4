"""The width that a budget of multiply-adds allows."""

from __future__ import annotations

from nasray.costs.table import macs
from nasray.errors import InvalidInput
from nasray.spaces import Architecture, CellSpace, NetworkSize


def width_for_budget(space: CellSpace, architecture: Architecture, size: NetworkSize, budget: float) -> int:
    """The largest number of channels at which an architecture's exact multiply-adds obey a budget.

    Args:
        space: of the architecture.
        architecture: what is to be built.
        size: all of the network's size but its channels.
        budget: multiply-adds, in M.

    Raises:
        InvalidInput: one channel is too many already.
    """
    fits, beyond = 0, 1
    while macs(space, architecture, size.replace(channels=beyond)) <= budget:
        fits, beyond = beyond, 2 * beyond
    if not fits:
        least = macs(space, architecture, size.replace(channels=1))
        raise InvalidInput(
            f"budget of {budget:g} M multiply-adds: accepted are {least:.4g} M, at one channel, and more"
        )
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if macs(space, architecture, size.replace(channels=middle)) <= budget:
            fits = middle
        else:
            beyond = middle
    return fits
