"""A budget of multiply-adds: what it allows, the width at which a network meets it, whether anything can."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nasray.costs.smallest import smallest_macs
from nasray.costs.table import macs
from nasray.errors import InvalidInput
from nasray.spaces import Architecture, CellSpace, NetworkSize


@dataclass(frozen=True)
class Budget:
    """The most multiply-adds that a network may have.

    Raises:
        InvalidInput: not a finite number above 0.
    """

    macs: float
    """Multiply-adds (M) at the size at which networks are trained from scratch."""

    def __post_init__(self) -> None:
        number = isinstance(self.macs, int | float) and not isinstance(self.macs, bool)
        if not number or not 0 < self.macs < math.inf:
            raise InvalidInput(f"budget {self.macs!r}: expected multiply-adds in millions, a number above 0")

    def allows(self, macs: Any) -> Any:
        """Whether multiply-adds (M) are within it; for a column, elementwise."""
        return macs <= self.macs

    def fit(self, space: CellSpace, architecture: Architecture, size: NetworkSize) -> NetworkSize:
        """The size itself where an architecture obeys the budget at it, else the widest that does.

        Args:
            space: of the architecture.
            architecture: what is to be built.
            size: at which it would be built without a budget.

        Raises:
            InvalidInput: one channel is too many already.
        """
        return size if self.allows(macs(space, architecture, size)) else self.widest(space, architecture, size)

    def widest(self, space: CellSpace, architecture: Architecture, size: NetworkSize) -> NetworkSize:
        """The size with as many channels as the budget allows, be they more or fewer than the size has.

        Raises:
            InvalidInput: one channel is too many already.
        """
        fits, beyond = 0, 1
        while self.allows(macs(space, architecture, size.replace(channels=beyond))):
            fits, beyond = beyond, 2 * beyond
        if not fits:
            least = macs(space, architecture, size.replace(channels=1))
            raise InvalidInput(
                f"budget of {self.macs:g} M multiply-adds: the architecture has {least:.4g} M even with one channel"
            )
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if self.allows(macs(space, architecture, size.replace(channels=middle))):
                fits = middle
            else:
                beyond = middle
        return size.replace(channels=fits)

    def check_possible(
        self, space: CellSpace, size: NetworkSize, *, narrower: bool = True, flag: str = "--budget"
    ) -> None:
        """Refuse a budget that no network of a space meets.

        Args:
            space: what is searched.
            size: of its networks.
            narrower: whether they may be made narrower to meet it.
            flag: where a budget is typed, for the message.

        Raises:
            InvalidInput: with the multiply-adds of the space's smallest network.
        """
        least = smallest_macs(space, size.replace(channels=1) if narrower else size)
        if self.allows(least):
            return
        width = "one channel" if narrower else f"{size.channels} channels"
        raise InvalidInput(
            f"budget of {self.macs:g} M multiply-adds: no network of space {space.name!r} is that small. The smallest, "
            f"with {width} and {size.cells} cells, has {least:.4g} M: give {flag} {_rounded_up(least)} or more"
        )


def _rounded_up(value: float) -> str:
    """Three digits that are no less than the value: who types them is not refused again."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.3g}"
