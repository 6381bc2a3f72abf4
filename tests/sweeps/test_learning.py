"""Searches whose settings a searcher chooses by what the searches before were worth."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nasray
from nasray import registry
from nasray.cli.all_verbs import VERBS
from nasray.costs import Budget
from nasray.errors import InvalidInput
from nasray.fronts import hypervolume
from nasray.methods.entrannas import EnTranNASDST
from nasray.methods.gold_nas import GoldNAS
from nasray.runs import CANDIDATES, open_storage, write_row
from nasray.runs.outcomes import Outcome, compact_outcomes, read_outcomes, write_outcome
from nasray.searchers import Feedback, Proposal
from nasray.searchers.evolution import Evolution
from nasray.settings import Choice, Range
from nasray.spaces.encoding import decode, parameters, sample
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.changes import with_device
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.fill import Fill
from nasray.sweeps.forecast import forecast
from nasray.sweeps.learning import learners, worth_of
from nasray.sweeps.made import sweep_of
from nasray.sweeps.proposals import proposals
from nasray.sweeps.retraining import found_trainings, late
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


def test_a_filled_front_is_filled_for_every_seed_by_one_model() -> None:
    sweep = with_device(swept(arms=(dataclasses.replace(GOLD, param_space={}, samples=1, searcher="latin"),)), "cpu")
    sweep = dataclasses.replace(sweep, fill=Fill(count=4, searches=12), seeds=(3, 7))
    (learner,) = learners(sweep)
    assert learner.searches == 24

    def cost(strength: float) -> float:
        return float(100 * strength ** (-1 / 3))

    searcher: Any = learner.searcher(sweep, (1.0, 0.1))
    told: list[tuple[Proposal, Feedback]] = []
    searched: dict[int, list[float]] = {}
    while (proposal := searcher.ask()) is not None:
        value, seed = proposal.settings["lambda0"], proposal.settings["seed"]
        searched.setdefault(seed, []).append(value)
        told.append((proposal, Feedback(state="complete", values=(1.0,), points=((cost(value), 0.9),))))
        searcher.tell(*told[-1])
    assert set(searched) == {3, 7}
    one, other = searcher.fillings
    assert one.targets == other.targets == pytest.approx(np.geomspace(100, 100 * 1e5 ** (1 / 3), 4))
    assert not one.unmet()
    assert not other.unmet()
    # The ends of the range, and all that lies between, are known from the first seed.
    assert len(searched[7]) == 4 <= len(searched[3])
    assert searcher.notes() == ["seed 3: 4 of 4 targets met", "seed 7: 4 of 4 targets met"]
    again: Any = learner.searcher(sweep, (1.0, 0.1), told[:-2], [told[-1][0]])
    assert again.ask() == told[-2][0]


def test_a_search_above_the_budget_fills_nothing() -> None:
    sweep = with_device(swept(arms=(dataclasses.replace(GOLD, param_space={}, samples=1, searcher="latin"),)), "cpu")
    sweep = dataclasses.replace(sweep, fill=Fill(at=(0.2,)), budget=Budget(0.205))
    searcher: Any = learners(sweep)[0].searcher(sweep, (1.0, 0.1))
    proposal = searcher.ask()
    searcher.tell(proposal, Feedback(state="complete", values=(1.0,), points=((0.208, 0.9),)))
    assert searcher.notes()[0] == "0 of 1 targets met"


def test_a_round_with_repeated_proposals_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    from nasray.tune.proposing import Proposed

    arm = dataclasses.replace(GOLD, param_space={"lambda0": Choice((0.1, 0.2, 0.3))}, samples=8)
    sweep = with_device(swept(arms=(arm,)), "cpu")
    (learner,) = learners(sweep)
    storage = open_storage(tmp_path)
    proposing = dataclasses.replace(learner.proposing(sweep, (1.0, 0.1)), late=late(sweep, 4), evaluations=8)
    phase = Phase(name="round", kind="searches", run="learnt", dataset="digits", proposing=proposing)
    # Of the four proposals of the first round two were the same, and the driver was killed in the second.
    for value, number in ((0.1, 1), (0.2, 2), (0.3, None)):
        proposal = Proposal(None, {"lambda0": value})
        trial = Proposed(phase, storage).trial(proposal)
        gave = Outcome(state="done", digest=trial.digest, epoch=3, points=((0.5, value),), proposal=proposal.key)
        write_outcome(storage, trial.name, dataclasses.replace(gave, told=number))
    told: list[Any] = []

    def noted(results: Any, under_way: Any) -> Any:
        told[:] = [(proposal.settings["lambda0"], feedback.state) for proposal, feedback in results]
        return learner.searcher(sweep, (1.0, 0.1), results, under_way)

    noting = dataclasses.replace(phase, proposing=dataclasses.replace(proposing, searcher=noted))
    search = Proposed(noting, storage).search()
    assert [value for value, _ in told] == [0.1, 0.2]
    assert {one.told for one in read_outcomes(storage).values()} == {1, 2, 5}
    assert search.told == 5


def test_the_final_architecture_of_a_search_is_retrained_where_that_is_what_it_is_worth(
    candidate: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    training = Training(select="front", settings=EvaluationSettings(**SIZE, epochs=1, drop_path=0.0))
    arm = dataclasses.replace(JOINT, param_space={"lambda0": Range(low=0.1, high=1.0)})
    sweep = with_device(swept(tmp_path, arms=(arm,), worth_by="retrained", training=training), "cpu")
    storage, space = open_storage(tmp_path / "run"), arm.cell_space
    settings = json.dumps(sweep.search_config(arm, arm.settings).to_dict())
    generator, networks = np.random.default_rng(0), []
    for epoch, accuracy in ((1, 0.9), (3, 0.5)):  # the last lies on no front
        found = decode(space, sample(parameters(space, 3), generator), 3)
        networks.append(found.id)
        row = {"architecture_id": found.id, "architecture": found.to_json(), "settings": settings, "told": 1}
        write_row(storage, CANDIDATES, candidate(**row, epoch=epoch, accuracy=accuracy, macs=float(epoch)))
    (learner,) = learners(sweep)
    for worth, expected in (("hypervolume", networks[:1]), ("final", networks)):
        trials = found_trainings(dataclasses.replace(sweep, worth=worth), learner, storage)  # type: ignore[arg-type]
        assert {trial.architecture.id for trial in trials} == set(expected)


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
