"""An arm of a sweep: a differentiable method or a black-box searcher on a space, and what is varied."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nasray import registry
from nasray.errors import InvalidInput, shown
from nasray.searchers import find_searcher, is_searcher
from nasray.searchers.parameters import active
from nasray.settings import HYPERPARAMETERS, TRAINED, Choice, Range, Settings, as_tuple, check_fields, check_names
from nasray.spaces import CellSpace
from nasray.sweeps.points import ParamSpace, drawn_of, ends, ends_of, grid_points, latin_hypercube, whole
from nasray.trials.evaluation import EvaluationSettings
from nasray.trials.search_config import find_method

LATIN = "latin"
"""The searcher of settings that learns nothing: a Latin hypercube."""


class Point(NamedTuple):
    """What one search of an arm is set to."""

    settings: Settings
    """The search's settings."""
    training: Mapping[str, Any]
    """Settings with which all that it finds is trained from scratch, where the param space varies them."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method or searcher on a space, and what is varied of its settings.

    Its searches are all combinations of the param space's tuples and ``samples`` values of its ranges: drawn before the
    first search, or chosen by a searcher that learns from the searches before. Any setting can be varied: knobs,
    learning rates, channels, epochs. So can hyperparameters of the training from scratch, as
    ``training.learning_rate``: what a search finds is trained with the values of that search. What says which trainings
    compare, such as their epochs and size, cannot. A black-box searcher proposes the values of ranges with each
    architecture.

    Raises:
        InvalidInput: a part that does not exist, a setting that the method does not have, a value out of its range, a
            setting of the training that cannot be varied.
    """

    method: str
    """Name of a differentiable method or of a black-box searcher (``nasray list methods``, ``nasray list searchers``),
    or FILE.py:NAME."""
    space: str
    """Name of the search space (``nasray list spaces``), or FILE.py:NAME."""
    settings: Settings
    """Settings of every search where the param space does not vary them: the ``Config`` of the method or searcher."""
    param_space: ParamSpace = field(default_factory=dict)
    """Settings that are varied, those of the training as ``training.NAME``: a tuple of values, all of which are
    searched, or a :class:`Range` or :class:`Choice` to draw from."""
    samples: int = 1
    """Number of values of the ranges and choices of the param space. Without any, and of a black-box searcher, whose
    evaluations have a value each, it must be 1."""
    searcher: str = LATIN
    """Who chooses these values for a differentiable method: ``latin``, a Latin hypercube that is drawn before the first
    search; or a searcher (``nasray list searchers``), which is told what each search was worth."""

    def __post_init__(self) -> None:
        for kind in ("method", "space"):
            object.__setattr__(self, kind, registry.named(kind, getattr(self, kind)))
            if not isinstance(getattr(self, kind), str):
                raise InvalidInput(f"{kind} {shown(getattr(self, kind))} of an arm: expected a name")
            object.__setattr__(self, kind, registry.absolute(getattr(self, kind)))
        registry.find("space", self.space, CellSpace)
        config = config_of(self.method)
        if type(self.settings) is not config:
            raise InvalidInput(
                f"settings {type(self.settings).__qualname__} for method {self.method!r}: "
                f"expected {config.__qualname__}"
            )
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < 1:
            raise InvalidInput(f"samples {shown(self.samples)}: expected a whole number from 1")
        if not isinstance(self.param_space, Mapping):
            raise InvalidInput(f"param_space {shown(self.param_space)}: expected values by the names of settings")
        varied = {name: _varied(name, values) for name, values in self.param_space.items()}
        object.__setattr__(self, "param_space", varied)
        own = [name for name in self.param_space if not name.startswith(TRAINED)]
        if "device" in own:
            raise InvalidInput("device in a param space: a run computes on one kind of device. Give it in settings.")
        check_names(config, dict.fromkeys(own))
        _check_trained(self.varied_training)
        drawn = drawn_of(self.param_space)
        if self.samples > 1 and not drawn:
            raise InvalidInput(f"samples {self.samples} of a param space without ranges: expected 1")
        if self.samples > 1 and self.is_black_box:
            raise InvalidInput(f"samples {self.samples} of searcher {self.method}: expected 1. Set its evaluations.")
        if self.is_black_box and (known := [name for name in drawn if name in own]):
            raise InvalidInput(
                f"{known[0]} of searcher {self.method} over a range: give a tuple, whose values are all searched with."
            )
        _check_conditions(drawn)
        self._check_searcher()
        for name, values in whole(self.param_space).items():
            assert not isinstance(values, Choice)
            for value in ends_of(values) if isinstance(values, Range) else values:
                if name in own:
                    dataclasses.replace(self.settings, **{name: value})
                else:
                    EvaluationSettings.of({name.removeprefix(TRAINED): value})

    def _check_searcher(self) -> None:
        if self.searcher == LATIN:
            return
        if not isinstance(self.searcher, str) or not is_searcher(self.searcher):
            known = ", ".join((LATIN, *registry.names("searcher")))
            raise InvalidInput(f"searcher {shown(self.searcher)}: expected one of {known}, or FILE.py:NAME")
        if self.is_black_box:
            raise InvalidInput(f"searcher {self.searcher} of an arm of {self.method}, itself a searcher. Leave it out.")
        if not drawn_of(self.param_space):
            raise InvalidInput(
                f"searcher {self.searcher} for a param space without ranges: give one, as in --lambda0 1e-3:1e-1:log"
            )

    @property
    def learns(self) -> bool:
        """Whether what its searches are set to follows from the searches before."""
        return self.searcher != LATIN

    @property
    def is_told(self) -> bool:
        """Whether who chooses depends on what it is told of searches, or trainings, before."""
        who = self.method if self.is_black_box else self.searcher
        return who != LATIN and find_searcher(who).learns

    @property
    def is_black_box(self) -> bool:
        """Whether a searcher proposes architectures, which are then trained or looked up; else a method searches."""
        return is_searcher(self.method)

    @property
    def cell_space(self) -> CellSpace:
        """The search space behind the name."""
        found: CellSpace = registry.find("space", self.space, CellSpace)
        return found

    @property
    def varied_training(self) -> list[str]:
        """Names of the settings of the training that are varied, without ``training.`` before them."""
        return [name.removeprefix(TRAINED) for name in self.param_space if name.startswith(TRAINED)]

    def points(self) -> list[Point]:
        """What all its searches are set to, for one seed; the same at every call. Where a searcher chooses values,
        these stand for them: as many."""
        drawn = drawn_of(self.param_space)
        draws = [{}] if self.is_black_box else latin_hypercube(drawn, self.samples)
        return [self._point(active(drawn, values)) for values in grid_points(self.param_space, draws)]

    def grid(self) -> list[Point]:
        """What a searcher's searches are set to beside the values that it chooses: one point for each combination of
        tuples, for one seed."""
        return [self._point(values) for values in grid_points(self.param_space, [{}])]

    def extremes(self) -> list[Point]:
        """The points between which all its searches lie: ranges at their ends, tuples with all of their values."""
        every, drawn = whole(self.param_space), drawn_of(self.param_space)
        draws = ends({name: values for name, values in every.items() if isinstance(values, Range)})
        found = [active(drawn, values) for values in grid_points(every, draws)]
        return [self._point(values) for place, values in enumerate(found) if values not in found[:place]]

    def _point(self, values: Mapping[str, Any]) -> Point:
        training = {name: values[TRAINED + name] for name in self.varied_training if TRAINED + name in values}
        own = {name: value for name, value in values.items() if not name.startswith(TRAINED)}
        return Point(dataclasses.replace(self.settings, **own), training)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Arm:
        """An arm from JSON's values.

        Raises:
            InvalidInput: a field that an arm does not have, one that is missing, or a value that is not accepted.
        """
        check_fields("arm", cls, values)
        settings = config_of(values["method"]).of(values["settings"])
        varied = {
            name: (Choice(**v) if "values" in v else Range(**v)) if isinstance(v, dict) else tuple(v)
            for name, v in values.get("param_space", {}).items()
        }
        return cls(**{**values, "settings": settings, "param_space": varied})


def _varied(name: Any, values: Any) -> Range | Choice | tuple[Any, ...]:
    """What a setting is varied over: a range or a choice to draw from, or one value after the other."""
    if not isinstance(name, str):
        raise InvalidInput(f"{shown(name)} in a param space: expected the name of a setting")
    if isinstance(values, Range | Choice):
        return values
    found = as_tuple(f"{name} in a param space:", values, or_else="a Range, a Choice, or ")
    if not found or any(one in found[:place] for place, one in enumerate(found)):
        raise InvalidInput(f"{name} {shown(found)} in a param space: expected one value or more, none twice")
    return found


def _check_conditions(drawn: Mapping[str, Range | Choice]) -> None:
    for name, one in drawn.items():
        if one.when is None:
            continue
        other, value = one.when
        on = drawn.get(other)
        if other == name or not isinstance(on, Choice) or value not in on.values or on.when is not None:
            raise InvalidInput(
                f"{name} when {other} is {shown(value)}: expected another setting of the param space, a Choice that "
                "has this value and no condition itself"
            )


def _check_trained(names: list[str]) -> None:
    for name in names:
        if name not in HYPERPARAMETERS:
            close = difflib.get_close_matches(name, HYPERPARAMETERS, n=1)
            hint = f"Did you mean {TRAINED}{close[0]}? " if close else ""
            known = name in {one.name for one in dataclasses.fields(EvaluationSettings)}
            why = "trainings that differ in it do not compare" if known else "the training has no such setting"
            raise InvalidInput(
                f"{shown(TRAINED + name)} in a param space: {why}. {'' if known else hint}It may vary "
                f"{', '.join(sorted(HYPERPARAMETERS))} of the training."
            )


def config_of(method: str) -> type[Settings]:
    """The settings of a method, or of a black-box searcher.

    Raises:
        InvalidInput: there is neither.
    """
    return find_searcher(method).Config if is_searcher(method) else find_method(method).Config
