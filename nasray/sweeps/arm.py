"""An arm of a sweep: a differentiable method or a black-box searcher on a space, and what is varied."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput, shown
from nasray.searchers import find_searcher, is_searcher
from nasray.settings import Range, Settings, check_fields, check_names
from nasray.spaces import CellSpace
from nasray.sweeps.points import ParamSpace, ends, grid_points, latin_hypercube, ranges_of
from nasray.trials.search_config import find_method


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method or searcher on a space, and what is varied of its settings.

    Its searches are all combinations of the param space's tuples and ``samples`` draws from its ranges. Any setting
    can be varied: knobs, learning rates, channels, epochs.

    Raises:
        InvalidInput: a part that does not exist, a setting that the method does not have, a value out of its range.
    """

    method: str
    """Name of a differentiable method or of a black-box searcher (``nasray list methods``, ``nasray list searchers``),
    or FILE.py:NAME."""
    space: str
    """Name of the search space (``nasray list spaces``), or FILE.py:NAME."""
    settings: Settings
    """Settings of every search where the param space does not vary them: the ``Config`` of the method or searcher."""
    param_space: ParamSpace = field(default_factory=dict)
    """Settings that are varied: a tuple of values, all of which are searched, or a :class:`Range` to draw from."""
    samples: int = 1
    """Number of draws from the ranges of the param space (a Latin hypercube). Without ranges it must be 1."""

    def __post_init__(self) -> None:
        for kind in ("method", "space"):
            if not isinstance(getattr(self, kind), str):
                raise InvalidInput(f"{kind} {shown(getattr(self, kind))} of an arm: accepted is a name")
            object.__setattr__(self, kind, registry.absolute(getattr(self, kind)))
        registry.find("space", self.space, CellSpace)
        config = config_of(self.method)
        if type(self.settings) is not config:
            raise InvalidInput(
                f"settings {type(self.settings).__qualname__} for method {self.method!r}: "
                f"accepted is {config.__qualname__}"
            )
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < 1:
            raise InvalidInput(f"samples {shown(self.samples)}: accepted are whole numbers from 1")
        check_names(config, self.param_space)
        if self.samples > 1 and not ranges_of(self.param_space):
            raise InvalidInput(f"samples {self.samples} of a param space without ranges: accepted is 1")
        for name, values in self.param_space.items():
            for value in (values.low, values.high) if isinstance(values, Range) else values:
                dataclasses.replace(self.settings, **{name: value})

    @property
    def is_black_box(self) -> bool:
        """Whether a searcher proposes architectures, which are then trained or looked up; else a method searches."""
        return is_searcher(self.method)

    @property
    def cell_space(self) -> CellSpace:
        """The search space behind the name."""
        found: CellSpace = registry.find("space", self.space, CellSpace)
        return found

    def points(self) -> list[Settings]:
        """The settings of all its searches, for one seed; the same at every call."""
        draws = latin_hypercube(ranges_of(self.param_space), self.samples)
        return [dataclasses.replace(self.settings, **one) for one in grid_points(self.param_space, draws)]

    def extremes(self) -> list[Settings]:
        """The settings between which all its searches lie: ranges at their ends, tuples with all of their values."""
        draws = ends(ranges_of(self.param_space))
        return [dataclasses.replace(self.settings, **one) for one in grid_points(self.param_space, draws)]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Arm:
        """An arm from JSON's values.

        Raises:
            InvalidInput: a field that an arm does not have, one that is missing, or a value that is not accepted.
        """
        check_fields("arm", cls, values)
        settings = config_of(values["method"]).of(values["settings"])
        varied = {
            name: Range(**v) if isinstance(v, dict) else tuple(v) for name, v in values.get("param_space", {}).items()
        }
        return cls(**{**values, "settings": settings, "param_space": varied})


def config_of(method: str) -> type[Settings]:
    """The settings of a method, or of a black-box searcher.

    Raises:
        InvalidInput: there is neither.
    """
    return find_searcher(method).Config if is_searcher(method) else find_method(method).Config
