"""Sweeps whose searchers are told results of other runs first."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nasray
from nasray.cli.all_verbs import VERBS
from nasray.errors import InvalidInput
from nasray.fronts import hypervolume
from nasray.methods.gold_nas import GoldNAS
from nasray.runs import Storage, open_storage
from nasray.runs.identity import check_new
from nasray.runs.outcomes import read_outcomes, write_outcome
from nasray.searchers import Proposal, Searcher
from nasray.searchers.evolution import Evolution
from nasray.searchers.optuna import TPE, OptunaSearcher
from nasray.settings import Choice, Range
from nasray.sweeps import AccuracySource, Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.changes import with_device
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.fill import Fill, FillingSearcher
from nasray.sweeps.learning import Learner, learners
from nasray.sweeps.learnt import keep, kept, learnt_from, lines
from nasray.sweeps.proposals import proposals
from nasray.sweeps.record import record
from nasray.sweeps.run import check_run, run_sweep
from nasray.trials.running import RunningTrial
from nasray.trials.trial import SearchTrial, Trial, proposed

SIZE: dict[str, Any] = {
    **{"channels": 2, "cells": 3, "batch_size": 32, "train_examples": 64, "augmentation": "standard"},
    **{"auxiliary_weight": 0.0, "epochs": 1},
}
STRENGTH = Range(low=1e-3, high=0.5, log=True)
GOLD = Arm(
    method="gold_nas",
    space="gold",
    settings=GoldNAS.Config(**SIZE, learning_rate=0.1, stable_epochs=0, stop_macs=0.01),
    param_space={"lambda0": STRENGTH, "mu": (0.0, 30.0)},
    samples=4,
    searcher="tpe",
)
REFERENCE = (0.5, 0.1)


def learning(storage: Path, *others: Storage | str, arm: Arm = GOLD, **changes: Any) -> Sweep:
    fields: dict[str, Any] = dict(
        name="b",
        dataset="digits",
        arms=(arm,),
        reference=REFERENCE,
        learn_from=tuple(map(str, others)),
        training=Training(select="nothing", settings=EvaluationSettings(**SIZE, drop_path=0.0)),
        random_baseline=False,
        execution=Execution(storage=str(storage)),
    )
    return Sweep(**{**fields, **changes})


def begun(sweep: Sweep, folder: Path) -> Storage:
    run = open_storage(folder)
    record(with_device(sweep, "cpu"), run, REFERENCE, "cpu", None, learnt_from(sweep, run))
    return run


def finish(trial: Trial, run: Storage) -> dict[str, Any]:
    running = RunningTrial(trial, run, lambda *_, **__: None)
    while not (report := running.step())["done"]:
        pass
    return report


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A run of a grid on the same method: two searches with mu 30, one of them outside of the range, one with mu 0."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    arm = dataclasses.replace(GOLD, searcher="latin", samples=1, param_space={"mu": (0.0, 30.0)})
    sweep = learning(folder.parent, arm=arm, name="a")
    run = begun(sweep, folder)
    for lambda0, mu, seed in ((0.01, 30.0, 7), (0.1, 30.0, 0), (0.9, 30.0, 0), (0.1, 0.0, 0)):
        settings = dataclasses.replace(GOLD.settings, lambda0=lambda0, mu=mu)
        finish(SearchTrial(run="a", config=with_device(sweep, "cpu").search_config(arm, settings, seed)), run)
    return run


def searcher_of(sweep: Sweep, learner: Learner, run: Storage) -> Searcher:
    keep(learnt_from(sweep, run), run)
    return learner.proposing(sweep, REFERENCE, kept(sweep, run)[learner.name]).searcher([])


def test_searches_that_compare_are_told_first_with_what_they_are_worth_here(searched: Storage, tmp_path: Path) -> None:
    sweep = learning(tmp_path, searched)
    without, with_mu = learners(sweep)
    found = searcher_of(sweep, with_mu, open_storage(tmp_path / "b"))
    assert isinstance(found, OptunaSearcher)
    rows = nasray.load(str(searched), "candidates")
    rows = rows[rows["settings"].str.contains('"mu": 30.0')]
    for trial, lambda0 in zip(found.study.trials, (0.01, 0.1), strict=True):
        gave = rows[rows["lambda0"] == lambda0]
        assert trial.params == {"lambda0": lambda0}
        assert trial.values == [pytest.approx(hypervolume(gave[["macs", "accuracy"]].reset_index(drop=True), REFERENCE))]
    other = searcher_of(sweep, without, open_storage(tmp_path / "b"))
    assert isinstance(other, OptunaSearcher)
    assert [trial.params for trial in other.study.trials] == [{"lambda0": 0.1}]
    # They count for the searcher alone, and are said: in a dry run, and in run.json.
    said = ["3 results of a are told first to tpe for gold_nas on gold; not told: 1 outside of its ranges"]
    assert check_run(sweep) == said
    run = begun(sweep, tmp_path / "b")
    assert list(lines(run.read_json("run.json")["learnt"])) == said
    assert with_mu.proposing(sweep, REFERENCE).evaluations == 4


def test_the_objectives_are_those_of_the_sweep_that_learns(searched: Storage, tmp_path: Path) -> None:
    sweep = learning(tmp_path, searched, worth="final", arm=dataclasses.replace(GOLD, searcher="nsga2"))
    found = searcher_of(sweep, learners(sweep)[1], open_storage(tmp_path / "b"))
    assert isinstance(found, OptunaSearcher)
    rows = nasray.load(str(searched), "candidates").sort_values(["epoch", "snapshot"])
    last = rows[(rows["lambda0"] == 0.01)].iloc[-1]
    assert found.study.trials[0].values == [last["accuracy"], last["macs"]]


def test_what_a_run_began_with_stays_when_the_other_moves_and_grows(searched: Storage, tmp_path: Path) -> None:
    other = tmp_path / "a"
    shutil.copytree(str(searched), other)
    sweep = learning(tmp_path, str(other))
    learner = learners(sweep)[1]
    run = open_storage(tmp_path / "b")
    # Killed before run.json was there, with more in the folder than the next start has.
    run.write_json("learnt/of_another.json", {"results": []})
    keep(learnt_from(sweep, run), run)
    check_new(run)
    begun(sweep, tmp_path / "b")
    assert sorted(run.list("learnt")) == sorted(f"learnt/{one.name}.json" for one in learners(sweep))
    known = kept(sweep, run)

    def proposes() -> list[Any]:
        made = learner.proposing(sweep, REFERENCE, kept(sweep, run)[learner.name]).searcher([])
        return [made.ask().settings for _ in range(5)]

    before = proposes()
    shutil.rmtree(other)
    moved = learning(tmp_path, tmp_path / "elsewhere" / "a")
    assert moved.identity() == sweep.identity()
    check_run(moved)
    assert kept(moved, run) == known
    assert proposes() == before
    (tmp_path / "b" / "learnt" / f"{learner.name}.json").unlink()
    with pytest.raises(InvalidInput, match=r"learnt/\w+.json is missing: without it the run cannot go on"):
        kept(sweep, run)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": dataclasses.replace(GOLD.settings, epochs=2)},
            r"differs in epochs \(the run has 1, this command 2\)",
        ),
        (
            {"settings": dataclasses.replace(GOLD.settings, split_seed=3, learning_rate=0.2)},
            r"learning_rate \(the run has 0.1, this command 0.2\), split_seed \(the run has 0, this command 3\)",
        ),
        ({"param_space": {"lambda0": Range(low=0.95, high=1.0), "mu": (30.0,)}}, "nothing in it can be told: 3 outside of its"),
        ({"searcher": "random_search"}, "choose without being told anything"),
        ({"searcher": "latin"}, "choose without being told anything"),
    ],
)
def test_a_run_of_which_nothing_compares_is_refused(
    searched: Storage, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as error:
        check_run(learning(tmp_path, searched, arm=dataclasses.replace(GOLD, **changes)))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_run_itself_no_run_and_unfinished_searches_are_refused(searched: Storage, tmp_path: Path) -> None:
    itself = learning(Path(str(searched)).parent, searched, name="a")
    with pytest.raises(InvalidInput, match="is the run itself"):
        learnt_from(itself, searched)
    with pytest.raises(InvalidInput, match="no run lies there"):
        check_run(learning(tmp_path, tmp_path / "nothing"))
    shutil.copytree(str(searched), tmp_path / "a")
    stopped = open_storage(tmp_path / "a")
    for name, outcome in read_outcomes(stopped).items():
        write_outcome(stopped, name, dataclasses.replace(outcome, state="lost"))
    with pytest.raises(InvalidInput, match="it has no finished search or training to tell of"):
        check_run(learning(tmp_path, stopped))


def test_filling_knows_the_searches_of_other_runs_by_the_knob_alone(searched: Storage, tmp_path: Path) -> None:
    arm = dataclasses.replace(GOLD, searcher="latin", samples=1, param_space={"mu": (30.0,)})
    (knob,) = (learner.chosen for learner in learners(learning(tmp_path, arm=arm, fill=Fill(at=(0.1,)))))
    if "lambda0" not in knob:
        pytest.skip(f"its knob is {list(knob)}")
    sweep = learning(tmp_path, searched, arm=arm, fill=Fill(at=(0.1,)))
    found = searcher_of(sweep, learners(sweep)[0], open_storage(tmp_path / "b"))
    assert isinstance(found, FillingSearcher)
    assert not found.filling.met()


def test_it_survives_json_and_a_command_repeats_it(searched: Storage, tmp_path: Path) -> None:
    sweep = learning(tmp_path, searched)
    assert Sweep.of(json.loads(json.dumps(sweep.to_dict()))) == sweep
    typed = ["sweep", "digits", "--searcher", "tpe", "--lambda0", "1e-3:1e-1:log", "--learn-from", "a", str(searched)]
    options = VERBS["sweep"].taken([*typed[1:], "--storage", str(Path(str(searched)).parent)])
    options.pop("sweep")
    found = nasray.sweeps.made.sweep_of(nasray.registry.find("sweep", "digits", Sweep), options)
    assert found.learn_from == (str(searched),)  # twice the same
    words = command_of(found, Source(name="digits", options=options))["command"]
    assert words[words.index("--learn-from") + 1] == str(searched)
