"""Temporary files of killed writers: deleted by the next who holds the lease, and those of living writers never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasray.runs import Storage, open_storage
from nasray.runs.lease import lease
from nasray.runs.leftovers import SILENT_SECONDS, sweep_up
from nasray.runs.processes import is_gone, signature, start_of

WRITER = """
import os, sys
from nasray.runs import Storage, open_storage
def stay(file):
    print("begun", flush=True)
    sys.stdin.read()
os.fsync = stay
open_storage(sys.argv[1]).write_bytes("candidates/row-1.parquet", b"whole")
"""


def hidden(storage: Storage) -> list[Path]:
    return sorted(path for path in Path(str(storage)).rglob(".*") if path.is_file())


def test_what_sigkill_left_goes_and_what_is_being_written_stays(storage: Storage) -> None:
    command = [sys.executable, "-c", WRITER, str(storage)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"begun\n"
        (file,) = hidden(storage)
        os.utime(file, (0, 0))
        with lease(storage, "run"):
            assert hidden(storage) == [file]
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert hidden(storage) == [file]
    with lease(storage, "run"):
        assert hidden(storage) == []
    assert storage.list("candidates") == ()


def test_of_another_machine_only_what_is_old(storage: Storage, tmp_path: Path) -> None:
    storage.write_bytes("evaluations/row-1.parquet", b"x")
    elsewhere = f"{'0' * 12}-{os.getpid()}-1"
    folder = Path(str(storage)) / "evaluations"
    files = {
        folder / f".{'a' * 32}.{elsewhere}.tmp": False,
        folder / f".{'b' * 32}.{elsewhere}.tmp": True,
        folder / f".{'c' * 32}.tmp": True,
        folder / f".{'d' * 32}.{signature()}.tmp": False,
        folder / ".hidden": False,
        folder / "row-2.parquet": False,
        Path(str(storage)) / f".{'e' * 32}.{elsewhere}.probe": True,
    }
    (tmp_path / "outside").mkdir()
    files[tmp_path / "outside" / f".{'f' * 32}.tmp"] = False
    (folder / "link").symlink_to(tmp_path / "outside")
    for path in files:
        path.write_bytes(b"x")
    old = time.time() - SILENT_SECONDS - 60
    for path in [*files][1:]:
        os.utime(path, (old, old))
    assert sweep_up(storage) == sum(files.values())
    assert [path for path in files if not path.exists()] == [path for path, goes in files.items() if goes]
    assert sweep_up(storage) == 0


def test_a_writer_whose_file_was_taken_writes_it_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = os.fsync, []

    def taken(file: int) -> None:
        whole(file)
        if not calls:
            hidden(storage)[0].unlink()
        calls.append(file)

    monkeypatch.setattr(os, "fsync", taken)
    storage.write_bytes("a", b"x")
    assert storage.read_bytes("a") == b"x"
    assert len(calls) == 2


def test_other_file_systems_are_swept_too() -> None:
    storage = open_storage("mock:///run")
    storage.write_bytes("candidates/row-1.parquet", b"x")
    with storage.filesystem.open_output_stream(f"{storage.base}/candidates/.{'a' * 32}.tmp") as stream:
        stream.write(b"x")
    assert sweep_up(storage) == 0
    assert sweep_up(storage, silent_seconds=-1e9) == 1
    assert storage.list("candidates") == ("candidates/row-1.parquet",)


def test_a_process_is_told_by_its_start(storage: Storage) -> None:
    place, pid, start = signature().split("-")
    assert (pid, start) == (str(os.getpid()), start_of(os.getpid()))
    assert is_gone(f"{place}-{pid}-{start}") is False
    assert is_gone(f"{place}-{pid}-{start}1") is True
    assert is_gone(f"{'0' * 12}-{pid}-{start}") is None
