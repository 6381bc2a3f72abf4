"""Signals end a command with the codes that a shell expects, after a line that says so; a second one at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nasray.cli.signals import SIGNALS, ends_on_signals

SAID = (
    "nasray: stopping on {}. Run the same command again to resume.\n"
    "nasray: finished epochs are saved, those under way are left; this takes up to 20 s.\n"
)


def run(body: str) -> subprocess.CompletedProcess[str]:
    program = "import signal, time\nfrom nasray.cli import signals\n" + body
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)


def test_sigterm_ends_it_with_143_on_the_way_out_of_its_contexts() -> None:
    ended = run(
        "with signals.ends_on_signals():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        print('goes on')\n"
        "    finally:\n"
        "        print('ended')\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "ended\n", SAID.format("SIGTERM"))


def test_a_second_signal_ends_it_at_once() -> None:
    ended = run(
        "with signals.ends_on_signals():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        print('goes on')\n"
    )
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "")


def test_an_end_that_hangs_is_cut_off_with_the_same_code() -> None:
    ended = run(
        "signals.LONGEST_SECONDS = 0.2\n"
        "with signals.ends_on_signals():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n"
        "        time.sleep(30)\n"
    )
    assert ended.returncode == 143


def test_ctrl_c_is_a_keyboard_interrupt_and_handlers_come_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(KeyboardInterrupt), ends_on_signals():
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert capfd.readouterr().err == f"{SAID.format('SIGINT')[:-1]} Press Ctrl-C again to end at once.\n"


def test_in_another_thread_nothing_changes() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def inside() -> None:
        with ends_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("where", ["dataset", "import"])
def test_a_signal_in_the_midst_of_a_users_code_is_no_fault_of_it(where: str, tmp_path: Path) -> None:
    stop = "    import signal\n    signal.raise_signal(signal.SIGTERM)\n"
    file = tmp_path / "mine.py"
    file.write_text(f"def mine(root):\n{stop}" if where == "dataset" else f"if True:\n{stop}")
    ended = run(
        "from nasray.training.dataset import load_dataset\n"
        "with signals.ends_on_signals():\n"
        f"    load_dataset({f'{file}:mine'!r})\n"
    )
    assert (ended.returncode, ended.stderr) == (143, SAID.format("SIGTERM"))
