"""Sweeps whose searchers are told results of other runs first."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
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
from nasray.searchers import Feedback, Proposal, Searcher, SearchProblem, rebuilt
from nasray.searchers.evolution import Evolution
from nasray.searchers.optuna import GP, NSGA2, TPE, OptunaSearcher
from nasray.settings import Range
from nasray.spaces import from_string
from nasray.sweeps import AccuracySource, Arm, Budget, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.changes import with_device
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.fill import Fill, FillingSearcher
from nasray.sweeps.gains import GainSearcher
from nasray.sweeps.learning import Learner, learners
from nasray.sweeps.learnt import keep, kept, learnt_from, lines
from nasray.sweeps.proposals import proposals
from nasray.sweeps.record import record
from nasray.sweeps.run import check_run
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
        assert trial.values == [
            pytest.approx(hypervolume(gave[["macs", "accuracy"]].reset_index(drop=True), REFERENCE))
        ]
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
    gaining = learning(tmp_path, searched, worth="gain")
    gainer = searcher_of(gaining, learners(gaining)[1], open_storage(tmp_path / "b"))
    assert isinstance(gainer, GainSearcher)
    assert [proposal.settings["lambda0"] for proposal, _ in gainer.told()] == [0.01, 0.1]


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
    assert run.list("learnt") == ("learnt/0.json", "learnt/1.json")
    # The kind of device is settled after the other runs were read.
    known = kept(with_device(sweep, "cpu"), run)
    assert list(known.values()) == list(kept(sweep, run).values())
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
    (tmp_path / "b" / "learnt" / "1.json").unlink()
    with pytest.raises(InvalidInput, match=r"learnt/\w+.json is missing: the run cannot go on without it"):
        kept(sweep, run)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": dataclasses.replace(GOLD.settings, epochs=2)},
            r"differs in epochs \(its search has 1, this command 2\)",
        ),
        (
            {"settings": dataclasses.replace(GOLD.settings, split_seed=3, learning_rate=0.2)},
            r"learning_rate \(its search has 0.1, this command 0.2\), split_seed \(its search has 0, this command 3\)",
        ),
        (
            {"param_space": {"lambda0": Range(low=0.95, high=1.0), "mu": (30.0,)}},
            "nothing in it can be told: 3 outside of its",
        ),
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


def test_with_retrained_worth_it_is_refused(tmp_path: Path) -> None:
    training = Training(settings=EvaluationSettings(**SIZE, drop_path=0.0))
    with pytest.raises(InvalidInput, match=r"^learn_from with worth_by retrained"):
        learning(tmp_path, tmp_path / "a", worth_by="retrained", training=training)


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
    with pytest.raises(InvalidInput, match="it has no finished search to tell of"):
        check_run(learning(tmp_path, stopped))


def test_filling_knows_the_searches_of_other_runs_by_the_knob_alone(searched: Storage, tmp_path: Path) -> None:
    arm = dataclasses.replace(GOLD, searcher="latin", samples=1, param_space={"mu": (30.0,)})
    (knob,) = (learner.chosen for learner in learners(learning(tmp_path, arm=arm, fill=Fill(at=(0.1,)))))
    assert list(knob) == ["lambda0"]
    sweep = learning(tmp_path, searched, arm=arm, fill=Fill(at=(0.1,)))
    found = searcher_of(sweep, learners(sweep)[0], open_storage(tmp_path / "b"))
    assert isinstance(found, FillingSearcher)
    assert not found.fillings[0].met()


OPERATIONS = ("none", "skip_connect", "nor_conv_3x3")


@pytest.fixture(scope="module")
def looked_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Storage]:
    """A sweep by evolution over a table of 729 cells, and the run of eight look-ups."""
    folder = tmp_path_factory.mktemp("looked_up")
    draw = np.random.default_rng(0)
    cells = [
        f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|" for a, b, c, d, e, f in itertools.product(OPERATIONS, repeat=6)
    ]
    columns = {"cifar10_test_acc_12": draw.uniform(20, 60, 729), "cifar10_test_acc_200": draw.uniform(60, 94, 729)}
    pd.DataFrame({"arch": cells, **columns}).to_parquet(folder / "made_up.parquet")
    sweep = Sweep(
        name="a",
        dataset="cifar10",
        arms=(Arm(method="evolution", space="nas_bench_201", settings=Evolution.Config(evaluations=8, initial=4)),),
        table=AccuracySource(path=str(folder / "made_up.parquet"), columns=("cifar10_test_acc_200=200",)),
        reference=(221.0, 0.3),
        random_baseline=False,
        execution=Execution(storage=str(folder)),
    )
    run = begun(sweep, folder / "a")
    (one,) = proposals(sweep)
    shared, cells_drawn = one.proposing(sweep).shared, 0
    while cells_drawn < 8:
        six = draw.choice(OPERATIONS, 6)
        cell = f"|{six[0]}~0|+|{six[1]}~0|{six[2]}~1|+|{six[3]}~0|{six[4]}~1|{six[5]}~2|"
        finish(proposed(shared, from_string(one.cell_space, cell), {}), run)
        cells_drawn += 1
    return sweep, run


def test_networks_of_another_run_are_told_to_a_black_box_searcher(
    looked_up: tuple[Sweep, Storage], tmp_path: Path
) -> None:
    first, run = looked_up
    arms = (
        Arm(method="tpe", space="nas_bench_201", settings=TPE.Config(evaluations=12)),
        Arm(method="evolution", space="nas_bench_201", settings=Evolution.Config(evaluations=12, initial=4)),
    )
    sweep = dataclasses.replace(first, name="b", arms=arms, learn_from=(run,), seeds=(3,), random_baseline=True)
    learnt = learnt_from(sweep, open_storage(tmp_path / "b"))
    assert [line.partition(";")[0] for line in lines(learnt.summary)] == [
        "8 results of a are told first to tpe on nas_bench_201",
        "8 results of a are told first to evolution on nas_bench_201",
    ]
    tpe, evolution, baseline = proposals(sweep)
    first_known, second_known = learnt.results
    assert not baseline.learns  # a random search stands for itself
    rows = nasray.load(str(run)).sort_values("created_at")
    made = tpe.proposing(sweep, first_known).searcher([])
    assert isinstance(made, OptunaSearcher)
    assert [trial.values for trial in made.study.trials] == rows[["accuracy", "macs"]].to_numpy().tolist()
    again = evolution.proposing(sweep, second_known).searcher([])
    assert isinstance(again, Evolution)
    assert [one.architecture.id for one in again.population if one.architecture] == rows["architecture_id"].tolist()
    # Above the budget nothing is told, and what is one network of several seeds is told once.
    budget = float(rows["macs"].median())
    within = learnt_from(dataclasses.replace(sweep, budget=Budget(budget)), open_storage(tmp_path / "b"))
    assert len(within.results[0]) == int((rows["macs"] <= budget).sum())


def test_look_ups_of_another_fidelity_are_refused(looked_up: tuple[Sweep, Storage], tmp_path: Path) -> None:
    first, run = looked_up
    assert first.table is not None
    other = dataclasses.replace(first.table, columns=("cifar10_test_acc_12=12",))
    sweep = dataclasses.replace(first, name="b", table=other, learn_from=(str(run),))
    with pytest.raises(InvalidInput, match="What is nearest differs in columns") as error:
        learnt_from(sweep, open_storage(tmp_path / "b"))
    assert "\n" not in str(error.value)


def test_trainings_are_told_with_the_settings_that_the_arm_proposes(tmp_path: Path) -> None:
    rate = Range(low=0.01, high=0.2, log=True)
    arm = Arm(
        method="evolution", space="darts", settings=Evolution.Config(), param_space={"training.learning_rate": rate}
    )
    settings = EvaluationSettings(**SIZE, drop_path=0.0)
    sweep = learning(tmp_path, arm=arm, name="a", training=Training(settings=settings))
    run = begun(sweep, tmp_path / "a")
    (one,) = proposals(sweep)
    shared, made = one.proposing(sweep).shared, one.searcher(sweep)
    asked = [made.ask() for _ in range(2)]
    for proposal, changed in zip(asked, ({}, {"training.learning_rate": 0.5}), strict=True):
        assert proposal is not None
        finish(proposed(shared, proposal.architecture, {**proposal.settings, **changed}), run)
    sweep = dataclasses.replace(sweep, name="b", learn_from=(str(run),))
    ((known,),) = learnt_from(sweep, open_storage(tmp_path / "b")).results
    assert Proposal.of(known[0], one.cell_space).key == asked[0].key
    assert (
        known[1]["accuracy"] == nasray.load(str(run)).set_index("architecture_id")["accuracy"][asked[0].architecture.id]
    )
    for changes, said in (
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"epochs": 2}, "epochs"),
        ({"validation_fraction": 0.3}, "validation_fraction"),
    ):
        other = dataclasses.replace(sweep, training=Training(settings=dataclasses.replace(settings, **changes)))
        with pytest.raises(InvalidInput, match=rf"differs in {said} \(its training has"):
            learnt_from(other, open_storage(tmp_path / "b"))


@pytest.mark.parametrize("kind", [TPE, GP, NSGA2, Evolution])
def test_what_is_told_first_counts_as_start_up_trials(kind: type[Searcher]) -> None:
    within = {"x": Range(low=0.0, high=1.0), "y": Range(low=0.0, high=1.0)}
    problem = SearchProblem(
        **{"space": None, "settings": within, "objectives": {"worth": "max"}, "epochs": None, "budget": None},
        **{"macs": lambda _: 0.0, "seed": 0},
    )
    draw = np.random.default_rng(0)
    points = draw.random((40, 2)).tolist()
    told = [
        (Proposal(None, {"x": x, "y": y}), Feedback(state="complete", values=(-((x - 0.9) ** 2) - (y - 0.9) ** 2,)))
        for x, y in points
    ]
    made = rebuilt(kind, kind.Config(evaluations=80), problem, told)
    asked = [made.ask().settings for _ in range(4)]  # type: ignore[union-attr]
    if kind is NSGA2:  # whose children have values of their parents
        assert {one["x"] for one in asked} & {x for x, _ in points}
        return
    # At random, four points lie on average 0.6 from the best.
    assert np.mean([math.hypot(one["x"] - 0.9, one["y"] - 0.9) for one in asked]) < 0.35


def test_it_survives_json_and_a_command_repeats_it(searched: Storage, tmp_path: Path) -> None:
    sweep = learning(tmp_path, searched)
    assert Sweep.of(json.loads(json.dumps(sweep.to_dict()))) == sweep
    typed = [
        "sweep",
        "digits",
        "--searcher",
        "tpe",
        "--draws",
        "3",
        "--lambda0",
        "1e-3:1e-1:log",
        "--learn-from",
        "a",
        str(searched),
    ]
    options = VERBS["sweep"].taken([*typed[1:], "--storage", str(Path(str(searched)).parent)])
    options.pop("sweep")
    found = nasray.sweeps.made.sweep_of(nasray.registry.find("sweep", "digits", Sweep), options)
    assert found.learn_from == (str(searched),)  # twice the same
    words = command_of(found, Source(name="digits", options=options))["command"]
    assert words[words.index("--learn-from") + 1] == str(searched)
