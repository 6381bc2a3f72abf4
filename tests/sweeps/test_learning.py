"""Searches whose settings a searcher chooses by what the searches before were worth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray import registry
from nasray.cli.all_verbs import VERBS
from nasray.errors import InvalidInput
from nasray.fronts import hypervolume
from nasray.methods.entrannas import EnTranNASDST
from nasray.methods.gold_nas import GoldNAS
from nasray.runs import open_storage
from nasray.runs.outcomes import Outcome, compact_outcomes, read_outcomes, write_outcome
from nasray.searchers import Feedback, Proposal
from nasray.searchers.evolution import Evolution
from nasray.settings import Choice, Range
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.changes import with_device
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.fill import Fill
from nasray.sweeps.forecast import forecast
from nasray.sweeps.learning import learners, worth_of
from nasray.sweeps.made import sweep_of
from nasray.sweeps.proposals import proposals
from nasray.sweeps.retraining import late
from nasray.sweeps.run import run_sweep
from nasray.trials.fidelity import Fidelity
from nasray.trials.rows import knob_columns
from nasray.tune.phase import Phase

SIZE: dict[str, Any] = {
    **{"channels": 2, "cells": 3, "batch_size": 32, "train_examples": 96, "augmentation": "standard"},
    **{"auxiliary_weight": 0.0},
}
GOLD = Arm(
    method="gold_nas",
    space="gold",
    settings=GoldNAS.Config(**SIZE, epochs=3, learning_rate=0.1, stable_epochs=0, stop_macs=0.01),
    param_space={"lambda0": Range(low=1e-3, high=1.0, log=True), "mu": (0.0, 30.0)},
    samples=4,
    searcher="tpe",
)

JOINT = dataclasses.replace(
    GOLD,
    param_space={
        "lambda0": GOLD.param_space["lambda0"],
        "training.learning_rate": Range(low=0.01, high=0.2, log=True),
        "training.batch_size": Range(low=16, high=48, integer=True),
        "training.weight_decay": (1e-3,),
    },
    samples=3,
)


def swept(storage: Path | str = "runs", **changes: Any) -> Sweep:
    fields: dict[str, Any] = dict(
        name="learnt",
        dataset="digits",
        arms=(GOLD,),
        training=Training(select="nothing", settings=EvaluationSettings(**SIZE, epochs=1, drop_path=0.0)),
        random_baseline=False,
        execution=Execution(storage=str(storage), cpus_per_trial=1.0),
    )
    return Sweep(**{**fields, **changes})


def test_each_seed_and_combination_of_tuples_has_a_learner() -> None:
    sweep = swept(seeds=(0, 1))
    found = learners(sweep)
    assert [(*one.seeds, one.settings.mu) for one in found] == [(0, 0.0), (0, 30.0), (1, 0.0), (1, 30.0)]  # type: ignore[attr-defined]
    assert len({one.name for one in found}) == 4
    assert sweep.searches() == []
    assert forecast(sweep, measured=False).searches == 16
    latin = dataclasses.replace(sweep, arms=(dataclasses.replace(GOLD, searcher="latin"),))
    assert learners(latin) == []
    assert len(latin.searches()) == 16


def test_it_survives_json_and_a_command_repeats_it() -> None:
    sweep = swept()
    assert Sweep.of(json.loads(json.dumps(sweep.to_dict()))) == sweep
    typed = ["sweep", "digits", "--searcher", "tpe", "--draws", "16", "--lambda0", "1e-3:1e-1:log"]
    typed += [
        "--channels",
        "2",
        "--worth",
        "final",
        "--worth-by",
        "retrained",
        "--schedule",
        "constant,cosine",
        "--batch-size",
        "16:96",
    ]
    options = VERBS["sweep"].taken(typed[1:])
    assert options["lambda0"] == Range(low=1e-3, high=0.1, log=True)
    assert options["schedule"] == Choice(("constant", "cosine"))
    assert options["batch_size"] == Range(low=16, high=96, integer=True)
    options.pop("sweep")
    found = sweep_of(registry.find("sweep", "digits", Sweep), options)
    assert found.worth_by == "retrained"
    (arm,) = found.arms
    assert (arm.searcher, arm.samples, found.worth) == ("tpe", 16, "final")
    assert set(arm.param_space) == {"lambda0", "mu", "schedule", "batch_size"}
    words = command_of(found, Source(name="digits", options=options))["command"]
    again = VERBS["sweep"].taken(words[2:])
    again.pop("sweep")
    assert sweep_of(registry.find("sweep", "digits", Sweep), again).identity() == found.identity()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"searcher": "tpo"}, "searcher 'tpo': expected one of latin, "),
        ({"param_space": {"mu": (0.0, 1.0)}, "samples": 1}, "varies nothing|without ranges: give one"),
        ({"param_space": {"lambda0": Range(low=0.1, high=1.0, when=("mu", 1.0))}}, "when mu is 1.0: expected another"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as error:
        dataclasses.replace(GOLD, **changes)
    assert "\n" not in str(error.value)


def test_a_black_box_searcher_proposes_settings_of_the_training_too() -> None:
    rate = Range(low=0.01, high=0.2, log=True)
    space = {"training.learning_rate": rate, "training.weight_decay": (1e-4, 1e-3)}
    arm = Arm(method="evolution", space="darts", settings=Evolution.Config(evaluations=6), param_space=space)
    sweep = swept(arms=(arm,), random_baseline=True, training=Training(settings=EvaluationSettings(**SIZE, epochs=1)))
    searches = proposals(sweep)
    assert [one.method for one in searches] == ["evolution", "evolution", "random_search"]
    assert all(one.drawn == {"training.learning_rate": rate} for one in searches)
    proposal = searches[0].searcher(sweep).ask()
    assert proposal is not None
    settings = sweep.training.settings
    trained = dataclasses.replace(
        settings, learning_rate=proposal.settings["training.learning_rate"], weight_decay=1e-3
    )
    assert json.dumps(trained.to_dict()) in sweep.fidelity
    assert json.dumps(dataclasses.replace(trained, epochs=2).to_dict()) not in sweep.fidelity
    assert json.dumps(dataclasses.replace(trained, weight_decay=0.5).to_dict()) not in sweep.fidelity
    with pytest.raises(InvalidInput, match=r"^samples 3 of searcher evolution: expected 1"):
        dataclasses.replace(arm, samples=3)
    with pytest.raises(InvalidInput, match=r"^population of searcher evolution over a range: give a tuple"):
        dataclasses.replace(arm, param_space={"population": Range(low=5, high=9, integer=True)})


def test_which_trainings_share_a_front() -> None:
    base = json.dumps({"epochs": 3, "learning_rate": 0.1})
    column = pd.Series([base, json.dumps({"epochs": 3, "learning_rate": 0.2}), "no JSON", "[1]"])
    assert Fidelity((base,)).holds(column).tolist() == [True, False, False, False]
    assert Fidelity((base,), drawn=("learning_rate",)).holds(column).tolist() == [True, True, False, False]


def test_what_a_search_is_worth() -> None:
    gave = [(4.0, 0.9), (2.0, 0.8), (1.0, 0.2)]
    whole = worth_of("hypervolume", (5.0, 0.1), None)(gave)["hypervolume"]
    assert whole == pytest.approx(1 * 0.8 + 2 * 0.7 + 1 * 0.1)
    assert whole == pytest.approx(hypervolume(pd.DataFrame(gave, columns=["macs", "accuracy"]), (5.0, 0.1)))
    assert worth_of("hypervolume", (5.0, 0.1), 3.0)(gave)["hypervolume"] == pytest.approx(3 * 0.7 + 1 * 0.1)
    assert worth_of("hypervolume", (5.0, 0.1), 0.5)(gave) == {"hypervolume": 0.0}
    assert worth_of("final", (5.0, 0.1), None)(gave) == {"accuracy": 0.2, "macs": 1.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": (dataclasses.replace(GOLD, searcher="latin"),)}, "no searcher learns here"),
        ({"training": Training(select="nothing")}, "with training.select nothing: select front or final"),
        ({"arms": (JOINT,), "worth_by": "inherited"}, r"^training.learning_rate with searcher tpe: searches are worth"),
        ({"worth_by": "trained"}, "worth_by 'trained': expected inherited or retrained"),
    ],
)
def test_what_retraining_cannot_tell_is_refused(changes: dict[str, Any], said: str) -> None:
    given = {"training": Training(settings=EvaluationSettings(**SIZE, epochs=1)), "worth_by": "retrained"}
    with pytest.raises(InvalidInput, match=said):
        swept(**{**given, **changes})


def test_what_filling_chooses_is_a_column_of_its_rows() -> None:
    settings = EnTranNASDST.Config(**SIZE, epochs=3)
    sweep = swept(arms=(Arm(method="entrannas_dst", space="darts", settings=settings),), fill=Fill(count=3))
    assert sweep.varied == ["beta"]
    assert knob_columns(settings, sweep.varied)["beta"] == settings.beta


def test_a_search_that_ended_as_its_driver_was_killed_is_told_all_the_same(tmp_path: Path) -> None:
    from nasray.tune.proposing import Proposed

    arm = dataclasses.replace(GOLD, param_space={"lambda0": Range(low=0.1, high=1.0)})
    sweep = with_device(swept(arms=(arm,)), "cpu")
    (learner,) = learners(sweep)
    storage = open_storage(tmp_path)
    proposing = learner.proposing(sweep, (1.0, 0.1))
    phase = Phase(name="learnt", kind="searches", run="learnt", dataset="digits", proposing=proposing)
    for value, number in ((0.5, 1), (0.2, None), (0.7, None)):
        proposal = Proposal(None, {"lambda0": value})
        trial = Proposed(phase, storage).trial(proposal)
        gave = Outcome(
            state="done", digest=trial.digest, epoch=3, points=((0.5, value),), proposal=proposal.key, told=number
        )
        write_outcome(storage, trial.name, gave)
    compact_outcomes(storage)
    for _ in range(2):
        search = Proposed(phase, storage).search()
        assert (search.told, search.distinct) == (3, 3)
        outcomes = read_outcomes(storage).values()
        assert sorted(one.told or 0 for one in outcomes) == [1, 2, 3]
        assert {one.told for one in outcomes if one.points == ((0.5, 0.5),)} == {1}


@pytest.mark.slow
def test_a_searcher_is_told_late_what_retrained_networks_came_to(ray_session: None, tmp_path: Path) -> None:
    training = Training(select="final", settings=EvaluationSettings(**SIZE, epochs=1, drop_path=0.0))
    sweep = swept(tmp_path, arms=(JOINT,), worth_by="retrained", training=training)
    outcome = run_sweep(sweep)
    assert not outcome.failures
    candidates, evaluations = (nasray.load(outcome.folder, table) for table in ("candidates", "evaluations"))
    assert sorted(candidates.groupby("trial_id")["told"].first()) == [1, 2, 3]
    last = candidates.sort_values(["epoch", "snapshot"]).groupby("told").last()
    begun = candidates.groupby("told")["created_at"].min()
    trained = {
        number: evaluations[
            (evaluations["architecture_id"] == row["architecture_id"])
            & (evaluations["training.learning_rate"] == row["training.learning_rate"])
        ]
        for number, row in last.iterrows()
    }
    for number, row in last.iterrows():
        (settings,) = map(json.loads, trained[number]["settings"])
        assert settings["batch_size"] == row["training.batch_size"]
        assert (settings["learning_rate"], settings["weight_decay"]) == (row["training.learning_rate"], 1e-3)
        assert number == 3 or trained[number]["created_at"].iloc[0] < begun[number + 1]
    assert set(outcome.front["architecture_id"]) <= set(evaluations["architecture_id"])
    points = {number: (rows["macs"].iloc[0], rows["accuracy"].iloc[0]) for number, rows in trained.items()}
    for number, (_, feedback) in enumerate(_told(sweep, outcome), start=1):
        assert set(feedback.points) == {points[number]}


def _told(sweep: Sweep, outcome: Any) -> list[tuple[Proposal, Feedback]]:
    """What the searcher of a finished sweep would be told, were there a further round."""
    sweep = with_device(sweep, "cpu")
    (learner,) = learners(sweep)
    told: list[tuple[Proposal, Feedback]] = []

    def noted(results: Any, under_way: Any) -> Any:
        told[:] = results
        return learner.searcher(sweep, outcome.reference, results, under_way)

    from nasray.tune.proposing import Proposed

    proposing = dataclasses.replace(learner.proposing(sweep, outcome.reference), searcher=noted, late=late(sweep, 3))
    phase = Phase(name="again", kind="searches", run=sweep.name, dataset="digits", proposing=proposing)
    Proposed(phase, open_storage(outcome.folder)).search()
    return told


@pytest.mark.slow
def test_searches_are_told_and_a_finished_run_is_found_done(ray_session: None, tmp_path: Path) -> None:
    arm = dataclasses.replace(GOLD, param_space={"lambda0": GOLD.param_space["lambda0"]}, samples=5)
    sweep = swept(tmp_path, arms=(arm,), worth="gain", execution=Execution(storage=str(tmp_path), cpus_per_trial=1.0))
    outcome = run_sweep(sweep)
    assert not outcome.failures
    rows = nasray.load(outcome.folder, "candidates")
    told = rows.groupby("trial_id")["told"].first()
    assert sorted(told) == [1, 2, 3, 4, 5]
    assert rows.groupby("trial_id")["lambda0"].first().nunique() == 5
    storage = open_storage(outcome.folder)
    phases = storage.list("phases", ".json")
    assert len(phases) == 1
    before = {name: storage.read_bytes(name) for name in storage.list("trials")}
    again = run_sweep(sweep)
    assert again.front.equals(outcome.front)
    assert {name: storage.read_bytes(name) for name in storage.list("trials")} == before
