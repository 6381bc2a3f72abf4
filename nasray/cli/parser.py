"""The parser of a verb: Python's argparse, which takes words apart once, with our sentences for its errors.

What was typed is told from what was not: only that comes back. Options may stand before or after the words of a verb.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from nasray.cli.option import NOTHING, Option
from nasray.cli.values import accepted, choices, read, stands_for, takes_several
from nasray.errors import InvalidInput, printable
from nasray.settings import typed

WIDEST = 100
"""Columns of the help, at most."""
_INDENT = 28
"""Column at which the text of an option begins, at most."""


class Parser(argparse.ArgumentParser):
    """Takes the words and options of a verb.

    Args:
        prog: the command before them.
        about: what it does.
        options: what it takes.
        example: a command that works.
        after: lines below the options in the help.
        everything: whether its help shows what is rare too, and the whole of every text.
        helps: whether it takes --help.
    """

    def __init__(
        self,
        prog: str,
        about: str,
        options: Iterable[Option],
        *,
        example: str,
        after: str = "",
        everything: bool = False,
        helps: bool = True,
    ) -> None:
        super().__init__(
            prog=prog,
            description=about,
            epilog=after or None,
            add_help=False,
            allow_abbrev=False,
            exit_on_error=False,
            formatter_class=_formatter,
            argument_default=argparse.SUPPRESS,
        )
        self.options = list(options)
        self.about, self.after = about, after
        self.example = example
        self._everything = everything
        words = [one for one in self.options if one.word]
        shown = "[--OPTION VALUE ...]" if len(words) < len(self.options) else ""
        self._words = " ".join(part for part in (prog, usage_of(words)) if part)
        self.usage: str = f"{self._words} {shown}".rstrip()
        self._named = {one.flag: one for one in self.options}
        groups: dict[str, Any] = {}
        arguments = self.add_argument_group("arguments")
        for one in words:
            self._add_word(arguments, one)
        for one in self.options:
            if not one.word:
                if one.group not in groups:
                    groups[one.group] = self.add_argument_group(one.group)
                self._add_option(groups[one.group], one)
        if helps:
            self._add_help()

    def _add_help(self) -> None:
        last = self.add_argument_group("help")
        last.add_argument("-h", "--help", action=_Help, nargs=0, everything=False, help="Show this.")
        text = "Show also what is rarely set, and the whole of every text." if self._has_rare else argparse.SUPPRESS
        last.add_argument("--help-all", action=_Help, nargs=0, everything=True, help=text)

    def take(self, words: Sequence[str]) -> dict[str, Any]:
        """What was typed, by the options' names.

        Raises:
            InvalidInput: an option or a word that is not known, a value that is not accepted, a word that is missing.
        """
        taken, left = self.take_known(words)
        if left:
            raise InvalidInput(self.unknown(left[0]))
        return taken

    def take_known(self, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """The same, and what is another parser's."""
        chosen = {index: one for index, word in enumerate(words) if (one := self._varied_flag(word)) is not None}
        try:
            taken, left = self.parse_known_args([word for index, word in enumerate(words) if index not in chosen])
        except argparse.ArgumentError as error:  # a value is missing, or one is too many
            flag = (error.argument_name or "").split("/")[0]
            raise InvalidInput(self._without_value(flag)) from None
        drawn = {one.name: read(one, [words[index].partition("=")[2]]) for index, one in chosen.items()}
        return {**vars(taken), **drawn}, left

    def _varied_flag(self, word: str) -> Option | None:
        """The flag that --FLAG=true,false lets be drawn: argparse takes no value with one."""
        flag, equals, _ = word.partition("=")
        one = self._named.get(flag.replace("_", "-"))
        return one if equals and one is not None and one.is_flag and one.varies else None

    def with_help(self, everything: bool) -> Parser:
        """The same with its whole help, or with that of what is not rare."""
        return Parser(
            self.prog, self.about, self.options, example=self.example, after=self.after, everything=everything
        )

    def error(self, message: str) -> NoReturn:
        """Called by argparse where words are missing."""
        missing = message.rpartition(": ")[2]
        raise InvalidInput(f"{missing} missing: give {self._words}, as in {self.example}")

    def unknown(self, word: str) -> str:
        """What is said of something that nothing takes."""
        word, _, _ = word.partition("=")
        if not word.startswith("-"):
            return f"{printable(word)!r:.80} is one word too many: give {self.usage}, as in {self.example}"
        plain = word.replace("_", "-")
        positive = re.sub(r"^(--(?:[\w-]+\.)?)no-", r"\1", plain)
        if positive != plain and positive in self._named:
            one = self._named[positive]
            return f"{word}: {positive} takes {accepted(one)}, and cannot be switched off. Leave it out"
        flags = [one.flag for one in self.options if not one.word]
        flags += [f"--no-{one.name.replace('_', '-')}" for one in self.options if one.is_flag]
        flags += [f"--{other}" for one in self.options for other in one.also]
        ends = [flag for flag in flags if flag.rpartition(".")[2] == plain.lstrip("-").rpartition(".")[2]]
        close = ends or difflib.get_close_matches(plain, flags, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        listing = "--help-all" if self._has_rare else "--help"
        return f"unknown option {printable(word):.80}: {hint}{self.prog} {listing} lists all"

    @property
    def _has_rare(self) -> bool:
        return any(one.rare for one in self.options)

    def _without_value(self, flag: str) -> str:
        one = self._named.get(flag)
        if one is None:
            one = next(
                (
                    o
                    for o in self.options
                    if flag.lstrip("-").removeprefix("no-").replace("-", "_") in (o.name, *o.also)
                ),
                None,
            )
        if one is None or one.is_flag:
            return f"{flag} takes no value: give it alone" + (", or --no-" + flag.lstrip("-") if one else "")
        return f"{flag} without a value: expected {accepted(one)}"

    def _add_word(self, group: Any, one: Option) -> None:
        nargs = "+" if takes_several(one) and one.default is NOTHING else "*" if takes_several(one) else None
        if one.default is not NOTHING and nargs is None:
            nargs = "?"
        group.add_argument(one.name, metavar=one.word, nargs=nargs, action=_Value, option=one, help=one.help)

    def _add_option(self, group: Any, one: Option) -> None:
        text = self._text(one)
        if not one.is_flag:
            nargs = "*" if takes_several(one) else None
            takes: dict[str, Any] = {"dest": one.name, "nargs": nargs, "action": _Value, "option": one}
            group.add_argument(one.flag, **takes, help=text, metavar=stands_for(one))
            others = {*one.also, one.name} - {one.flag[2:]}  # as Python spells it, too
            if others:
                group.add_argument(*(f"--{other}" for other in sorted(others)), **takes, help=argparse.SUPPRESS)
            return
        for value in (True, False):
            flag = f"--{'' if value else 'no-'}{one.name.replace('_', '-')}"
            if not value and "." in one.name:  # --training.no-nesterov
                front, _, back = one.name.rpartition(".")
                flag = f"--{front}.no-{back.replace('_', '-')}"
            # The one that changes something is shown.
            shown = text if value is (one.default is not True) else argparse.SUPPRESS
            group.add_argument(flag, dest=one.name, nargs=0, action=_Value, option=one, const=value, help=shown)

    def _text(self, one: Option) -> str:
        if one.rare and not self._everything:
            return argparse.SUPPRESS
        text = one.help if self._everything else first_sentence(one.help)
        if one.is_flag and one.default is True:
            text = f"Switch off: {text.removeprefix('Whether ')}"
        default = one.shown_default
        if one.is_flag:
            default = "on" if one.default is True else "off"
        elif default is None and one.default not in (NOTHING, None, ()):
            default = " ".join(typed(one.default))
        return (text + (f" (default: {default})" if default else "")).replace("%", "%%")


def first_sentence(text: str) -> str:
    """A text up to where its first sentence ends, or its first part where that is long."""
    for end in (". ", "; "):
        before = text.partition(end)[0]
        text = before if before.count("(") == before.count(")") else text
    return (text.partition(": ")[0] if len(text) > 120 else text).rstrip(".")


def usage_of(options: Iterable[Option]) -> str:
    """The words among options, as a line of usage shows them."""
    return " ".join(_in_usage(one) for one in options if one.word)


def _in_usage(one: Option) -> str:
    """A word in the line of usage: in brackets where it may be missing."""
    text = f"{one.word} ..." if takes_several(one) else one.word
    return text if one.default is NOTHING else f"[{text}]"


class HelpShown(Exception):
    """Somebody asked for help, and it has been shown: nothing else is to be done."""


class _Value(argparse.Action):
    """Keeps what was typed for an option, as a value of its type."""

    def __init__(self, *, option: Option, **named: Any) -> None:
        super().__init__(**named)
        self.option = option
        found = choices(option)
        if found:
            self.complete_with = found

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Called by argparse."""
        if self.nargs == 0:
            setattr(namespace, self.dest, self.const)
            return
        words = [values] if isinstance(values, str) else list(values)
        if self.option.word and not words:
            return  # a word that may be missing
        setattr(namespace, self.dest, read(self.option, words))


class _Help(argparse.Action):
    """Shows the help, short or whole, and ends the command."""

    def __init__(self, *, everything: bool, **named: Any) -> None:
        super().__init__(**named)
        self.everything = everything

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Called by argparse."""
        parser.with_help(self.everything).print_help()
        raise HelpShown


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = min(WIDEST, shutil.get_terminal_size().columns) - 1
    return argparse.HelpFormatter(prog, max_help_position=_INDENT, width=width)
