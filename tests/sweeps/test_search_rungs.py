"""Searches that are stopped early at rungs: what is refused, typed and forecast, and a run that is killed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray.cli.all_verbs import VERBS
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.runs import open_storage
from nasray.runs.outcomes import read_outcomes
from nasray.searchers import Feedback, SearchProblem, find_searcher
from nasray.searchers.evolution import Evolution
from nasray.settings import Range
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.fill import Fill
from nasray.sweeps.forecast import forecast, lines
from nasray.sweeps.learning import learners
from nasray.sweeps.options import with_options
from nasray.sweeps.run import run_sweep
from nasray.sweeps.selection import chosen
from nasray.tune.resources.room import own_resources
from tests.run_files import Row
from tests.sweep_files import gold_sweep

SIZE: dict[str, Any] = {
    **{"channels": 2, "cells": 3, "batch_size": 32, "train_examples": 96, "augmentation": "standard"},
    **{"auxiliary_weight": 0.0},
}
GOLD = Arm(
    method="gold_nas",
    space="gold",
    settings=GoldNAS.Config(**SIZE, epochs=6, stable_epochs=0, stop_macs=0.01),
    param_space={"lambda0": (0.01, 0.1)},
)
SHORT = Arm(method="random", space="gold", settings=Random.Config(**SIZE, epochs=2))
BLACK_BOX = Arm(method="evolution", space="gold", settings=Evolution.Config(evaluations=4))


def swept(**changes: Any) -> Sweep:
    fields: dict[str, Any] = dict(
        name="stopping",
        dataset="digits",
        arms=(GOLD, SHORT),
        training=Training(settings=EvaluationSettings(**SIZE, epochs=1, drop_path=0.0)),
        search_rungs=(1, 3),
    )
    return Sweep(**{**fields, **changes})


def test_rungs_lie_below_the_end_of_the_longest_search() -> None:
    assert swept().search_fidelities == (1, 3, 6)
    assert swept(search_rungs=()).search_fidelities == ()
    longer = dataclasses.replace(GOLD, param_space={"epochs": (4, 9)})
    assert swept(arms=(longer,), search_rungs=(8,)).search_fidelities == (8, 9)
    learnt = dataclasses.replace(GOLD, param_space={"epochs": Range(low=2, high=20, integer=True)}, searcher="tpe")
    (learner,) = learners(swept(arms=(learnt,), search_rungs=(8,)))
    proposing = learner.proposing(swept(arms=(learnt,), search_rungs=(8,)), (1.0, 0.1))
    assert proposing.shared.rungs == (8,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search_rungs": 5}, "search_rungs 5"),
        ({"search_rungs": (3, 1)}, r"search_rungs \(3, 1\): expected rising"),
        ({"search_rungs": (0,)}, "search_rungs 0"),
        ({"search_rungs": (1, 6)}, "search_rungs 1 6: expected epochs below the 6 of the longest search"),
        ({"search_reduction_factor": 1.0}, "search_reduction_factor 1.0"),
        ({"arms": (BLACK_BOX,)}, "no arm is of a differentiable method"),
        ({"fill": Fill(count=3)}, "Leave one of the two out"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as error:
        swept(**changes)
    assert "\n" not in str(error.value)


def test_it_survives_json_and_is_typed() -> None:
    sweep = swept(search_reduction_factor=2.5)
    assert Sweep.of(json.loads(json.dumps(sweep.to_dict()))) == sweep
    assert Sweep.of({**sweep.to_dict(), "search_rungs": [1]}).identity() != sweep.identity()
    typed = VERBS["sweep"].taken(["digits", "--search-rungs", "2", "4", "--search-reduction-factor", "2"])
    assert (typed["search_rungs"], typed["search_reduction_factor"]) == ((2, 4), 2.0)
    # Rungs and epochs that fit each other, and not what was there before.
    assert with_options(sweep, {"search_rungs": (9,), "epochs": 12}).search_fidelities == (9, 12)
    assert with_options(sweep, {"search_rungs": (1,), "epochs": 2}).search_fidelities == (1, 2)


def test_a_dry_run_says_at_most() -> None:
    sweep = swept(search_reduction_factor=2.5)
    first, *_ = lines(sweep, forecast(sweep, measured=False))
    assert first == "3 searches, at most 14 epochs in all (at 1, 3 epochs the best 1/2.5 of each method's go on)"
    first, *_ = lines(swept(search_rungs=()), forecast(swept(search_rungs=()), measured=False))
    assert first == "3 searches, 14 epochs in all"


@pytest.mark.parametrize("select", ["front", "final"])
def test_nothing_of_a_stopped_search_is_trained(candidate: Row, select: str) -> None:
    rows = pd.DataFrame(
        [
            candidate(trial_id="kept", architecture_id="a", accuracy=0.5, macs=9.0, complete=True),
            candidate(trial_id="stopped", architecture_id="b", accuracy=0.9, macs=1.0, complete=False),
        ]
    )
    sweep = swept(training=Training(select=select, within=1.0))
    assert chosen(sweep, rows)["architecture_id"].tolist() == ["a"]
    assert not len(chosen(sweep, rows[~rows["complete"]]))


def test_a_searcher_that_is_told_of_stopped_searches_proposes_others() -> None:
    problem = SearchProblem(
        space=None,
        settings={"x": Range(low=0.0, high=1.0)},
        objectives={"hypervolume": "max"},
        epochs=None,
        budget=None,
        macs=lambda architecture: 0.0,
        seed=0,
    )
    kind = find_searcher("tpe")
    searcher = kind(kind.Config(evaluations=80), problem)
    values = []
    for _ in range(80):
        proposal = searcher.ask()
        assert proposal is not None
        values.append(proposal.settings["x"])
        good = values[-1] < 0.3
        told = Feedback(state="complete", values=(1.0 - values[-1],)) if good else Feedback(state="pruned")
        searcher.tell(proposal, told)
    assert sum(value < 0.3 for value in values[40:]) > 30


def start(folder: Path, name: str, *, resume: bool = False) -> subprocess.Popen[bytes]:
    sweep = gold_sweep(
        folder,
        examples=192,
        settings={"epochs": 5, "lambda0": 1.0},
        evaluation={"epochs": 1},
        mu=(0.0, 100.0, 300.0, 30.0, 1000.0, 10.0),
        execution={"cpus_per_trial": own_resources()["CPU"]},  # one after the other, so that it repeats
        search_rungs=(2, 4),
    )
    words = ["resume", str(folder / name)] if resume else ["sweep", sweep, "--name", name, "--storage", str(folder)]
    aside = folder / "aside"
    aside.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "nasray.cli", *words]
    return subprocess.Popen(command, env={**os.environ, "TMPDIR": str(aside)}, start_new_session=True)


def stopped_searches(run: Path) -> set[str]:
    return {name for name, one in read_outcomes(open_storage(run)).items() if one.state == "stopped"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_stopped_searches_stay_so_over_a_kill_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    assert start(tmp_path, "left_alone").wait() == 0
    whole = tmp_path / "left_alone"
    stopped = stopped_searches(whole)
    candidates, epochs = nasray.load(whole, "candidates"), nasray.load(whole, "epochs")
    marked = candidates["complete"].isin([False])
    assert marked.any()  # it had given some before its rung
    assert set(candidates.loc[marked, "trial_id"]) <= stopped
    assert not set(candidates.loc[~marked, "trial_id"]) & stopped
    ends = epochs[epochs["kind"] == "search"].groupby("trial_id")["epoch"].max()
    assert ends[list(stopped)].isin([2, 4]).all()
    assert (ends.drop(list(stopped)) == 5).all()
    assert len(ends) == 6
    assert not set(nasray.load(whole)["search_trial_id"]) & stopped

    # Killed once two searches were stopped: the one after them is under way.
    driver, run = start(tmp_path, "killed"), tmp_path / "killed"
    while driver.poll() is None:
        if run.exists() and len(stopped_searches(run)) > 1:
            os.kill(driver.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    driver.wait()
    assert start(tmp_path, "killed", resume=True).wait() == 0

    assert stopped_searches(run) == stopped
    volatile = ["created_at", "seconds", "peak_memory_bytes", "run"]
    for table in ("candidates", "evaluations", "epochs", "front"):
        frames = [nasray.load(folder, table).drop(columns=volatile, errors="ignore") for folder in (run, whole)]
        pd.testing.assert_frame_equal(*frames)


@pytest.mark.slow
def test_searches_that_a_searcher_sets_are_told_as_pruned(ray_session: None, tmp_path: Path) -> None:
    arm = dataclasses.replace(
        GOLD, param_space={"lambda0": Range(low=1e-3, high=1.0, log=True)}, samples=6, searcher="tpe"
    )
    execution = Execution(storage=str(tmp_path), cpus_per_trial=1.0, trackers=("optuna",))
    sweep = swept(
        arms=(arm,),
        training=Training(select="nothing"),
        random_baseline=False,
        search_rungs=(1,),
        execution=execution,
    )
    outcome = run_sweep(sweep)
    assert not outcome.failures
    outcomes = read_outcomes(open_storage(outcome.folder))
    assert sorted(one.told or 0 for one in outcomes.values()) == [1, 2, 3, 4, 5, 6]
    states = {name: one.state for name, one in outcomes.items()}
    assert set(states.values()) == {"done", "stopped"}
    rows = nasray.load(outcome.folder, "candidates")
    assert set(rows.loc[rows["complete"].isin([False]), "trial_id"]) <= {n for n, s in states.items() if s == "stopped"}
    from nasray.tune.reports.journal import JournalFileBackend, JournalStorage, optuna

    storage = JournalStorage(JournalFileBackend(str(Path(outcome.folder) / "optuna.journal")))
    (study,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=study, storage=storage).trials
    pruned = {one.user_attrs["trial"] for one in trials if one.state.name == "PRUNED"}
    assert pruned == {name for name, state in states.items() if state == "stopped"}
    again = run_sweep(sweep)
    assert again.front.equals(outcome.front)
