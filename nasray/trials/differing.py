"""In what two runs differ, in the words of those who typed them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nasray.errors import printable, shown
from nasray.trials.identity import DIGESTS

_MOST = 5
"""Differences that are told, at most."""
_NOTHING = "nothing"


def differing_in(mine: Mapping[str, Any], theirs: Mapping[str, Any], whose: str = "the run") -> list[str]:
    """In what two identities differ: names of options, with the value of the run and that of this command; or whose
    content.

    Args:
        mine: identity of what is to run.
        theirs: identity that the run has.
        whose: who has it, in words.
    """
    mine = json.loads(json.dumps(mine))
    own, others = _named(mine), _named(theirs)
    found = []
    for name in [*others, *(name for name in own if name not in others)]:
        before, now = others.get(name, _NOTHING), own.get(name, _NOTHING)
        if before == now:
            continue
        of_content = name.startswith("the ")
        found.append(name if of_content else f"{printable(name)} ({whose} has {before}, this command {now})")
    if not found and mine != theirs:  # whatever has no words here
        found.append("what no option says")
    return found[:_MOST] + ([f"{len(found) - _MOST} more"] if len(found) > _MOST else [])


def _named(identity: Mapping[str, Any]) -> dict[str, str]:
    """What an identity holds, by the names of options, in words."""
    values = dict(identity)
    digests = values.pop(DIGESTS, {})
    arms = values.pop("arms", [])
    found: dict[str, str] = {}
    if arms:
        found["arms"] = ", ".join(f"{_of(arm, 'method')} on {_of(arm, 'space')}" for arm in arms)
    for arm in arms if isinstance(arms, list) else []:
        _add_arm(found, arm, several=len(arms) > 1)
    for name, value in values.items():
        if name == "settings" and isinstance(value, dict):
            found |= {inner: _in_words(one) for inner, one in value.items()}
        elif name == "training" and isinstance(value, dict):
            flat = {**value, **(value.get("settings") or {})}
            found |= {f"training.{inner}": _in_words(one) for inner, one in flat.items() if inner != "settings"}
        elif name == "budget" and isinstance(value, dict):
            found[name] = _in_words(value.get("macs"))
        elif name == "architecture":  # of a training: its whole JSON is no name
            found["the architecture"] = str(value)
        else:
            found[name] = _in_words(value)
    if isinstance(digests, dict):
        for name, digest in digests.items():
            found["the dataset's content" if name == "data" else f"the code of {name}"] = str(digest)
    return found


def _add_arm(found: dict[str, str], arm: Any, *, several: bool) -> None:
    """What an arm searches with: its settings, and what it varies in their place."""
    if not isinstance(arm, dict):
        return
    told = ("method", "space", "settings", "param_space", "samples")
    values = {name: value for name, value in arm.items() if name not in told}
    values |= {**(arm.get("settings") or {}), **(arm.get("param_space") or {}), "draws": arm.get("samples", 1)}
    for name, value in values.items():
        found[f"{name} of {_of(arm, 'method')} on {_of(arm, 'space')}" if several else str(name)] = _in_words(value)


def _condition(value: Mapping[str, Any]) -> str:
    when = value.get("when")
    return "" if not when else f" when {_in_words(when[0])} is {_in_words(when[1])}"


def _of(arm: Any, name: str) -> str:
    return printable(arm.get(name) if isinstance(arm, dict) else arm)


def _in_words(value: Any) -> str:
    if isinstance(value, dict) and {"low", "high"} <= value.keys():
        kind = "".join(f", {word}" for name, word in (("log", "logarithmic"), ("integer", "whole")) if value.get(name))
        return f"{_in_words(value['low'])} to {_in_words(value['high'])}{kind}{_condition(value)}"
    if isinstance(value, dict) and "values" in value:
        return f"one of {_in_words(value['values'])}{_condition(value)}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_in_words, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return printable(value) if isinstance(value, str | int | float) else shown(value)
