"""nasray: differentiable architecture search under Ray Tune, ending in a Pareto front of accuracy against FLOPs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasray.fronts import hypervolume, pareto_front
    from nasray.networks.build import network
    from nasray.results import Run, export, open, report
    from nasray.runs import load
    from nasray.sweeps.resuming import resume
    from nasray.sweeps.single import search, train

_ROOMS = {
    "Run": "nasray.results",
    "export": "nasray.results",
    "hypervolume": "nasray.fronts",
    "load": "nasray.runs",
    "network": "nasray.networks.build",
    "open": "nasray.results",
    "pareto_front": "nasray.fronts",
    "report": "nasray.results",
    "resume": "nasray.sweeps.resuming",
    "search": "nasray.sweeps.single",
    "train": "nasray.sweeps.single",
}
"""Public name to where it lives: pandas, pyarrow and torch take seconds to import, which only those pay for who ask for
a table or a network."""

__all__ = [
    "Run",
    "export",
    "hypervolume",
    "load",
    "network",
    "open",
    "pareto_front",
    "report",
    "resume",
    "search",
    "train",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(importlib.import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'nasray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
