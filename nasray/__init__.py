"""nasray: differentiable architecture search under Ray Tune, ending in a Pareto front of accuracy against FLOPs.

Run something: :func:`sweep`, :func:`search`, :func:`train`, :func:`retrain`, :func:`resume`. Look at what came out:
:func:`open`, :func:`load`, :func:`pareto_front`, :func:`hypervolume`, :func:`plot_front`. What mattered of
what was varied: :func:`importance`, :func:`effects`. Take a network away: :func:`export`, :func:`network`. Ask what
there is, what an architecture costs and how it looks: :func:`list`, :func:`cost`, :func:`draw`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasray.costs.budget import Budget
    from nasray.fronts.pareto import hypervolume, pareto_front
    from nasray.networks.build import network
    from nasray.pictures.drawing import draw
    from nasray.pictures.plots import plot_front
    from nasray.registry import listed as list
    from nasray.results.run import Run, export, open, report
    from nasray.results.varied import effects, importance
    from nasray.runs.front_file import load
    from nasray.settings import Choice, Range
    from nasray.sweeps.arm import Arm
    from nasray.sweeps.by_name import retrain, sweep
    from nasray.sweeps.cost import cost
    from nasray.sweeps.resuming import resume
    from nasray.sweeps.single import search, train
    from nasray.sweeps.sweep import Sweep

_ROOMS = {
    "Arm": "nasray.sweeps.arm",
    "Budget": "nasray.costs.budget",
    "Choice": "nasray.settings",
    "Range": "nasray.settings",
    "Run": "nasray.results.run",
    "Sweep": "nasray.sweeps.sweep",
    "cost": "nasray.sweeps.cost",
    "draw": "nasray.pictures.drawing",
    "effects": "nasray.results.varied",
    "export": "nasray.results.run",
    "hypervolume": "nasray.fronts.pareto",
    "importance": "nasray.results.varied",
    "list": "nasray.registry:listed",
    "load": "nasray.runs.front_file",
    "network": "nasray.networks.build",
    "open": "nasray.results.run",
    "pareto_front": "nasray.fronts.pareto",
    "plot_front": "nasray.pictures.plots",
    "report": "nasray.results.run",
    "resume": "nasray.sweeps.resuming",
    "retrain": "nasray.sweeps.by_name",
    "search": "nasray.sweeps.single",
    "sweep": "nasray.sweeps.by_name",
    "train": "nasray.sweeps.single",
}
"""Public name to where it lives: pandas, pyarrow and torch take seconds to import, which only those pay for who ask for
a table or a network."""

__all__ = [
    "Arm",
    "Budget",
    "Choice",
    "Range",
    "Run",
    "Sweep",
    "cost",
    "draw",
    "effects",
    "export",
    "hypervolume",
    "importance",
    "list",
    "load",
    "network",
    "open",
    "pareto_front",
    "plot_front",
    "report",
    "resume",
    "retrain",
    "search",
    "sweep",
    "train",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        module, _, other = _ROOMS[name].partition(":")
        return getattr(importlib.import_module(module), other or name)
    raise AttributeError(f"module 'nasray' has no attribute {name!r}")


def __dir__() -> Any:
    return sorted({*globals(), *__all__})
