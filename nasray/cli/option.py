"""What a verb takes: its words and options as values, made of a function's parameters or of a dataclass's fields."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_origin

NOTHING: Any = object()
"""The default of what has none."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option, ``--NAME VALUE``, ``--FLAG`` or ``--no-FLAG``; or a word that stands before all options."""

    name: str
    """As what takes it calls it: ``batch_size``, ``training.epochs``."""
    type: Any
    """Of its value."""
    help: str
    default: Any = NOTHING
    """What holds where it is not typed. It is shown, and never handed on: who does the work has it too."""
    shown_default: str | None = None
    """The default in words, where it is no value."""
    group: str = "options"
    unit: str = ""
    """Stands for the value in the help, as M for millions of multiply-adds."""
    low: float | None = None
    high: float | None = None
    """Smallest and largest value, both accepted."""
    rare: bool = False
    """Whether only ``--help-all`` shows it."""
    varies: bool = False
    """Whether it also takes what it is drawn from: a range ``LOW:HIGH`` or ``LOW:HIGH:log``, or choices ``A,B,C``."""
    also: tuple[str, ...] = ()
    """Other names of it."""
    called: str = ""
    """What is typed for it, where that is not its name."""
    word: str = ""
    """Of a word that is no option: what stands for it in the help."""

    @property
    def flag(self) -> str:
        """What is typed for it."""
        return self.word or f"--{(self.called or self.name).replace('_', '-')}"

    @property
    def is_flag(self) -> bool:
        """Whether it is typed without a value."""
        return self.type is bool


@dataclass(frozen=True, kw_only=True)
class Says:
    """What the annotation of a verb's parameter says beside its type."""

    help: str
    unit: str = ""
    group: str = "options"
    word: str = ""
    rare: bool = False
    shown_default: str | None = None


def options_of_function(function: Callable[..., Any]) -> list[Option]:
    """A verb's words (its positional parameters) and options (its keyword-only ones), each annotated with
    :class:`Says`."""
    hints = typing.get_type_hints(function, include_extras=True)
    return list(_of_parameters(function, hints))


def _of_parameters(function: Callable[..., Any], hints: Mapping[str, Any]) -> Iterator[Option]:
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        hint = hints[name]
        assert get_origin(hint) is Annotated, f"{function.__name__}({name}) says nothing"
        kind, says = get_args(hint)
        is_option = parameter.kind is parameter.KEYWORD_ONLY
        yield Option(
            name=name,
            type=kind,
            help=says.help,
            default=NOTHING if parameter.default is parameter.empty else parameter.default,
            shown_default=says.shown_default,
            group=says.group,
            unit=says.unit,
            rare=says.rare,
            word="" if is_option else says.word or name.upper(),
        )


def options_of_fields(
    value: Any, *, group: str, prefix: str = "", without: typing.Collection[str] = (), rare: bool = False
) -> list[Option]:
    """The fields of a dataclass, whose values are the defaults and whose docstrings are the help.

    Args:
        value: an instance.
        group: of the options.
        prefix: before their names.
        without: fields that are left out.
        rare: whether those are rare whose value is the class's own default.
    """
    cls: Any = type(value)
    hints = typing.get_type_hints(cls)
    texts = documented(cls)
    found = []
    for one in dataclasses.fields(value):
        if one.name in without:
            continue
        default = getattr(value, one.name)
        found.append(
            Option(
                name=prefix + one.name,
                type=hints[one.name],
                help=texts.get(one.name) or f"{one.name.replace('_', ' ').capitalize()}.",
                default=default,
                group=group,
                unit=one.metadata.get("unit", ""),
                low=one.metadata.get("low"),
                high=one.metadata.get("high"),
                rare=rare and default == one.default,
            )
        )
    return found


@cache
def documented(cls: type) -> dict[str, str]:
    """The docstrings of a class's fields, its bases' among them, in plain words."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):  # made without a file
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for one, after in itertools.pairwise(body):
            if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)):
                continue
            if (
                isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                found[one.target.id] = plain(after.value.value)
    return found


def plain(text: str) -> str:
    """A docstring's text without its marks, in one line."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"\1", text)
    return " ".join(text.replace("``", "").split())
