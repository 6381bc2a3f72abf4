"""Ray's calls run in threads of their own, so that the main thread hears Ctrl-C and other signals at once.

Ray and Tune then install no signal handler: those of the user's program, or of the command line, stay. Tune's loop ends
after its step when the main thread is interrupted, and stops its actors; it is never cut through in the middle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

ENDING_SECONDS = 10.0
"""How long an interrupted main thread waits for the loop; Tune gives its actors five seconds to stop."""

T = TypeVar("T")

_asked = threading.Event()


class Interrupted(RuntimeError):
    """Ends Tune's loop from within: the main thread was interrupted."""


def run_interruptibly(function: Callable[[], T]) -> T:
    """What a function gives, called in a thread of its own.

    Raises:
        BaseException: what the function raised, or what a signal's handler raised in this thread meanwhile; then the
            function is asked to end (:func:`end_if_interrupted`) and waited for, for some seconds.
    """
    given: Future[T] = Future()

    def call() -> None:
        try:
            given.set_result(function())
        except BaseException as error:
            given.set_exception(error)

    _asked.clear()
    threading.Thread(target=call, name="nasray-ray", daemon=True).start()
    try:
        while not given.done():  # in short waits: a signal that another thread got wakes nobody
            wait([given], timeout=0.2)
    except BaseException:
        _asked.set()
        wait([given], timeout=ENDING_SECONDS)
        raise
    return given.result()


def end_if_interrupted() -> None:
    """Called within the function, wherever it may end.

    Raises:
        Interrupted: the thread that waits for it was interrupted.
    """
    if _asked.is_set():
        raise Interrupted("interrupted")


def interrupted() -> bool:
    """Whether the function is to end."""
    return _asked.is_set()
