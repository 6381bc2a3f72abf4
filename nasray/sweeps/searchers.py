"""Black-box searchers: they propose architectures, and see no more of one than what its evaluation came to.

They stand beside the methods: a sweep takes either by name, and both leave rows in the same tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasray import registry
from nasray.errors import InvalidInput
from nasray.settings import Settings, setting
from nasray.spaces import Architecture, CellSpace

if TYPE_CHECKING:
    from ray.tune.search import Searcher as TuneSearcher

OBJECTIVES = {"accuracy": "max", "macs": "min", "params": "min", "latency_ms": "min"}
"""What can be asked for, and whether more or less of it is better."""
EPOCH = "epoch"
"""In the results of trials: the epochs of training that they are of."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a searcher searches."""

    space: CellSpace
    cells: int
    """Positions of the networks that are evaluated."""
    objectives: tuple[str, ...]
    """Of :data:`OBJECTIVES`."""
    epochs: int
    """Of a complete evaluation."""
    budget: float | None
    """Largest multiply-adds (M)."""
    macs: Callable[[Architecture], float]
    """M, at the evaluation size."""
    seed: int


class Searcher(ABC):
    """A way of proposing architectures."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Settings):
        """Settings of every searcher."""

        evaluations: int = setting(100, low=1)
        """Architectures that are proposed."""

    @classmethod
    @abstractmethod
    def make(cls, config: Config, task: Task) -> TuneSearcher:
        """A searcher of Ray Tune that proposes the parameters of architectures (``nasray.spaces``)."""


def find_searcher(name: str) -> type[Searcher]:
    """A searcher's class by its name.

    Raises:
        InvalidInput: there is none, or what is there is no searcher.
    """
    found = registry.find("searcher", name)
    if not (isinstance(found, type) and issubclass(found, Searcher)):
        raise InvalidInput(
            f"searcher {name!r} is {found!r}: accepted is a subclass of nasray.sweeps.searchers.Searcher"
        )
    return found


def is_searcher(name: str) -> bool:
    """Whether a name is a searcher's rather than a method's."""
    if ".py:" in name:
        found = registry.find("searcher", name)
        return isinstance(found, type) and issubclass(found, Searcher)
    return name in registry.names("searcher")
