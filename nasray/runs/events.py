"""What happens to a run and its trials: one structured line an event.

A line is ``time level event=... run=... trial=... name=value ...`` (logfmt): a person reads it, and programs that
collect logs take it apart. Values with spaces, quotes or control letters stand as JSON strings, so nothing that an
error's text holds can make a second line. The environment's ``NASRAY_LOG`` says from which level on lines are shown:
``debug``, ``info``, ``warning`` (the default: what a person should know of) or ``error``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

from nasray.errors import InvalidInput

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
LEVEL_VARIABLE = "NASRAY_LOG"

drawn_by: set[Callable[[], None]] = set()
"""What takes a live view off the terminal: called by whoever is about to write past it."""

_logger = logging.getLogger("nasray")
_MOST_LETTERS = 500
_quiet = False


def say(level: Level, event: str, *, run: str, trial: str | None = None, **fields: Any) -> None:
    """Log one event.

    Args:
        level: how much it matters.
        event: what happened, as one word with underscores.
        run: of which run.
        trial: of which of its trials, if of one.
        fields: what else is known; None is left out.
    """
    _logger.log(LEVELS[level], line(event, run=run, trial=trial, **fields))


def line(event: str, **fields: Any) -> str:
    """An event and its fields as one line without time and level."""
    given = {"event": event, **fields}
    return " ".join(f"{name}={_value(value)}" for name, value in given.items() if value is not None)


def note(text: str) -> None:
    """Print a line for whoever waits at the terminal, on standard error; nothing where only errors are wanted."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)


def show_events(*, quiet: bool = False) -> None:
    """Let this process write its events to standard error, from the level on that the environment says.

    Args:
        quiet: whether to write errors alone, where the environment says nothing.

    Raises:
        InvalidInput: the environment says another level.
    """
    global _quiet
    _quiet = quiet
    wanted = os.environ.get(LEVEL_VARIABLE, "error" if quiet else "warning").lower()
    if wanted not in LEVELS:
        raise InvalidInput(f"{LEVEL_VARIABLE} {wanted!r}: expected one of {', '.join(LEVELS)}")
    _logger.setLevel(wanted.upper())
    if not any(isinstance(handler, _ToStandardError) for handler in _logger.handlers):
        handler = _ToStandardError()
        handler.setFormatter(_Formatter())
        _logger.addHandler(handler)
        _logger.propagate = False


class _ToStandardError(logging.Handler):
    """Writes to what standard error is at that moment: a live view takes it, to show lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


class _Formatter(logging.Formatter):
    """Time (UTC), level, line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.getMessage()}"


def _value(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if len(text) > _MOST_LETTERS:
        text = text[: _MOST_LETTERS - 3] + "..."
    return text if text.isprintable() and re.fullmatch(r"[^\s\"=\\]+", text) else json.dumps(text)
