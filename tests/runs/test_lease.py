"""Two drivers on one run: the second is refused, whoever is dead has a successor, and no clock is asked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from nasray.cli import main
from nasray.errors import InvalidInput, LeaseLost
from nasray.runs import Storage, open_storage
from nasray.runs import lease as module
from nasray.runs.lease import FOLDER, Lease, check_lease, driver_of, lease

OWNER = """
import sys
from nasray.runs import open_storage
from nasray.runs.lease import lease
with lease(open_storage(sys.argv[1]), "digits"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "digits")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[Storage, str], Lease]:
    """Makes claims as another machine makes them, quick ones."""

    def make(storage: Storage, machine: str) -> Lease:
        with monkeypatch.context() as patch:
            patch.setattr(module, "here", lambda: machine)
            return Lease(storage, "digits", beat_seconds=0.05, silent_seconds=2.0)

    return make


@pytest.fixture
def owner(run: Storage) -> Iterator[subprocess.Popen[str]]:
    """Another process of this machine that holds the lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def freeze(one: Lease) -> None:
    """Stop its beats, as a machine does that hangs or is gone."""
    one._ended.set()
    one._thread.join()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_driver_on_this_machine_is_refused_in_one_line(run: Storage, owner: subprocess.Popen[str]) -> None:
    reason = rf"run 'digits' in {run} is driven by process {owner.pid} on \S+: give another --name, or wait"
    with pytest.raises(InvalidInput, match=reason), lease(run, "digits"):
        pass
    # The owner's claim is untouched: it goes on, and its end gives the run free.
    owner.communicate(input="")
    with lease(run, "digits"):
        assert len(run.list(FOLDER)) == 1
    assert run.list(FOLDER) == ()


def test_a_killed_owner_on_this_machine_costs_no_waiting(
    run: Storage, owner: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    os.kill(owner.pid, signal.SIGKILL)
    # Not waited for: a process whose parent has not asked for it yet is as dead.
    until(lambda: "State:\tZ" in Path(f"/proc/{owner.pid}/status").read_text())
    began = time.monotonic()
    with lease(run, "digits"):
        assert time.monotonic() - began < module.SILENT_SECONDS / 10
        assert len(run.list(FOLDER)) == 1


def test_another_process_with_the_owners_id_is_not_the_owner(run: Storage) -> None:
    gone = Lease(run, "digits")
    gone.acquire()
    freeze(gone)
    name = gone._name(gone._claim.id)
    run.write_json(name, {**run.read_json(name), "born": "1"})
    with lease(run, "digits"):
        assert run.list(FOLDER) != (name,)


def test_another_machine_whose_counter_rises_refuses(run: Storage, elsewhere: Callable[[Storage, str], Lease]) -> None:
    one = elsewhere(run, "a")
    one.acquire()
    with pytest.raises(InvalidInput, match="is driven by process"):
        elsewhere(run, "b").acquire()
    one.check(look=True)
    one.release()
    assert run.list(FOLDER) == ()


def test_another_machine_that_is_silent_is_taken_over_and_finds_out(
    run: Storage, elsewhere: Callable[[Storage, str], Lease]
) -> None:
    one, two = elsewhere(run, "a"), elsewhere(run, "b")
    one.acquire()
    freeze(one)
    one.check(look=True)
    began = time.monotonic()
    two.acquire()
    assert time.monotonic() - began >= two.silent_seconds
    # It wakes up, and asks before it writes. What it had been about to write when it froze changes nothing.
    one._write()
    with pytest.raises(LeaseLost, match=r"was taken over by process \d+ on"):
        one.check(look=True)
    two.check(look=True)
    two.release()


def test_an_owner_that_was_taken_over_is_told_by_its_own_beats(
    run: Storage, elsewhere: Callable[[Storage, str], Lease]
) -> None:
    one = elsewhere(run, "a")
    one.acquire()
    run.delete(one._name(one._claim.id))
    until(lambda: one._successor is not None)
    with pytest.raises(LeaseLost):
        one.check()
    freeze(one)
    assert run.list(FOLDER) == ()


def test_clocks_that_jump_change_nothing(
    run: Storage, elsewhere: Callable[[Storage, str], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(range(0, 10**9, 10**5))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    one = elsewhere(run, "a")
    one.acquire()
    for _ in range(3):
        with pytest.raises(InvalidInput):
            elsewhere(run, "b").acquire()
    one.check(look=True)
    one.release()


def test_a_storage_that_fails_for_a_while_loses_no_lease(
    run: Storage, elsewhere: Callable[[Storage, str], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = elsewhere(run, "a")
    one.acquire()
    failed = threading.Event()

    def fail(*given: object) -> None:
        failed.set()
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "list", fail)
        assert failed.wait(60)
        one.check(look=True)
    beat = run.read_json(one._name(one._claim.id))["beat"]
    until(lambda: run.read_json(one._name(one._claim.id))["beat"] > beat)
    one.release()


@pytest.mark.parametrize("machines", ["one machine", "several"])
def test_of_many_that_start_at_once_one_goes_on(
    tmp_path: Path, elsewhere: Callable[[Storage, str], Lease], machines: str
) -> None:
    for attempt in range(10):
        storage = open_storage(tmp_path / str(attempt))
        drivers = [elsewhere(storage, str(i) if machines == "several" else "a") for i in range(4)]
        outcomes: list[Lease | Exception] = []
        ready = threading.Barrier(len(drivers))

        def go(one: Lease, ready=ready, outcomes=outcomes):
            ready.wait()
            try:
                one.acquire()
                outcomes.append(one)
            except (InvalidInput, LeaseLost) as error:  # the latter where a thread had to wait for its turn for long
                outcomes.append(error)

        threads = [threading.Thread(target=go, args=(one,)) for one in drivers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (holder,) = [one for one in outcomes if isinstance(one, Lease)]
        holder.check(look=True)
        holder.release()
        assert storage.list(FOLDER) == ()


def test_claims_that_cannot_be_understood_hold_nobody_up_for_ever(
    run: Storage, elsewhere: Callable[[Storage, str], Lease]
) -> None:
    for number, content in enumerate([b"", b"[]", b"{}", b'{"id": 1}', b"\xff\xfe", b'{"beat": 1e999}']):
        run.write_bytes(f"{FOLDER}/stranger-{number}.json", content)
    one = elsewhere(run, "a")
    one.acquire()
    assert run.list(FOLDER) == (one._name(one._claim.id),)
    one.release()


def test_it_holds_on_file_systems_that_are_not_local(elsewhere: Callable[[Storage, str], Lease]) -> None:
    # pyarrow's own in-memory file system stands for whatever knows no locks and no hard links.
    storage = Storage(fs._MockFileSystem(), "bucket/digits", "mock://bucket/digits")
    one = elsewhere(storage, "a")
    one.acquire()
    with pytest.raises(InvalidInput):
        elsewhere(storage, "b").acquire()
    one.release()
    assert storage.list(FOLDER) == ()


def test_whoever_holds_nothing_may_go_on(run: Storage) -> None:
    check_lease(run, look=True)


def test_a_single_search_holds_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = open_storage(tmp_path / "out")
    with lease(run, "out"):
        assert main(["search", "random", "gold", "digits", "--epochs", "1", "--out", str(run)]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(rf"nasray: run 'out' in {run} is driven by process {os.getpid()} on .*\n", said)


def test_who_drives_a_run_is_told_and_who_was_killed_does_not(run: Storage, owner: subprocess.Popen[str]) -> None:
    said = driver_of(run)
    assert said is not None
    assert said.startswith(f"process {owner.pid} on ")
    owner.kill()
    owner.wait()
    assert len(run.list(FOLDER, ".json")) == 1  # its claim is there still
    run.write_bytes(f"{FOLDER}/damaged.json", b"{")
    assert driver_of(run) is None
