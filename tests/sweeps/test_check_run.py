"""A dry run: it refuses what the run itself would, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasray import registry
from nasray.cli import main
from nasray.runs import open_storage
from nasray.sweeps import Sweep
from nasray.sweeps.changes import with_device, with_execution
from nasray.sweeps.learnt import Learnt
from nasray.sweeps.record import record


def test_it_refuses_the_run_of_another_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = with_execution(registry.find("sweep", "digits", Sweep), storage=str(tmp_path))
    run = open_storage(tmp_path / "digits")
    record(with_device(sweep, "cpu"), run, (1.0, 0.1), "cpu", None, Learnt())
    before = run.read_json("run.json")
    command = ["sweep", "digits", "--storage", str(tmp_path), "--dry-run"]
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--epochs", "3"]) == 2
    assert "is of another sweep, which differs in epochs" in capsys.readouterr().err.splitlines()[-1]
    assert run.read_json("run.json") == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
