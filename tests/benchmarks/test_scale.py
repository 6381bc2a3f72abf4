"""The benchmark of scale: its made-up files are real ones, what it counts is counted right, its rows in small."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nasray.runs import EVALUATIONS, open_storage, read


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("scale")


def test_made_up_files_are_those_of_a_table(benchmark: ModuleType, tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    for name, content in benchmark.some_rows(benchmark.one_row(), 3):
        storage.write_bytes(name, content)
    assert list(read(storage, EVALUATIONS)["architecture_id"]) == [f"{number:012x}" for number in range(3)]
    many = open_storage(tmp_path / "many")
    many.write_bytes("evaluations/compact-0.parquet", benchmark.many_rows(1000))
    assert len(read(many, EVALUATIONS)) == 1000


def test_every_part_of_the_rows_is_measured(benchmark: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    figures = dict(benchmark.rows(40, 200, tmp_path, requested=10))
    assert {what.partition(":")[0] for what in figures} == {"a file of one row", "local", "S3"}
    assert "S3: 40 objects of one row listed" in figures
    assert figures["local: 4 put together"].endswith("ms each")


def test_what_a_run_left_is_counted_by_folder(benchmark: ModuleType, tmp_path: Path) -> None:
    for name, size in (("run.json", 10), ("trials/a.json", 20), ("trials/b/c.state", 30), ("evaluations/x", 40)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    assert benchmark.left(tmp_path, 2, "trials") == [
        ("files of 2 trials", "4 (. 1, evaluations 1, trials 2)"),
        ("of them a trial", "2.000 files, 50 bytes"),
    ]


def test_memory_of_processes_that_were_started(benchmark: ModuleType) -> None:

    before = benchmark.memory()
    code = "kept = bytearray(b'x' * 50_000_000); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 50_000_000 < benchmark.memory() - before < 100_000_000
        process.communicate(os.linesep.encode())
