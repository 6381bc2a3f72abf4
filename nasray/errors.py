"""Errors that a person can act on."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable


class _OneLine(Exception):
    """Says what it has to say in one line that any terminal may be given, whatever the text is made of."""

    def __str__(self) -> str:
        return printable(re.sub(r"\s*[\r\n]+\s*", " ", super().__str__().strip()))


class InvalidInput(_OneLine, ValueError):
    """Something that was given cannot be used.

    The message is one line: what was given, and what is expected. The command line prints it and exits
    with 2.
    """


class StorageFailure(_OneLine, OSError):
    """Results cannot be written or read: the storage failed for longer than a run waits for it, or is full.

    The message is one line. What was written before is kept; the same command resumes once the storage works. The
    command line prints it and exits with 1.
    """


class DamagedFiles(StorageFailure):
    """Files of a run are damaged or missing, and nothing that lies there can make them again.

    The message is one line that names them. Nothing was replaced or deleted.
    """


class DamagedFilesWarning(RuntimeWarning):
    """A damaged file was left out of what was read. The message is one line that names it."""


class ClusterLost(_OneLine, RuntimeError):
    """Ray's head stopped answering. The message is one line; the same command resumes once it answers."""


class NonFiniteLoss(_OneLine, ArithmeticError):
    """A loss or output became infinite or not a number: the search or evaluation ends, and gives no row."""


class LeaseLost(_OneLine, RuntimeError):
    """Another driver has taken the run over, for this one gave no sign of life: it ends, and writes nothing more."""


def message(error: BaseException) -> str:
    """What an error says, in one line; of an error of the operating system what went wrong, without the path."""
    return _line(getattr(error, "strerror", None) or str(error)) or type(error).__name__


def reason(error: BaseException) -> str:
    """What an error says, in one line, after its class where that is not ours."""
    text = _line(error.msg if isinstance(error, SyntaxError) else str(error))
    if isinstance(error, _OneLine):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(text: str) -> str:
    """A text in one line of at most 300 letters: of a traceback its last line, where the cause is."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(re.match(r'(Traceback |File ".*", line )', line) for line in lines):
        return lines[-1][:300]
    return " ".join(" ".join(lines).split())[:300]


def told_once(failures: Iterable[tuple[str, str]]) -> list[str]:
    """Why trials failed: a line for each reason, with how many trials it ended.

    Args:
        failures: name of a trial, and its reason.
    """
    of: dict[str, list[str]] = {}
    for name, why in failures:
        of.setdefault(why, []).append(name)
    return [
        f"trial {names[0]}: {why}" if len(names) == 1 else f"{len(names)} trials, {names[0]} the first: {why}"
        for why, names in of.items()
    ]


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 60, 60, 40


def shown(value: object) -> str:
    """A value that was given, for a message: its repr in one line, shortened however long or deep it is."""
    return _SHORT.repr(value)


def printable(text: object) -> str:
    """Text of any origin as a terminal, a log or a picture may show it: in one line, and what it shows is what it is.

    Control letters (terminal escapes and line ends among them), marks that turn the direction of writing, and letters
    without a picture are written as Python writes them, such as ``\\x1b``.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in plain)
