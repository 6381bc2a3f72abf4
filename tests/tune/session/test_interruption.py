"""An interrupted main thread asks what runs beside it to end, waits, and goes on with its own exception."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from nasray.tune.session import interruption as module
from nasray.tune.session.interruption import Interrupted, end_if_interrupted, interrupted, run_interruptibly


def test_it_gives_what_the_function_gives_or_raises() -> None:
    assert run_interruptibly(lambda: (1, threading.current_thread() is threading.main_thread())) == (1, False)
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 / 0)
    assert not interrupted()


def test_ctrl_c_ends_the_loop_after_its_step() -> None:
    steps, ended = [], []

    def loop() -> None:
        try:
            while True:
                steps.append(time.monotonic())
                if len(steps) == 3:
                    signal.raise_signal(signal.SIGINT)
                time.sleep(0.01)
                end_if_interrupted()
        except Interrupted:
            ended.append(True)
            raise

    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(loop)
    assert ended == [True]
    assert run_interruptibly(interrupted) is False  # the next one is not asked to end


def test_a_loop_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDING_SECONDS", 0.1)
    let_go = threading.Event()

    def hang() -> None:
        signal.raise_signal(signal.SIGINT)
        let_go.wait(30)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(hang)
    let_go.set()
    assert time.monotonic() - began < 5
