"""Epochs at which searches are compared, and all but the best stopped: what is refused of them."""

from __future__ import annotations

from collections.abc import Sequence

from nasray.errors import InvalidInput
from nasray.settings import TrainingSettings
from nasray.sweeps.arm import Arm
from nasray.sweeps.fill import Fill
from nasray.sweeps.training import check_factor, check_rungs


def longest(arms: Sequence[Arm]) -> int:
    """The most epochs that a search of some arms has.

    Args:
        arms: of differentiable methods, one or more.
    """
    settings = [point.settings for arm in arms for point in arm.extremes()]
    return max(one.epochs for one in settings if isinstance(one, TrainingSettings))


def check_search_rungs(rungs: tuple[int, ...], factor: float, arms: Sequence[Arm], fill: Fill | None) -> None:
    """Refuse rungs at which no search could be stopped, or none should.

    A rung may lie past the end of some searches, which then are never stopped there.

    Args:
        rungs: epochs.
        factor: the best 1/N of the searches continue at each of them.
        arms: of differentiable methods.
        fill: what the searches are for, where a front is filled.

    Raises:
        InvalidInput: no rising epochs, or not below those of the longest search; no search; a front is filled.
    """
    check_rungs("search_rungs", rungs)
    check_factor("search_", rungs, factor)
    if not rungs:
        return
    words = " ".join(map(str, rungs))
    if not arms:
        raise InvalidInput(
            f"search_rungs {words}: no arm is of a differentiable method. training.rungs compares what black-box "
            "searchers propose."
        )
    if fill is not None:
        raise InvalidInput(f"search_rungs {words}: a search that fills a front has to end. Leave one of the two out.")
    if rungs[-1] >= longest(arms):
        raise InvalidInput(f"search_rungs {words}: expected epochs below the {longest(arms)} of the longest search")
