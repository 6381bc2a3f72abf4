"""A sweep that learns from another under Ray, killed, and gone on with when the other is there no more."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import nasray
from nasray.runs import open_storage
from nasray.runs.outcomes import read_outcomes
from nasray.sweeps.learning import learners
from nasray.sweeps.learnt import kept
from nasray.sweeps.run import read_run
from tests.ray_session import Kill
from tests.sweep_files import gold_sweep


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_it_goes_on_without_the_other(tmp_path: Path, run_and_kill: Kill) -> None:
    sweep = gold_sweep(tmp_path, examples=96, settings={"epochs": 2}, mu=(30.0,), training={"select": "nothing"})
    (tmp_path / "aside").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "aside")}
    command = [sys.executable, "-m", "nasray.cli"]
    varied = ["--lambda0", "1e-3:0.5:log", "--draws", "4", "--searcher", "tpe", "--cpus-per-trial", "2"]
    words = [*command, "sweep", sweep, "--storage", str(tmp_path), *varied, "--name"]
    assert os.spawnve(os.P_WAIT, sys.executable, [*words, "a"], environment) == 0
    run = open_storage(tmp_path / "b")

    def told_one() -> bool:
        return any(outcome.told for outcome in read_outcomes(run).values())

    run_and_kill([*words, "b", "--learn-from", "a"], environment, told_one)
    before = {name: run.read_bytes(name) for name in run.list("learnt")}
    (summary,) = run.read_json("run.json")["learnt"]
    assert (summary["run"], summary["told"]) == ("a", 4)
    (tmp_path / "a").rename(tmp_path / "elsewhere")
    assert os.spawnve(os.P_WAIT, sys.executable, [*command, "resume", str(tmp_path / "b")], environment) == 0
    assert {name: run.read_bytes(name) for name in run.list("learnt")} == before

    rows = nasray.load(str(run.where), "candidates")
    told = rows.groupby("trial_id")[["told", "lambda0"]].first().sort_values("told")
    assert told["told"].tolist() == [1, 2, 3, 4]  # as many as were drawn, those of the other not among them
    values, reference = read_run(run, [tmp_path / "mine.py"])
    (learner,) = learners(values)
    first = learner.proposing(values, reference, kept(values, run)[learner.name]).searcher([]).ask()
    assert first is not None
    assert told["lambda0"].iloc[0] == first.settings["lambda0"]
