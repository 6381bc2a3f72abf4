"""Stopping on SIGTERM (pre-emption) and on Ctrl-C: Tune's state is written, one line is said, the same command goes on.

A signal that comes while trials run asks Tune to end its loop, once checkpoints that are on their way have come; then
it writes its state and lets its workers go. At any other moment the run ends where it is, for whatever is written is
whole. A second signal ends the process at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nasray.runs.events import say

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAVING_SECONDS = 5.0
"""How long an end waits for checkpoints: who takes a machine away gives half a minute or more."""

_asked: list[signal.Signals] = []
"""The signal that this process got, if it got one."""
_since: list[float] = []
"""When that was, on the monotonic clock."""
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
            _since.clear()


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
    _since.append(time.monotonic())
    if not _tune_is_here():
        _stop_if_asked()


def end_is_asked() -> bool:
    """Whether a signal asked this process to end."""
    return bool(_asked)


def end_tune_if_asked(saving: bool) -> None:
    """Called by Tune's loop after every step: end it, if a signal asked for it.

    Args:
        saving: some trial saves a checkpoint, for which the end waits some seconds.
    """
    if _asked and _tune_is_here() and (not saving or time.monotonic() - _since[-1] > SAVING_SECONDS):
        signal.raise_signal(signal.SIGUSR1)


def _tune_is_here() -> bool:
    """Whether Tune's loop runs in this process, and not at the other end of a Ray Client."""
    return bool(_tunes) and signal.getsignal(signal.SIGUSR1) is not _tunes[-1]


def _stop_if_asked() -> None:
    if _asked and _asked[0] == signal.SIGINT:
        raise KeyboardInterrupt
    if _asked:
        raise SystemExit(128 + _asked[0])


def _may_handle() -> bool:
    return threading.current_thread() is threading.main_thread()
