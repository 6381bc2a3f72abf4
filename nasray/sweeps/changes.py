"""The same sweep with something changed: one method alone, settings fixed, another training or execution."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.settings import TRAINED, Choice, DeviceKind, Range, changes, check_number
from nasray.sweeps.arm import LATIN, Arm, config_of
from nasray.sweeps.points import drawn_of
from nasray.sweeps.sweep import Sweep
from nasray.sweeps.training import Training
from nasray.trials.search_config import find_method

AS_IN = "--lambda0 1e-3:1e-1:log"
"""How a range is typed."""


def with_method(sweep: Sweep, method: str) -> Sweep:
    """The same sweep by one method or searcher alone.

    Raises:
        InvalidInput: there is no such method.
    """
    return dataclasses.replace(sweep, arms=of_method(sweep.arms, method))


def with_settings(sweep: Sweep, values: Mapping[str, Any]) -> Sweep:
    """The same sweep with settings fixed, or drawn from ranges, in every arm that has them.

    Raises:
        InvalidInput: a value that a method does not accept.
    """
    return dataclasses.replace(sweep, arms=varying(sweep.arms, values))


def of_method(arms: Sequence[Arm], method: str) -> tuple[Arm, ...]:
    """Those arms that have a method or searcher. Where none has it, it takes the first one's place, with the settings
    that both have at their values and the others at their defaults.

    Raises:
        InvalidInput: there is no such method.
    """
    method = registry.absolute(method)
    own = tuple(arm for arm in arms if arm.method == method)
    if own:
        return own
    config, first = config_of(method), arms[0]
    names = {one.name for one in dataclasses.fields(config)}
    settings = config.of({name: value for name, value in changes(first.settings).items() if name in names})
    kept = {name for name in first.param_space if name in names or name.startswith(TRAINED)}
    varied = {name: values for name, values in first.param_space.items() if name in kept}
    samples = first.samples if drawn_of(varied) else 1
    return (Arm(method=method, space=first.space, settings=settings, param_space=varied, samples=samples),)


def on_space(arms: Sequence[Arm], space: str) -> tuple[Arm, ...]:
    """The same arms on one space.

    Raises:
        InvalidInput: there is no such space, or a method cannot search it.
    """
    return tuple(dataclasses.replace(arm, space=space) for arm in arms)


def varying(arms: Sequence[Arm], values: Mapping[str, Any]) -> tuple[Arm, ...]:
    """The same arms with settings fixed where they have them: there these are no longer varied. Neither are those of
    the training, ``training.NAME``, whose values are the training's own. A range or choice in the place of a value is
    what they are drawn from.

    Raises:
        InvalidInput: a value that a method does not accept.
    """
    drawn = {name: value for name, value in values.items() if isinstance(value, Range | Choice)}

    def changed(arm: Arm) -> Arm:
        own = {one.name for one in dataclasses.fields(arm.settings)}
        kept = {name: value for name, value in arm.param_space.items() if name not in values}
        more = {name: one for name, one in drawn.items() if name in own or name.startswith(TRAINED)}
        fixed = {name: value for name, value in values.items() if name in own and name not in drawn}
        varied = {**kept, **more}
        return dataclasses.replace(
            arm,
            settings=dataclasses.replace(arm.settings, **fixed),
            param_space=varied,
            samples=arm.samples if drawn_of(varied) else 1,
            searcher=arm.searcher if drawn_of(varied) else LATIN,
        )

    return tuple(map(changed, arms))


def drawing(arms: Sequence[Arm], draws: int) -> tuple[Arm, ...]:
    """The same arms with another number of draws where those of a method draw from ranges.

    Raises:
        InvalidInput: none does, or no such number.
    """
    check_number("draws", draws, low=1, whole=True)
    draw = [bool(drawn_of(arm.param_space)) and not arm.is_black_box for arm in arms]
    if draws != 1 and not any(draw):
        more = " A black-box searcher makes as many --evaluations." if all(arm.is_black_box for arm in arms) else ""
        raise InvalidInput(f"draws {draws}: no method varies anything over a range. Give one, as in {AS_IN}.{more}")
    both = zip(arms, draw, strict=True)
    return tuple(dataclasses.replace(arm, samples=draws) if draws_some else arm for arm, draws_some in both)


def chosen_by(arms: Sequence[Arm], searcher: str) -> tuple[Arm, ...]:
    """The same arms with a searcher that chooses the values of ranges where those of a method have some.

    Raises:
        InvalidInput: none varies anything over a range, or there is no such searcher.
    """
    drawing = [bool(drawn_of(arm.param_space)) and not arm.is_black_box for arm in arms]
    if not any(drawing) and searcher != LATIN:
        raise InvalidInput(f"searcher {searcher}: nothing is varied over a range. Give one, as in {AS_IN}")
    both = zip(arms, drawing, strict=True)
    return tuple(dataclasses.replace(arm, searcher=searcher) if draws else arm for arm, draws in both)


def filled(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The same arms, of which methods' cost knobs are no longer varied, and what was drawn from ranges has the value of
    the arm's settings."""

    def freed(arm: Arm) -> Arm:
        knob = None if arm.is_black_box else find_method(arm.method).cost_knob
        if knob is None:
            return arm
        drawn = drawn_of(arm.param_space)
        kept = {n: values for n, values in arm.param_space.items() if n != knob.name and n not in drawn}
        return dataclasses.replace(arm, param_space=kept, samples=1, searcher=LATIN)

    return tuple(map(freed, arms))


def with_training(sweep: Sweep, **fields: Any) -> Sweep:
    """The same sweep with other fields of its training, or of the settings of that.

    Raises:
        InvalidInput: a value that is not accepted.
    """
    return dataclasses.replace(sweep, training=trained_by(sweep.training, fields))


def trained_by(training: Training, fields: Mapping[str, Any]) -> Training:
    """The same training with other fields, or of its settings.

    Raises:
        InvalidInput: a value that is not accepted.
    """
    own = {one.name for one in dataclasses.fields(training)}
    settings = {name: value for name, value in fields.items() if name not in own}
    changed = {name: value for name, value in fields.items() if name in own}
    if settings:
        changed["settings"] = dataclasses.replace(changed.get("settings", training.settings), **settings)
    return dataclasses.replace(training, **changed)


def with_device(sweep: Sweep, kind: DeviceKind) -> Sweep:
    """The same sweep, computed on this kind of device wherever its settings leave that open."""

    def settled(settings: Any) -> Any:
        return dataclasses.replace(settings, device=kind) if getattr(settings, "device", None) == "auto" else settings

    arms = tuple(dataclasses.replace(arm, settings=settled(arm.settings)) for arm in sweep.arms)
    return with_training(dataclasses.replace(sweep, arms=arms), settings=settled(sweep.training.settings))


def with_execution(sweep: Sweep, **fields: Any) -> Sweep:
    """The same sweep with other fields of its execution.

    Raises:
        InvalidInput: a value that is not accepted.
    """
    return dataclasses.replace(sweep, execution=dataclasses.replace(sweep.execution, **fields))
