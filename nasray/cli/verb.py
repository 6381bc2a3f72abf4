"""A verb of the command line: a function whose parameters say what is typed, and what its first word adds to them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nasray import registry
from nasray.cli.option import Option, options_of_function
from nasray.cli.parser import Parser, usage_of
from nasray.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A function and how it is called from the command line.

    Its positional parameters are words, its keyword-only ones options; each says its help (:class:`Says`). What the
    first word selects, as a sweep its settings, comes in as further keywords.
    """

    name: str
    run: Callable[..., int]
    """Gives the exit code."""
    example: str
    """A command that works."""
    more: Callable[..., Iterable[Option]] | None = None
    """All words and options, where the function does not say them itself: takes those of the function, the first word
    (None where it is not known), and the values of the options in ``selecting``."""
    first_decides: bool = False
    """Whether the first word decides which options there are, or their defaults; it is no part of what ``more`` gives
    then."""
    selecting: tuple[str, ...] = ()
    """Options that decide with the first word which others there are."""
    first_words: Callable[[], Sequence[str]] = tuple
    """Registered names among which the first word is one, for completion."""
    resumable: bool = False
    """Whether the same command goes on where it ended."""

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.run.__doc__ or "").strip().splitlines()[0].rstrip(".")

    @property
    def options(self) -> list[Option]:
        """What the function itself takes."""
        return options_of_function(self.run)

    @property
    def words(self) -> str:
        """Its words, as the help shows them."""
        return usage_of(self.options)

    def called(self, words: Sequence[str]) -> int:
        """Take apart what was typed after the verb, and run it.

        Raises:
            InvalidInput: something that was typed is not known or not accepted.
        """
        taken = self.taken(words)
        given = [taken.pop(one.name) for one in self.options if one.word and one.name in taken]
        return self.run(*given, **taken)

    def taken(self, words: Sequence[str]) -> dict[str, Any]:
        """What was typed after the verb, by name.

        Raises:
            InvalidInput: something that was typed is not known or not accepted.
        """
        if not self.first_decides:
            return self.parser(self.all_options()).take(words)
        own = self.options
        if not words or words[0].startswith("-"):
            self.parser(self.all_options(), after=self._after()).take(words)  # for its help, and its errors
            raise InvalidInput(f"{own[0].word} comes first: nasray {self.name} {self.words}, as in {self.example}")
        first, *rest = words
        deciding = [one for one in own if one.name in self.selecting]
        chosen = Parser(self._prog(first), "", deciding, example=self.example, helps=False)
        selected, rest = chosen.take_known(rest)
        taken = self.parser(self.all_options(first, **selected), first).take(rest)
        return {own[0].name: first, **selected, **taken}

    def all_options(self, first: str | None = None, **selected: Any) -> list[Option]:
        """Its words and options, as far as they are known with a first word or without."""
        if self.more is None:
            return self.options
        return list(self.more(self.options if first is None else self.options[1:], first, **selected))

    def parser(self, options: Sequence[Option], first: str | None = None, after: str = "") -> Parser:
        """The parser of its words and options, behind a first word that is known."""
        return Parser(self._prog(first), f"{self.summary}.", options, example=self.example, after=after)

    def _prog(self, first: str | None) -> str:
        return " ".join(part for part in ("nasray", self.name, first) if part)

    def _after(self) -> str:
        """What the help says where the first word is not known yet."""
        word = self.options[0].word
        known = ", ".join(self.first_words())
        shorter = self.example.partition(" --")[0]
        return f"What a {word} has of its own: {shorter} --help." + (
            f" It is FILE.py:NAME, or one of {known}." if known else ""
        )


def unknown_verb(word: str, known: Iterable[str]) -> InvalidInput:
    """What is said of a verb that there is not."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
    return InvalidInput(f"unknown command {word!r:.80}: {hint}")


def registered(kind: str) -> Callable[[], Sequence[str]]:
    """The registered names of a kind, looked up when they are asked for."""
    return lambda: registry.names(kind)
