"""What can be typed of a sweep: what it varies first, and every default as the sweep has it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from nasray import registry
from nasray.cli.option import NOTHING, Option, documented, options_of_fields
from nasray.settings import HYPERPARAMETERS, TRAINED, Choice, Range, typed
from nasray.sweeps import AccuracySource, Arm, Execution, Sweep
from nasray.sweeps.changes import with_method
from nasray.sweeps.fill import Fill
from nasray.sweeps.fitting import find_sweep
from nasray.sweeps.options import OF_TABLE, OWN, SEARCH_RUNGS, TABLE, settings_of, with_options

VARIED, RUN, SEARCH, TRAIN = (
    "what this sweep varies (a value replaces it; LOW:HIGH, LOW:HIGH:log or A,B,C is drawn from)",
    "run",
    "search",
    "training from scratch",
)
FRONT, LOOK_UP, WHERE = "budget and front", "accuracies from a table, in place of training", "execution"

_OFTEN = {"epochs", "batch_size", "learning_rate", "channels", "cells", "train_examples", "evaluations"}
"""Settings that are shown whether a sweep sets them or not."""
_OFTEN_TRAINED = {*_OFTEN, "select", "seeds", "rungs"} - {"evaluations"}
_FILL: tuple[tuple[str, str, Any, str], ...] = (
    ("fill_at", "at", tuple[float, ...], "M"),
    ("fill", "count", int | None, ""),
    ("fill_tolerance", "tolerance", float, ""),
    ("fill_searches", "searches", int, ""),
)
"""Options that fill a front: name, field of :class:`Fill`, type and unit."""
_RARE = {
    "learn_from",
    "tolerance",
    "searches",
    "worth",
    "worth_by",
    "random_baseline",
    "objectives",
    "reference",
    "max_failures",
    "within",
    "reduction_factor",
    "search_reduction_factor",
}


def selected(name: str, preset: str | None = None, method: str | None = None) -> Sweep:
    """The sweep whose settings are options.

    Raises:
        InvalidInput: there is no such sweep, preset or method.
    """
    found = find_sweep(name)
    sweep = with_options(found, {"preset": preset}) if isinstance(found, Sweep) else found.like
    return sweep if method is None else with_method(sweep, method)


def options_of_sweep(sweep: Sweep | None, own: Sequence[Option]) -> list[Option]:
    """All that can be typed of a sweep, group by group.

    Args:
        sweep: whose values are the defaults; None is any sweep, whose settings are not known yet.
        own: options of the verb that change arms.
    """
    search = [] if sweep is None else list(_settings(sweep))
    trained = [] if sweep is None else list(_training(sweep))
    varied = [one for one in [*search, *trained] if one.group == VARIED]
    rest = [one for one in [*search, *trained] if one.group != VARIED]
    own = [one for one in own if one.name != "preset" or sweep is None or sweep.presets]
    return [*varied, *_run(sweep), *own, *rest, *_front(sweep), *_table(sweep), *_execution(sweep)]


def by_rules(name: str, options: Sequence[Option]) -> list[Option]:
    """Options of a sweep, of whose defaults those are named, and not said, that follow from its data."""
    found = find_sweep(name)
    if isinstance(found, Sweep):
        return list(options)
    without = {"dataset": NOTHING}
    return [
        dataclasses.replace(one, shown_default="by a rule; docs/own_images.md")
        if one.name.removeprefix(TRAINED) in found.ruled
        else dataclasses.replace(one, default=without.get(one.name, one.default))
        for one in options
    ]


def _settings(sweep: Sweep) -> Iterator[Option]:
    several = len({arm.method for arm in sweep.arms}) > 1
    for name, methods in settings_of(sweep.arms).items():
        arms = [arm for arm in sweep.arms if any(one.name == name for one in dataclasses.fields(arm.settings))]
        config: Any = type(arms[0].settings)
        declared = next(one for one in dataclasses.fields(config) if one.name == name)
        values = [getattr(arm.settings, name) for arm in arms]
        text = documented(config).get(name) or f"{name.replace('_', ' ').capitalize()}."
        if several and len(methods) <= 2:
            text = f"{text.rstrip('.')} ({', '.join(map(registry.portable, methods))})."
        varied = [arm for arm in arms if name in arm.param_space]
        default = None
        if varied:
            default = _values_of(name, varied)
        elif len(set(map(repr, values))) > 1:
            default = f"{len(set(map(repr, values)))} values, by method"
        set_by_sweep = not several and any(value != declared.default for value in values)
        yield Option(
            name=name,
            type=typing.get_type_hints(config)[name],
            help=text,
            default=values[0],
            shown_default=default,
            group=VARIED if varied else SEARCH,
            unit=declared.metadata.get("unit", ""),
            low=declared.metadata.get("low"),
            high=declared.metadata.get("high"),
            varies=True,
            rare=not (varied or "knob" in declared.metadata or name in _OFTEN or set_by_sweep),
        )


def _values_of(name: str, arms: Sequence[Arm]) -> str:
    """What arms vary a setting over, in words; by method, where several do."""
    if len({arm.method for arm in arms}) > 1:
        return "; ".join(f"{registry.portable(arm.method)}: {_spoken(arm.param_space[name])}" for arm in arms)
    return "; ".join(dict.fromkeys(_spoken(arm.param_space[name]) for arm in arms))


def _training(sweep: Sweep) -> Iterator[Option]:
    training = sweep.training
    own = options_of_fields(training, group=TRAIN, prefix=TRAINED, without=("settings",), rare=True)
    settings = options_of_fields(training.settings, group=TRAIN, prefix=TRAINED, rare=True)
    for one in [*own, *settings]:
        name = one.name.removeprefix(TRAINED)
        one = dataclasses.replace(one, varies=name in HYPERPARAMETERS)
        if name in sweep.varied_training:
            spaces = [arm.param_space[one.name] for arm in sweep.arms if one.name in arm.param_space]
            told = "; ".join(dict.fromkeys(map(_spoken, spaces)))
            yield dataclasses.replace(one, group=VARIED, shown_default=told, rare=False)
        else:
            yield dataclasses.replace(one, rare=one.rare and name not in _OFTEN_TRAINED)


def _spoken(values: Any) -> str:
    if isinstance(values, Range):
        scale = ", logarithmic" if values.log else ""
        return f"{values.low:g} to {values.high:g}{scale}"
    values = values.values if isinstance(values, Choice) else values
    return ", ".join(word for value in values for word in typed(value))


def _run(sweep: Sweep | None) -> Iterator[Option]:
    for name in ("name", "dataset", "seeds"):
        one = _field(Sweep, sweep, name, RUN)
        if name == "dataset":
            one = dataclasses.replace(one, called="data", also=("dataset",), unit="NAME")
        if name == "name":
            one = dataclasses.replace(
                one, help="Name of the run. The same sweep under one name resumes it.", unit="RUN"
            )
        yield one


def _front(sweep: Sweep | None) -> Iterator[Option]:
    budget = _field(Sweep, sweep, "budget", FRONT)
    yield dataclasses.replace(budget, type=float | None, default=None if sweep is None else sweep.most_macs, unit="M")
    fill = None if sweep is None else sweep.fill
    for name, of, kind, unit in _FILL:
        declared = next(one for one in dataclasses.fields(Fill) if one.name == of)
        default = declared.default if fill is None else getattr(fill, of)
        yield Option(
            name=name, type=kind, help=documented(Fill)[of], default=default, group=FRONT, unit=unit, rare=of in _RARE
        )
    for name in OWN:
        if name not in ("name", "dataset", "seeds"):
            one = _field(Sweep, sweep, name, SEARCH if name in SEARCH_RUNGS else FRONT)
            unit = {"reference": "M FRACTION", "learn_from": "RUN"}.get(name, "")
            without = name in SEARCH_RUNGS and (sweep is None or not sweep.search_arms)
            rare = without or (name in _RARE and not _black_box(sweep, name))
            yield dataclasses.replace(one, unit=unit, rare=rare)


def _black_box(sweep: Sweep | None, name: str) -> bool:
    return name == "objectives" and sweep is not None and bool(sweep.black_box_arms)


def _table(sweep: Sweep | None) -> Iterator[Option]:
    source = None if sweep is None else sweep.table
    is_black_box = sweep is not None and bool(sweep.black_box_arms)
    path = _field(AccuracySource, source, "path", LOOK_UP)
    text = "File or folder of a table of accuracies, looked up in place of training."
    yield dataclasses.replace(path, name="table", type=str | None, help=text, unit="FILE", rare=not is_black_box)
    for name in OF_TABLE:
        one = _field(AccuracySource, source or AccuracySource(path="none"), name, LOOK_UP)
        yield dataclasses.replace(
            one, name=f"{TABLE}{name}", rare=not is_black_box or name in ("input_shape", "classes")
        )


def _execution(sweep: Sweep | None) -> Iterator[Option]:
    execution = Execution() if sweep is None else sweep.execution
    for one in options_of_fields(execution, group=WHERE):
        yield dataclasses.replace(one, rare=one.name in _RARE)


def _field(cls: type, value: Any, name: str, group: str) -> Option:
    declared = next(one for one in dataclasses.fields(cls) if one.name == name)
    default = NOTHING if declared.default is dataclasses.MISSING else declared.default
    return Option(
        name=name,
        type=typing.get_type_hints(cls)[name],
        help=documented(cls)[name],
        default=default if value is None else getattr(value, name),
        group=group,
    )
