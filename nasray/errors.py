"""Errors that a person can act on."""

from __future__ import annotations

import reprlib


class InvalidInput(ValueError):
    """Something that was given cannot be used.

    The message is one line: what was given, and what would be accepted. The command line prints it and exits
    with 2.
    """


class StorageFailure(OSError):
    """Results cannot be written or read: the storage failed for longer than a run waits for it, or is full.

    The message is one line. What was written before is there; the same command goes on once the storage works. The
    command line prints it and exits with 1.
    """


class ClusterLost(RuntimeError):
    """Ray's head does not answer any more. The message is one line; the same command goes on once it does."""


class NonFiniteLoss(ArithmeticError):
    """A loss or output became infinite or not a number: the search or evaluation ends, and gives no row."""


class LeaseLost(RuntimeError):
    """Another driver has taken the run over, for this one gave no sign of life: it ends, and writes nothing more."""


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 60, 60, 40


def shown(value: object) -> str:
    """A value that was given, for a message: its repr in one line, shortened however long or deep it is."""
    return _SHORT.repr(value)
