"""The command that repeats a run: what a sweep was made of, and all that was resolved since."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.settings import TRAINED, Choice, Range, as_words
from nasray.sweeps.fitting import find_sweep, fitted_as
from nasray.sweeps.options import ARMS, EXECUTION, OF_TABLE, OWN, TABLE, settings_of, with_options
from nasray.sweeps.points import drawn_of
from nasray.sweeps.sweep import Sweep

_ELSEWHERE = ("storage", "address")
"""Of an execution: where the run lies and what computes it, which a repetition chooses for itself."""
MADE_IN_PYTHON = "the sweep was made in Python: repeat it from there"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a sweep was made of."""

    name: str
    """Of a registered sweep, or FILE.py:NAME."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """That were given, as of :func:`nasray.sweeps.options.with_options`."""


def command_of(sweep: Sweep, source: Source | None) -> dict[str, Any]:
    """The command that repeats a sweep, as run.json has it: ``command``, a list of words; or None, and why.

    It holds all that differs from the sweep that it names, so that nothing is resolved or measured again.
    """
    if source is None:
        return {"command": None, "why_no_command": MADE_IN_PYTHON}
    names = [sweep.dataset, *(name for arm in sweep.arms for name in (arm.method, arm.space))]
    if registry.values_of(names):
        return {"command": None, "why_no_command": "it was made of values of Python: repeat it from there"}
    found = find_sweep(source.name)
    base, values = (found, {}) if isinstance(found, Sweep) else fitted_as(found, sweep)
    values |= {
        name: value
        for name, value in source.options.items()
        if (name in ARMS or isinstance(value, Range | Choice)) and value is not None
    }
    # What is drawn, and by whom, may be accepted beside these only.
    values |= _fill(base, sweep) | ({} if sweep.worth_by == base.worth_by else {"worth_by": sweep.worth_by})
    try:
        values |= _different(with_options(base, values), sweep)
        again = with_options(base, values)
    except InvalidInput:
        again = None
    if again is None or _plain(again.identity()) != _plain(sweep.identity()):
        return {"command": None, "why_no_command": f"the sweep was changed in Python after {source.name} was taken"}
    words = ["nasray", "sweep", registry.absolute(source.name)]
    values = {"data" if name == "dataset" else name: value for name, value in values.items()}  # as it is typed
    return {"command": [*words, *(word for name, value in values.items() for word in as_words(name, value))]}


def _plain(values: Any) -> Any:
    return json.loads(json.dumps(values))


def _different(before: Sweep, after: Sweep) -> dict[str, Any]:
    """The options that make one sweep another, as far as options can."""
    found = {name: getattr(after, name) for name in OWN if getattr(after, name) != getattr(before, name)}
    if after.most_macs != before.most_macs:
        found["budget"] = after.most_macs
    found |= _fill(before, after)
    found |= _settings(before, after)
    for name in (one.name for one in dataclasses.fields(after.training) if one.name != "settings"):
        if getattr(after.training, name) != getattr(before.training, name):
            found[f"{TRAINED}{name}"] = getattr(after.training, name)
    for one in dataclasses.fields(after.training.settings):
        name, value = f"{TRAINED}{one.name}", getattr(after.training.settings, one.name)
        freed = one.name in before.varied_training and one.name not in after.varied_training
        if freed or value != getattr(before.training.settings, one.name):
            found[name] = value
    for name in EXECUTION:
        if name not in _ELSEWHERE and getattr(after.execution, name) != getattr(before.execution, name):
            value = getattr(after.execution, name)
            found[name] = registry.absolute_path(value) if name == "data_root" else value
    return found | _table(before, after)


def _settings(before: Sweep, after: Sweep) -> dict[str, Any]:
    """Settings that have one value in all arms, and had another somewhere, or were varied."""
    if len(before.arms) != len(after.arms):
        return {}
    found = {}
    for name in settings_of(after.arms):
        pairs = [(old, new) for old, new in zip(before.arms, after.arms, strict=True) if hasattr(new.settings, name)]
        values = [getattr(new.settings, name) for _, new in pairs]
        changed = any(
            getattr(old.settings, name, None) != getattr(new.settings, name)
            or (name in old.param_space and name not in new.param_space)
            for old, new in pairs
        )
        if changed and all(value == values[0] for value in values):
            found[name] = values[0]
    return found | _drawn(before, after)


def _drawn(before: Sweep, after: Sweep) -> dict[str, Any]:
    """Ranges and choices that one sweep draws from, and the other does not."""
    spaces = [drawn_of(arm.param_space) for arm in after.arms]
    old = [drawn_of(arm.param_space) for arm in before.arms]
    found: dict[str, Any] = {}
    for space, other in zip(spaces, old, strict=True):
        found |= {name: one for name, one in space.items() if other.get(name) != one}
    return found


def _fill(before: Sweep, after: Sweep) -> dict[str, Any]:
    if after.fill is None or after.fill == before.fill:
        return {}
    own = after.fill
    targets: dict[str, Any] = {"fill": own.count} if own.count is not None else {"fill_at": own.at}
    return {**targets, "fill_tolerance": own.tolerance, "fill_searches": own.searches}


def _table(before: Sweep, after: Sweep) -> dict[str, Any]:
    if after.table == before.table:
        return {}
    if after.table is None:
        return {"table": None}
    found: dict[str, Any] = {"table": after.table.path}
    for name in OF_TABLE:
        old = None if before.table is None else getattr(before.table, name)
        if getattr(after.table, name) not in (old, (), None):
            found[f"{TABLE}{name}"] = getattr(after.table, name)
    return found
