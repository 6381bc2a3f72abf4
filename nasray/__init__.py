"""nasray: differentiable architecture search under Ray Tune, ending in a Pareto front of accuracy against FLOPs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasray.fronts import hypervolume, pareto_front
    from nasray.results import Run, open
    from nasray.runs import load

_ROOMS = {
    "Run": "nasray.results",
    "hypervolume": "nasray.fronts",
    "load": "nasray.runs",
    "open": "nasray.results",
    "pareto_front": "nasray.fronts",
}
"""Public name to where it lives: pandas and pyarrow take most of a second to import, which only those pay for who ask
for a table."""

__all__ = ["Run", "hypervolume", "load", "open", "pareto_front"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(importlib.import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'nasray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
