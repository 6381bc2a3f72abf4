"""What was typed after a verb, taken apart: names first, then fields with values, whose errors are one line."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
from typing import Any, TypeVar

import tyro

from nasray.errors import InvalidInput

T = TypeVar("T")

UNNESTED = ("settings", "more_settings", "execution")
"""Fields that hold fields, whose names are typed without theirs before them."""


def leading(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first --FIELD, and the rest."""
    count = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    return arguments[:count], arguments[count:]


def positional(arguments: list[str], *names: str, example: str) -> tuple[list[str], list[str]]:
    """What stands for each of the names, and the rest.

    Raises:
        InvalidInput: another number of things stands there.
    """
    given, rest = leading(arguments)
    if len(given) != len(names):
        said = f"{' '.join(given)}: expected {' '.join(names)}" if given else f"{' '.join(names)} missing: give it"
        raise InvalidInput(f"{said}, then --FIELD VALUE, as in {example}")
    return given, rest


def taken(arguments: list[str], flag: str) -> tuple[str | None, list[str]]:
    """The value typed for a flag that is no field, and the other arguments."""
    value = value_of(arguments, flag.lstrip("-"))
    if value is None:
        return None, arguments
    at = next(i for i, a in enumerate(arguments) if a.partition("=")[0] == flag)
    return value, arguments[:at] + arguments[at + (1 if "=" in arguments[at] else 2) :]


def value_of(arguments: list[str], name: str) -> str | None:
    """The value typed for a field, if it was typed."""
    for i, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag.replace("_", "-") == f"--{name.replace('_', '-')}":
            return value if equals else (arguments[i + 1] if i + 1 < len(arguments) else "")
    return None


def is_typed(arguments: list[str], name: str) -> bool:
    """Whether a field was typed, as --FIELD or, of one that is true or false, as --no-FIELD."""
    flags = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    flag = name.replace("_", "-")
    return f"--{flag}" in flags or f"--no-{flag}" in flags


def parse(cls: type[T], arguments: list[str], prog: str, default: T) -> T:
    """Fields from --FIELD VALUE by tyro; what it says of an error becomes one line.

    Raises:
        InvalidInput: there is no such field, or its value is not accepted.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(cls, args=arguments, prog=prog, default=default)
    except SystemExit as stopped:
        if stopped.code in (0, None):  # --help
            raise
    text = [line.strip("│╭╮╰╯ ") for line in said.getvalue().splitlines()]
    # The first paragraph of tyro's box says what is wrong; a rule separates it from help on the field.
    rule = next((i for i, line in enumerate(text[1:], 1) if line and set(line) <= {"─"}), len(text))
    reason = " ".join(line for line in text[1:rule] if line)
    unknown = reason.partition("Unrecognized options: ")[2].split(",")[0]
    if unknown:
        names = _field_names(default)
        close = difflib.get_close_matches(unknown.lstrip("-").replace("-", "_"), names, n=1)
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in names if "." not in name)
        hint = (
            f"did you mean --{close[0].replace('_', '-')}? {prog} --help lists them"
            if close
            else f"expected one of {flags}"
        )
        raise InvalidInput(f"unknown field {unknown}: {hint}")
    reason = reason.partition(" Got errors:")[0].removesuffix(".")
    accepted = next((line for line in text[rule:] if line.startswith("--")), "")
    raise InvalidInput(f"{reason}; expected {accepted}" if accepted else reason)


def _field_names(default: Any) -> list[str]:
    names = []
    for one in dataclasses.fields(default):
        value = getattr(default, one.name)
        if dataclasses.is_dataclass(value):
            before = "" if one.name in UNNESTED else f"{one.name}."
            names += [before + inner for inner in _field_names(value)]
        else:
            names.append(one.name)
    return names
