"""Reading what was typed for an option as a value of its type, or saying in plain words what is accepted."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from nasray.cli.option import Option
from nasray.errors import InvalidInput, shown
from nasray.settings import Choice, Range

_NONE = type(None)
_WORDS = {
    int: ("a whole number", "whole numbers", "N"),
    float: ("a number", "numbers", "X"),
    str: ("text", "texts", "TEXT"),
}

_CALLED = {"FILE": "a file", "DIR": "a folder", "RUN": "a name", "NAME": "a name"}
"""What stands for text in the help, in words."""


def read(option: Option, words: Sequence[str]) -> Any:
    """The value that was typed.

    Raises:
        InvalidInput: it is not of the option's type; names the option, what was typed, and what is accepted.
    """
    kinds = _kinds(option.type)
    if _NONE in kinds and [word.lower() for word in words] == ["none"]:
        return None
    several = next((kind for kind in kinds if get_origin(kind) is tuple), None)
    given = " ".join([option.flag, *words])[:120]
    try:
        if not words and option.default == ():  # none are there already: the values were forgotten
            raise ValueError
        if several is None:
            (word,) = words
            drawn = _drawn(word, option) if option.varies else None
            return _within(_one(word, kinds), option) if drawn is None else drawn
        inner, *rest = get_args(several)
        if rest and rest[0] is not Ellipsis and len(words) != 1 + len(rest):
            raise ValueError
        return tuple(_one(word, _kinds(inner)) for word in words)
    except InvalidInput as error:  # of a range or a choice
        raise InvalidInput(f"{given}: {error}") from None
    except ValueError:
        raise InvalidInput(f"{given}: expected {accepted(option)}{_close(words, kinds)}") from None


def takes_several(option: Option) -> bool:
    """Whether several values may follow."""
    return any(get_origin(kind) is tuple for kind in _kinds(option.type))


def choices(option: Option) -> list[str]:
    """The words between which an option's value is chosen, if it is."""
    kinds = _inner(_kinds(option.type))
    return [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]


def accepted(option: Option) -> str:
    """What an option takes, in words."""
    some = [kind for kind in _kinds(option.type) if kind is not _NONE]
    text = _CALLED.get(option.unit) or " or ".join(_described(kind) for kind in some)
    if option.low is not None:
        text += f" from {option.low:g}" + (f" to {option.high:g}" if option.high is not None else "")
    text += f" ({option.unit})" if option.unit == "M" else ""
    if option.varies:
        text += ", a range LOW:HIGH or LOW:HIGH:log" if {int, float} & set(some) else ""
        text += ", or choices A,B,C"
    return text + (", or none" if _NONE in _kinds(option.type) and option.default is None else "")


def stands_for(option: Option) -> str:
    """What stands for an option's value in the help."""
    kinds = [kind for kind in _kinds(option.type) if kind is not _NONE]
    inner = _kinds(get_args(kinds[0])[0]) if get_origin(kinds[0]) is tuple else kinds
    if option.unit:
        return option.unit
    literal = choices(option)
    words = [_WORDS[kind][2] for kind in inner if kind in _WORDS]
    return "|".join([*literal, *words]) or "VALUE"


def _kinds(hint: Any) -> list[Any]:
    """The types of which a value may be."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        return list(get_args(hint))
    return [hint]


def _inner(kinds: Sequence[Any]) -> list[Any]:
    """The types of one value, also where several are taken."""
    return [one for kind in kinds for one in (_kinds(get_args(kind)[0]) if get_origin(kind) is tuple else [kind])]


def _one(word: str, kinds: Sequence[Any]) -> Any:
    for kind in kinds:
        if get_origin(kind) is Literal and word in get_args(kind):
            return word
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(word)
            except ValueError:
                continue
    if bool in kinds and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if str in kinds:
        return word
    raise ValueError(word)


def _drawn(word: str, option: Option) -> Range | Choice | None:
    """What an option is to be drawn from; None where one value was typed.

    Raises:
        ValueError: it is no range or choice of accepted values.
    """
    kinds = _kinds(option.type)
    if "," in word:
        return Choice(tuple(_within(_one(part, kinds), option) for part in word.split(",")))
    if ":" not in word or not {int, float} & set(kinds):
        return None
    low, high, *scale = word.split(":")
    if scale not in ([], ["log"]):
        raise ValueError(word)
    ends = [_within(_one(end, kinds), option) for end in (low, high)]
    return Range(low=ends[0], high=ends[1], log=bool(scale), integer=float not in kinds)


def _within(value: Any, option: Option) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        above = option.low is not None and not value >= option.low
        if above or (option.high is not None and not value <= option.high):
            raise ValueError(value)
    return value


def _described(kind: Any) -> str:
    if kind is _NONE:
        return "none"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}" if len(get_args(kind)) > 1 else str(get_args(kind)[0])
    if get_origin(kind) is tuple:
        inner, *rest = get_args(kind)
        if get_origin(inner) is Literal:
            return f"any of {', '.join(get_args(inner))}"
        many = _WORDS[inner][1]
        return many if rest == [Ellipsis] else f"{1 + len(rest)} {many}"
    return _WORDS[kind][0] if kind in _WORDS else "true or false" if kind is bool else shown(kind)


def _close(words: Sequence[str], kinds: Sequence[Any]) -> str:
    known = [str(one) for kind in _inner(kinds) if get_origin(kind) is Literal for one in get_args(kind)]
    close = [match for word in words for match in difflib.get_close_matches(word, known, n=1)]
    return f". Did you mean {close[0]}?" if close else ""
