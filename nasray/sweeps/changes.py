"""The same sweep with something changed: one method alone, settings fixed, another training or execution."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.settings import TRAINED, Choice, DeviceKind, Range, changes
from nasray.sweeps.arm import LATIN, Arm, config_of
from nasray.sweeps.fill import Fill
from nasray.sweeps.points import drawn_of
from nasray.sweeps.sweep import Sweep
from nasray.trials.search_config import find_method


def with_method(sweep: Sweep, method: str) -> Sweep:
    """The same sweep by one method or searcher alone.

    Its arms are those that have the method. Where none has it, it takes the first arm's place, with the settings that
    both have at their values and the others at their defaults.

    Raises:
        InvalidInput: there is no such method.
    """
    method = registry.absolute(method)
    arms = tuple(arm for arm in sweep.arms if arm.method == method)
    if not arms:
        config, first = config_of(method), sweep.arms[0]
        names = {one.name for one in dataclasses.fields(config)}
        settings = config.of({name: value for name, value in changes(first.settings).items() if name in names})
        kept = {name for name in first.param_space if name in names or name.startswith(TRAINED)}
        varied = {name: values for name, values in first.param_space.items() if name in kept}
        samples = first.samples if drawn_of(varied) else 1
        arms = (Arm(method=method, space=first.space, settings=settings, param_space=varied, samples=samples),)
    return dataclasses.replace(sweep, arms=arms)


def with_space(sweep: Sweep, space: str) -> Sweep:
    """The same sweep with every arm on one space.

    Raises:
        InvalidInput: there is no such space, or a method cannot search it.
    """
    return dataclasses.replace(sweep, arms=tuple(dataclasses.replace(arm, space=space) for arm in sweep.arms))


def with_samples(sweep: Sweep, samples: int) -> Sweep:
    """The same sweep with another number of draws in every arm that draws from ranges.

    Raises:
        InvalidInput: no arm does.
    """
    if samples != 1 and not any(drawn_of(arm.param_space) for arm in sweep.arms):
        raise InvalidInput(f"{samples} draws: sweep {sweep.name!r} varies no setting over a range. Leave them out")
    arms = (dataclasses.replace(arm, samples=samples) if drawn_of(arm.param_space) else arm for arm in sweep.arms)
    return dataclasses.replace(sweep, arms=tuple(arms))


def with_settings(sweep: Sweep, values: Mapping[str, Any]) -> Sweep:
    """The same sweep with settings fixed in every arm that has them: there they are no longer varied. Neither are those
    of the training, ``training.NAME``, whose values are the training's own. A range or choice in the place of a value
    is what they are drawn from.

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

    return dataclasses.replace(sweep, arms=tuple(map(changed, sweep.arms)))


def with_searcher(sweep: Sweep, searcher: str, samples: int | None) -> Sweep:
    """The same sweep with a searcher that chooses the values of ranges in every arm of a method that has some.

    Args:
        sweep: that is changed.
        searcher: its name.
        samples: searches of each arm; None is as many as there are.

    Raises:
        InvalidInput: no arm varies anything over a range, or there is no such searcher.
    """
    arms = [
        dataclasses.replace(arm, searcher=searcher, samples=samples or arm.samples)
        if drawn_of(arm.param_space) and not arm.is_black_box
        else arm
        for arm in sweep.arms
    ]
    if tuple(arms) == sweep.arms and searcher != LATIN:
        raise InvalidInput(
            f"searcher {searcher}: sweep {sweep.name!r} varies nothing over a range. Give one, as in --lambda0 "
            "1e-3:1e-1:log"
        )
    return dataclasses.replace(sweep, arms=tuple(arms))


def with_fill(sweep: Sweep, options: Mapping[str, Any]) -> Sweep:
    """The same sweep with multiply-adds near which candidates are wanted; methods' cost knobs are no longer varied, and
    what was drawn from ranges has the value of the arm's settings.

    Args:
        sweep: that is changed.
        options: ``fill`` (how many), ``fill_at`` (M), ``fill_tolerance``, ``fill_searches``.

    Raises:
        InvalidInput: a value that is not accepted, or a method without such a knob.
    """
    before = sweep.fill
    given: dict[str, Any] = {} if before is None else {"tolerance": before.tolerance, "searches": before.searches}
    names = {"fill": "count", "fill_at": "at", "fill_tolerance": "tolerance", "fill_searches": "searches"}
    given |= {names[name]: value for name, value in options.items()}
    if before is not None and not {"count", "at"} & set(given):
        given |= {"count": before.count, "at": before.at}

    def freed(arm: Arm) -> Arm:
        knob = None if arm.is_black_box else find_method(arm.method).cost_knob
        if knob is None:
            return arm
        drawn = drawn_of(arm.param_space)
        kept = {n: values for n, values in arm.param_space.items() if n != knob.name and n not in drawn}
        return dataclasses.replace(arm, param_space=kept, samples=1, searcher=LATIN)

    return dataclasses.replace(sweep, arms=tuple(map(freed, sweep.arms)), fill=Fill(**given))


def with_training(sweep: Sweep, **fields: Any) -> Sweep:
    """The same sweep with other fields of its training, or of the settings of that.

    Raises:
        InvalidInput: a value that is not accepted.
    """
    own = {one.name for one in dataclasses.fields(sweep.training)}
    settings = {name: value for name, value in fields.items() if name not in own}
    trained = {name: value for name, value in fields.items() if name in own}
    if settings:
        trained["settings"] = dataclasses.replace(trained.get("settings", sweep.training.settings), **settings)
    return dataclasses.replace(sweep, training=dataclasses.replace(sweep.training, **trained))


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
