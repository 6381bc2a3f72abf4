"""What SIGTERM (pre-emption, a time limit) and Ctrl-C do to a command: it ends in seconds, and can be resumed.

Whatever lies in a run's folder is whole at any moment, so a handler may raise where the main thread stands; contexts
end the session on the way out. A second signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LONGEST_SECONDS = 20.0
"""After a signal; then the process ends as it is. Who takes a machine away gives half a minute or more."""

_cut_off: list[threading.Timer] = []
"""What ends the process then, until the contexts are left."""


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """Within it SIGTERM raises SystemExit(143) and SIGINT KeyboardInterrupt, after a line that says so.

    Outside of the main thread, where Python takes no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in SIGNALS}
    try:
        yield
    finally:
        while _cut_off:
            _cut_off.pop().cancel()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    for one in SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    events = sys.modules.get("nasray.runs.events")  # what has not been imported draws nothing
    for stop in () if events is None else tuple(events.drawn_by):
        stop()
    said = f"nasray: stopping on {signal.Signals(number).name}. Run the same command again to resume."
    how = f"nasray: finished epochs are saved, those under way are left; this takes up to {LONGEST_SECONDS:.0f} s."
    if number == signal.SIGINT:
        how = f"{how} Press Ctrl-C again to end at once."
    # Not print: the line that was interrupted may be one that prints.
    os.write(2, f"{os.linesep if sys.stderr.isatty() else ''}{said}{os.linesep}{how}{os.linesep}".encode())
    # Ray's own calls may hang where its processes were killed with this one.
    last = threading.Timer(LONGEST_SECONDS, os._exit, [128 + number])
    last.daemon = True
    last.start()
    _cut_off.append(last)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
