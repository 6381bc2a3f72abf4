"""What is typed for an option becomes a value of its type, and is typed back as the same words."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.cli.option import Option
from nasray.cli.values import read
from nasray.errors import InvalidInput
from nasray.settings import typed

Kind = Literal["auto", "cpu"]


def option(kind: Any) -> Option:
    return Option(name="x", type=kind, help="")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_to_the_bit(value: float) -> None:
    assert read(option(float), typed(value)) == value


@given(st.lists(st.integers()).map(tuple))
def test_so_do_several(values: tuple[int, ...]) -> None:
    assert read(option(tuple[int, ...]), typed(values)) == values


@given(st.text())
def test_so_does_any_text(text: str) -> None:
    assert read(option(str), typed(text)) == text


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        (float | None, ["none"], None),
        (tuple[float, float] | None, ["1", "0.1"], (1.0, 0.1)),
        (tuple[float, float] | None, ["none"], None),
        (float | Kind, ["auto"], "auto"),
        (float | Kind, ["0.5"], 0.5),
        (int, ["3"], 3),
        (str | None, ["3"], "3"),
        (tuple[Kind, ...], ["cpu", "auto"], ("cpu", "auto")),
        (tuple[str, ...], [], ()),
    ],
)
def test_values(kind: Any, words: list[str], value: Any) -> None:
    found = read(option(kind), words)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(int, ["1.5"]), (int, ["none"]), (float, ["x"]), (Kind, ["gpu"]), (tuple[float, float], ["1"]), (int, [""])],
)
def test_what_is_no_value_is_refused(kind: Any, words: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"^--x .*: expected "):
        read(option(kind), words)
