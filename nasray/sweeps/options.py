"""A sweep with options: what the command line and ``nasray.sweep`` take by name, in the place of the sweep's own."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from nasray.costs import Budget
from nasray.errors import InvalidInput, shown
from nasray.settings import TRAINED, Choice, Range
from nasray.sweeps.arm import Arm
from nasray.sweeps.changes import chosen_by, drawing, filled, of_method, on_space, trained_by, varying
from nasray.sweeps.fill import FILL, check_free, fill_of
from nasray.sweeps.sweep import Sweep
from nasray.sweeps.training import Training
from nasray.trials.accuracy_source import AccuracySource
from nasray.trials.evaluation import EvaluationSettings
from nasray.tune.execution import Execution

SEARCH_RUNGS = ("search_rungs", "search_reduction_factor")
"""Fields of a sweep that say which searches are stopped early."""
OWN = (
    *("name", "dataset", "seeds", "objectives", "reference", "worth", "worth_by", "learn_from", "random_baseline"),
    *SEARCH_RUNGS,
)
"""Fields of a sweep that are options as they are."""
ARMS = ("preset", "method", "space", "draws", "searcher")
"""Options that change arms: which there are, on which space, with how many values of ranges, and who chooses them."""
TABLE = "table_"
"""Before the fields of a table, which is itself given by its path."""
OF_TABLE = tuple(one.name for one in fields(AccuracySource) if one.name != "path")
EXECUTION = tuple(one.name for one in fields(Execution))
TRAINING = tuple(one.name for cls in (Training, EvaluationSettings) for one in fields(cls) if one.name != "settings")
_FIXED = {*OWN, *ARMS, *FILL, *EXECUTION, "budget", "table", *(f"{TABLE}{name}" for name in OF_TABLE)}


def settings_of(arms: Iterable[Arm]) -> dict[str, list[str]]:
    """The settings that are options: each with the methods that have it, the first arm's first. A setting that is
    called as another option is none."""
    found: dict[str, list[str]] = {}
    for arm in arms:
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
    arms = sweep.arms if given.get("method") is None else of_method(sweep.arms, given["method"])
    _check_known(sweep.name, given, settings_of(arms))
    fills = any(given.get(name) is not None for name in FILL)
    if fills:
        check_free(arms, given)
    # A sweep is made once, of all that is changed: some changes are accepted only beside others.
    changed = {name: value for name, value in given.items() if name in OWN}
    changed["arms"] = arms = _arms(arms, given)
    trained = {
        name.removeprefix(TRAINED): value
        for name, value in given.items()
        if name.startswith(TRAINED) and not isinstance(value, Range | Choice)
    }
    changed["training"] = trained_by(sweep.training, trained)
    if fills:
        changed |= {"fill": fill_of(sweep.fill, given), "arms": filled(arms)}
    execution = {name: value for name, value in given.items() if name in EXECUTION}
    changed["execution"] = dataclasses.replace(sweep.execution, **execution)
    if "budget" in given:
        budget = given["budget"]
        changed["budget"] = budget if budget is None or isinstance(budget, Budget) else Budget(budget)
    if any(name == "table" or name.startswith(TABLE) for name in given):
        changed["table"] = _table(sweep, given)
    return dataclasses.replace(sweep, **changed)


def _arms(arms: tuple[Arm, ...], given: Mapping[str, Any]) -> tuple[Arm, ...]:
    """Arms with the options that are theirs."""
    if given.get("space") is not None:
        arms = on_space(arms, given["space"])
    settings = settings_of(arms)
    arms = varying(arms, {n: value for n, value in given.items() if n in settings or n.startswith(TRAINED)})
    if given.get("draws") is not None:
        arms = drawing(arms, given["draws"])
    if given.get("searcher") is not None:
        arms = chosen_by(arms, given["searcher"])
        if given.get("draws") is None and any(arm.learns and arm.is_told and arm.samples == 1 for arm in arms):
            raise InvalidInput(f"searcher {given['searcher']} with one search: give more, as in --draws 16.")
    return arms


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


def _check_known(sweep: str, given: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    known = {*_FIXED, *settings, *(f"{TRAINED}{name}" for name in TRAINING)}
    for name in given:
        if name not in known:
            if name == "dry_run":
                raise InvalidInput(f"dry_run of sweep {sweep}: is of the command line alone, as nasray sweep --dry-run")
            close = difflib.get_close_matches(name, {*known, "minutes", "image_size"}, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"nasray sweep {sweep} --help-all lists all."
            raise InvalidInput(f"Unknown option {shown(name)} of sweep {sweep}. {hint}")


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
