"""The size that a dataset's name asks for: ``folder:PATH?size=HxW``, ``torchvision:NAME?size=HxW``."""

from __future__ import annotations

from urllib.parse import parse_qsl

from nasray import registry
from nasray.errors import InvalidInput

HeightWidth = tuple[int, int]
"""Pixels."""
MOST_PIXELS = 4096
"""A side, which no network of this package is for: more is taken for a slip."""


def parse_size(text: str) -> HeightWidth:
    """Height and width of ``HxW``; one number is both.

    Raises:
        InvalidInput: it is no such text, or a side has no pixel or more than 4,096.
    """
    sides = text.lower().split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isascii() and side.isdecimal() for side in sides):
        raise InvalidInput(f"image size {text!r}: expected HEIGHTxWIDTH, as in 32x32")
    height, width = int(sides[0]), int(sides[-1])
    if not (1 <= height <= MOST_PIXELS and 1 <= width <= MOST_PIXELS):
        raise InvalidInput(f"image size {text!r}: expected sides of 1 to {MOST_PIXELS} pixels")
    return height, width


def split_size(argument: str) -> tuple[str, HeightWidth | None]:
    """A name and the size that it asks for, if any.

    Raises:
        InvalidInput: what follows the question mark is no size.
    """
    text, mark, query = argument.partition("?")
    if not mark:
        return text, None
    match parse_qsl(query, keep_blank_values=True):
        case [("size", value)]:
            return text, parse_size(value)
    raise InvalidInput(f"dataset {argument!r}: expected ?size=HEIGHTxWIDTH after its name, as in {text}?size=32x32")


def with_size(dataset: str, size: str) -> str:
    """A dataset's name that asks for a size, in place of the one that it asked for.

    Raises:
        InvalidInput: the size is none, or datasets of this name have one size.
    """
    height, width = parse_size(size)
    if registry.source_of("dataset", dataset) is None:
        raise InvalidInput(
            f"image size {size!r}: dataset {dataset!r} has one size. Give it with one that a source makes, such as "
            "folder:PATH or torchvision:NAME."
        )
    return f"{dataset.partition('?')[0]}?size={height}x{width}"
