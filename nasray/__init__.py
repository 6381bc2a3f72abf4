"""nasray: differentiable architecture search under Ray Tune, ending in a Pareto front of accuracy against FLOPs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasray.results import hypervolume, load, pareto_front

__all__ = ["hypervolume", "load", "pareto_front"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # pandas and pyarrow take most of a second to import: only whoever asks for a table pays for them.
    if name in __all__:
        import nasray.results

        return getattr(nasray.results, name)
    raise AttributeError(f"module 'nasray' has no attribute {name!r}")
