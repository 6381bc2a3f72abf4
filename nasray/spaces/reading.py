"""An architecture of a space in any form in which the field writes one."""

from __future__ import annotations

import ast
import re
from typing import Any

from nasray.errors import InvalidInput, shown
from nasray.spaces.architecture import Architecture
from nasray.spaces.genotype import from_genotype, parse_architecture
from nasray.spaces.space import CellSpace
from nasray.spaces.strings import from_string, has_strings, string_form

_PRINTED = re.compile(r"\s*(?:\w+\s*=\s*)?Genotype\s*\(")


def read_architecture(space: CellSpace, text: str) -> Architecture:
    """An architecture of a space.

    Args:
        space: of the architecture.
        text: name of a published one; JSON, nasray's own or of a genotype; a genotype as the DARTS code prints it,
            ``Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), ...)``; or the string of
            NAS-Bench-201.

    Raises:
        InvalidInput: it is none of these, or of another space.
    """
    if text in space.references:
        return from_genotype(space, space.references[text].genotype)
    if text.lstrip().startswith("{"):
        return parse_architecture(space, text)
    if text.lstrip().startswith("|"):
        return from_string(space, text)
    if _PRINTED.match(text):
        return from_genotype(space, _printed(text))
    raise InvalidInput(f"architecture {shown(text)}: expected {', '.join([*known_forms(space), 'or JSON'])}")


def architecture_of_value(space: CellSpace, architecture: Any) -> Architecture:
    """An architecture of a space, however a caller has it: itself, a row of a table (a mapping or a series), or what
    :func:`read_architecture` reads.

    Raises:
        InvalidInput: a row without an architecture, or none of the space.
    """
    if isinstance(architecture, Architecture):
        return architecture
    text = architecture if isinstance(architecture, str) else dict(architecture).get("architecture")
    if not isinstance(text, str):
        raise InvalidInput("This row has no architecture: give a row of candidates, evaluations or a front.")
    return read_architecture(space, text)


def known_forms(space: CellSpace) -> list[str]:
    """What may be typed for an architecture of a space, beside JSON: names of published ones, the form of strings."""
    return [*space.references, *([string_form(space)] if has_strings(space) else [])]


def _printed(text: str) -> dict[str, Any]:
    """The fields of a printed genotype: read as data, never evaluated."""
    try:
        statements = ast.parse(text.strip()).body
        (statement,) = statements
        call = statement.value  # type: ignore[attr-defined]
        return {field.arg: _literal(field.value) for field in call.keywords}
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
        raise InvalidInput(
            f"genotype {shown(text)}: expected Genotype(normal=[(operation, source), ...], ...)"
        ) from None


def _literal(value: ast.expr) -> Any:
    """Lists, tuples, texts and numbers, and a range of numbers as a list."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "range":
        numbers = [ast.literal_eval(one) for one in value.args]
        if not all(isinstance(one, int) and abs(one) < 1000 for one in numbers):
            raise ValueError("a range of no nodes")
        return list(range(*numbers))
    return ast.literal_eval(value)
