"""Signals end a run where it may be ended: at once outside of Tune, after its step within, and a second one always."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from types import FrameType

import pytest

from nasray.tune.session import stopping as module
from nasray.tune.session.stopping import end_tune_if_asked, handlers_kept, stopping, tune_stops


class Tune:
    """Stands for Tune's loop: it listens to SIGUSR1, and ends after a step."""

    def __init__(self) -> None:
        self.ended = False
        signal.signal(signal.SIGUSR1, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ended = True


def test_outside_of_tune_sigterm_ends_at_once_with_143() -> None:
    before, went_on = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with stopping("digits"):
            signal.raise_signal(signal.SIGTERM)
            went_on.append(True)

    with pytest.raises(SystemExit) as stopped:
        run()
    assert not went_on
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    with stopping("digits"):  # the next run of the process is not asked to stop
        pass


def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), stopping("digits"):
        signal.raise_signal(signal.SIGINT)


def test_within_tune_it_ends_after_the_step_and_once_nothing_is_saved() -> None:
    before, ended = signal.getsignal(signal.SIGUSR1), []

    def run() -> None:
        with stopping("digits"), tune_stops():
            tune = Tune()
            end_tune_if_asked(saving=False)
            ended.append(tune.ended)  # nobody asked
            signal.raise_signal(signal.SIGTERM)
            end_tune_if_asked(saving=True)
            ended.append(tune.ended)  # a checkpoint is on its way
            end_tune_if_asked(saving=False)
            ended.append(tune.ended)

    with pytest.raises(SystemExit):
        run()
    assert ended == [False, False, True]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_checkpoint_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAVING_SECONDS", 0.0)
    ended = []

    def run() -> None:
        with stopping("digits"), tune_stops():
            tune = Tune()
            signal.raise_signal(signal.SIGTERM)
            while not tune.ended:
                end_tune_if_asked(saving=True)
            ended.append(True)

    with pytest.raises(SystemExit):
        run()
    assert ended == [True]


def test_where_tune_is_at_the_other_end_of_a_client_it_ends_at_once() -> None:
    went_on = []

    def run() -> None:
        with stopping("digits"), tune_stops():
            signal.raise_signal(signal.SIGTERM)
            went_on.append(True)

    with pytest.raises(SystemExit):
        run()
    assert not went_on


def test_a_second_signal_ends_the_process() -> None:
    program = (
        "import signal\n"
        "from nasray.tune.session.stopping import stopping, tune_stops\n"
        "with stopping('digits'), tune_stops():\n"
        "    signal.signal(signal.SIGUSR1, lambda number, frame: None)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('goes on', flush=True)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGTERM
    assert ended.stdout == "goes on\n"


def test_what_ray_does_to_handlers_is_undone() -> None:
    with stopping("digits"):
        ours = signal.getsignal(signal.SIGTERM)
        with handlers_kept():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        assert signal.getsignal(signal.SIGTERM) is ours


def test_in_another_thread_nothing_changes() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with stopping("digits"), tune_stops(), handlers_kept():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
