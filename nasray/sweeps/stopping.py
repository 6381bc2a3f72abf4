"""Stopping on SIGTERM (pre-emption) and on Ctrl-C: Tune's state is written, one line is said, the same command goes on.

A signal that comes while trials run asks Tune to end its loop, after which it writes its state and lets its workers go;
at any other moment the run ends where it is, for whatever is written is whole. A second one ends the process at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nasray.sweeps.events import say

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_asked: list[signal.Signals] = []
"""The signal that this process got, if it got one."""
_tunes: list[object] = []
"""What SIGUSR1 did before Tune, while Tune runs trials: it ends at that signal, by a handler of its own."""


@contextmanager
def stopping(run: str) -> Iterator[None]:
    """End cleanly on a signal: with exit code 143 on SIGTERM, by KeyboardInterrupt on Ctrl-C.

    Outside of the main thread, where Python takes no signals, nothing changes.
    """
    if not _may_handle() or signal.getsignal(signal.SIGTERM) is _ask:
        yield
        return
    before = {number: signal.signal(number, _ask) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if _asked:
            say("warning", "stopped", run=run, signal=_asked[0].name, then="the same command goes on")
            _asked.clear()


@contextmanager
def tune_stops() -> Iterator[None]:
    """Within this Tune ends its trials at a signal, which it takes between any two steps.

    Raises:
        SystemExit, KeyboardInterrupt: it did, so that what it gave is not complete.
    """
    if not _may_handle():
        yield
        return
    _tunes.append(signal.getsignal(signal.SIGUSR1))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, _tunes.pop() or signal.SIG_DFL)  # type: ignore[arg-type]
    _stop_if_asked()


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put handlers back that something within this sets: Ray ends a driver with a code that says nothing."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if _may_handle() and callable(before):
        signal.signal(signal.SIGTERM, before)


def _ask(number: int, frame: FrameType | None) -> None:
    # Nothing is printed here: the line that was interrupted may be one that prints.
    for one in SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    _asked.append(signal.Signals(number))
    if _tunes and signal.getsignal(signal.SIGUSR1) is not _tunes[-1]:
        signal.raise_signal(signal.SIGUSR1)
    else:
        _stop_if_asked()


def _stop_if_asked() -> None:
    if _asked and _asked[0] == signal.SIGINT:
        raise KeyboardInterrupt
    if _asked:
        raise SystemExit(128 + _asked[0])


def _may_handle() -> bool:
    return threading.current_thread() is threading.main_thread()
