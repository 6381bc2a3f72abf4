"""A sweep with options: what the command line and ``nasray.sweep`` take by name, in the place of the sweep's own."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nasray.costs import Budget
from nasray.errors import InvalidInput, shown
from nasray.settings import TRAINED, Choice, Range
from nasray.sweeps.changes import (
    with_execution,
    with_fill,
    with_method,
    with_samples,
    with_searcher,
    with_settings,
    with_space,
    with_training,
)
from nasray.sweeps.sweep import Sweep
from nasray.sweeps.training import Training
from nasray.trials.accuracy_source import AccuracySource
from nasray.trials.evaluation import EvaluationSettings
from nasray.tune.execution import Execution

SEARCH_RUNGS = ("search_rungs", "search_reduction_factor")
"""Fields of a sweep that say which searches are stopped early."""
OWN = (
    "name",
    "dataset",
    "seeds",
    "objectives",
    "reference",
    "worth",
    "worth_by",
    "learn_from",
    "random_baseline",
    *SEARCH_RUNGS,
)
"""Fields of a sweep that are options as they are."""
ARMS = ("preset", "method", "space", "draws", "searcher")
"""Options that change arms: which there are, on which space, with how many values of ranges, and who chooses them."""
TABLE = "table_"
"""Before the fields of a table, which is itself given by its path."""
FILL = ("fill", "fill_at", "fill_tolerance", "fill_searches")
"""Options that say near which multiply-adds candidates are wanted."""
OF_TABLE = tuple(one.name for one in fields(AccuracySource) if one.name != "path")
EXECUTION = tuple(one.name for one in fields(Execution))
TRAINING = tuple(one.name for cls in (Training, EvaluationSettings) for one in fields(cls) if one.name != "settings")
_FIXED = {*OWN, *ARMS, *FILL, *EXECUTION, "budget", "table", *(f"{TABLE}{name}" for name in OF_TABLE)}


def settings_of(sweep: Sweep) -> dict[str, list[str]]:
    """The settings that are options: each with the methods that have it, the first arm's first. A setting that is
    called as another option is none."""
    found: dict[str, list[str]] = {}
    for arm in sweep.arms:
        for one in fields(arm.settings):
            if one.name not in _FIXED:
                methods = found.setdefault(one.name, [])
                if arm.method not in methods:
                    methods.append(arm.method)
    return found


def with_options(sweep: Sweep, values: Mapping[str, Any]) -> Sweep:
    """The same sweep with options.

    Args:
        sweep: whose values hold where nothing is given.
        values: by name: fields of the sweep (``name``, ``dataset``, ``seeds``, ``objectives``, ``reference``,
            ``search_rungs``, ``random_baseline``, ...), ``budget`` (M), ``table`` (a path) and ``table_columns``, ...,
            fields of its execution (``storage``, ``address``, ...), of its training as ``training.NAME``, ``preset``,
            ``method``, ``space``, ``draws`` and ``searcher``; and settings of its arms (``epochs``, ``lambda0``, ...).
            A setting is fixed in every arm that has it: there it is no longer varied; or it is drawn from a range or
            choice that is given.

    Raises:
        InvalidInput: an option that the sweep does not have, or a value that it does not accept.
    """
    given = _flat(values)
    if given.get("preset") is not None:
        sweep = _preset(sweep, given["preset"])
    if "search_rungs" in given:  # they may only fit the epochs that are given too
        sweep = dataclasses.replace(sweep, search_rungs=())
    if given.get("method") is not None:
        sweep = with_method(sweep, given["method"])
    settings = settings_of(sweep)
    _check_known(sweep, given, settings)
    if given.get("space") is not None:
        sweep = with_space(sweep, given["space"])
    trained = {
        name.removeprefix(TRAINED): value
        for name, value in given.items()
        if name.startswith(TRAINED) and not isinstance(value, Range | Choice)
    }
    fixed = {name: value for name, value in given.items() if name in settings or name.startswith(TRAINED)}
    if fixed:
        sweep = with_settings(sweep, fixed)
    if trained:
        sweep = with_training(sweep, **trained)
    if given.get("draws") is not None:
        sweep = with_samples(sweep, given["draws"])
    if given.get("searcher") is not None:
        sweep = with_searcher(sweep, given["searcher"], given.get("draws"))
    filled = {name: given[name] for name in FILL if given.get(name) is not None}
    if filled:
        sweep = with_fill(sweep, filled)
    execution = {name: value for name, value in given.items() if name in EXECUTION}
    if execution:
        sweep = with_execution(sweep, **execution)
    changed = {name: value for name, value in given.items() if name in OWN}
    if "budget" in given:
        budget = given["budget"]
        changed["budget"] = budget if budget is None or isinstance(budget, Budget) else Budget(budget)
    if any(name == "table" or name.startswith(TABLE) for name in given):
        changed["table"] = _table(sweep, given)
    return dataclasses.replace(sweep, **changed) if changed else sweep


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their names; those of the training may be a mapping of their own."""
    given = dict(values)
    training = given.pop("training", None)
    if isinstance(training, Mapping):
        given |= {f"{TRAINED}{name}": value for name, value in training.items()}
    elif training is not None:
        raise InvalidInput(f"training {shown(training)}: expected its fields by name, as in training=dict(epochs=10)")
    return given


def _preset(sweep: Sweep, preset: str) -> Sweep:
    if preset not in sweep.presets:
        instead = f"expected {' or '.join(sweep.presets)}" if sweep.presets else "it has none. Leave it out"
        raise InvalidInput(f"preset {shown(preset)} of sweep {sweep.name}: {instead}")
    return sweep.presets[preset]


def _check_known(sweep: Sweep, given: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    known = {*_FIXED, *settings, *(f"{TRAINED}{name}" for name in TRAINING)}
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, {*known, "minutes", "image_size"}, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"nasray sweep {sweep.name} --help-all lists all."
            raise InvalidInput(f"Unknown option {shown(name)} of sweep {sweep.name}. {hint}")


def _table(sweep: Sweep, given: Mapping[str, Any]) -> AccuracySource | None:
    described = {name: given[f"{TABLE}{name}"] for name in OF_TABLE if f"{TABLE}{name}" in given}
    own = None if sweep.table is None else sweep.table.path
    path = given.get("table", own)
    if isinstance(path, AccuracySource):
        return dataclasses.replace(path, **described)
    if path is None:
        if described:
            flags = ", ".join(f"--table-{name.replace('_', '-')}" for name in described)
            raise InvalidInput(f"{flags} without a table: give it too, as --table FILE")
        return None
    before = sweep.table or AccuracySource(path="none")
    return dataclasses.replace(before, path=path, **described)
