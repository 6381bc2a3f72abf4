"""Black-box searches in sweeps: against a table, by training, with budgets, rungs and seeds."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray import registry
from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.fronts import near_front
from nasray.methods.random import Random
from nasray.runs import open_storage
from nasray.searchers import EPOCH, feedback_of, find_searcher, is_searcher
from nasray.searchers.evolution import Evolution
from nasray.searchers.optuna import NSGA2, TPE
from nasray.searchers.random import RandomSearch
from nasray.spaces import Architecture, to_string
from nasray.sweeps import AccuracySource, Arm, Budget, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.changes import with_execution, with_method, with_settings
from nasray.sweeps.proposals import proposals
from nasray.sweeps.run import Outcome, read_run, run_sweep
from nasray.sweeps.selection import repeated_trials

SPACE = registry.find("space", "nas_bench_201")
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def fake_accuracy(operations: tuple[str, ...], epochs: int) -> float:
    """Percent; better with more and larger convolutions, and with longer training."""
    worth = {"none": 0.0, "skip_connect": 2.0, "nor_conv_1x1": 4.0, "nor_conv_3x3": 7.0, "avg_pool_3x3": 1.0}
    return 40.0 + sum(worth[name] for name in operations) + (5.0 if epochs == 200 else 0.0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All cells with accuracies that we made up, after 12 and 200 epochs."""
    rows = []
    for six in itertools.product(OPERATIONS, repeat=6):
        a, b, c, d, e, f = six
        rows.append(
            {
                "arch": f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|",
                "cifar10_test_acc_12": fake_accuracy(six, 12),
                "cifar10_test_acc_200": fake_accuracy(six, 200),
            }
        )
    path = tmp_path_factory.mktemp("table") / "made_up.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


EVOLUTION = Arm(method="evolution", space="nas_bench_201", settings=Evolution.Config(evaluations=12, initial=4))


def looked_up(table: str, storage: Path, **changes: object) -> Sweep:
    fields: dict = dict(
        name="looked_up",
        dataset="cifar10",
        arms=(EVOLUTION,),
        table=AccuracySource(path=table),
        reference=(221.0, 0.3),
        execution=Execution(storage=str(storage)),
    )
    return Sweep(**{**fields, **changes})


def test_searchers_are_found_by_name_and_are_no_methods() -> None:
    assert is_searcher("evolution")
    assert not is_searcher("darts")
    assert find_searcher("tpe") is TPE
    with pytest.raises(InvalidInput, match="unknown searcher 'tpo': did you mean 'tpe'"):
        find_searcher("tpo")


def test_a_random_search_of_as_many_stands_beside_the_searchers(table: str, tmp_path: Path) -> None:
    sweep = looked_up(
        table,
        tmp_path,
        arms=(EVOLUTION, Arm(method="nsga2", space="nas_bench_201", settings=NSGA2.Config(evaluations=30))),
        seeds=(0, 1),
    )
    found = [(one.method, one.evaluations, one.seed) for one in proposals(sweep)]
    assert found == [
        (method, evaluations, seed)
        for seed in (0, 1)
        for method, evaluations in (("evolution", 12), ("nsga2", 30), ("random_search", 30))
    ]
    assert sweep.searches() == []
    alone = dataclasses.replace(sweep, random_baseline=False)
    assert {one.method for one in proposals(alone)} == {"evolution", "nsga2"}
    itself = with_method(sweep, "random_search")
    assert [one.method for one in proposals(itself)] == ["random_search"] * 2
    assert type(itself.arms[0].settings) is RandomSearch.Config
    assert with_settings(sweep, {"evaluations": 5}).arms[1].settings == NSGA2.Config(evaluations=5)


def test_a_user_s_own_searcher_is_an_arm(table: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from nasray.searchers.random import RandomSearch\nclass Mine(RandomSearch):\n    'As random.'\n")
    method = f"{file}:Mine"
    arm = Arm(method=method, space="nas_bench_201", settings=find_searcher(method).Config(evaluations=7))
    sweep = looked_up(table, tmp_path, arms=(arm,))
    mine, baseline = proposals(sweep)
    assert (mine.method, mine.evaluations, baseline.evaluations) == (method, 7, 7)
    first, second = (one.searcher(sweep).ask() for one in (mine, baseline))
    assert first is not None
    assert first == second


def test_a_black_box_sweep_survives_json(table: str, tmp_path: Path) -> None:
    source = AccuracySource(path=table, columns=("cifar10_test_acc_200=200",), unit="fraction")
    sweep = looked_up(table, tmp_path, training=Training(rungs=(12,)), budget=Budget(3.0))
    sweep = dataclasses.replace(sweep, table=source)
    assert Sweep.of(json.loads(json.dumps(sweep.to_dict()))) == sweep


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"objectives": ("accuracy", "beauty"), "table": None}, "objectives"),
        ({"objectives": ("accuracy", "latency_ms")}, "latency_batch"),
        ({"table": None, "training": Training(rungs=(600,))}, r"training\.rungs"),
        ({"training": Training(seeds=(0, 1))}, r"training\.seeds"),
        ({"budget": 120.0}, "budget"),
        ({"table": "table.parquet"}, "table"),
    ],
)
def test_what_is_refused(table: str, tmp_path: Path, changes: dict, named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as caught:
        dataclasses.replace(looked_up(table, tmp_path), **changes)
    assert "expected" in str(caught.value)


AT_A_RUNG: dict[str, Any] = dict(training=Training(rungs=(12,)), budget=Budget(120.0))


@pytest.fixture(scope="module")
def outcome(ray_session: None, table: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_sweep(looked_up(table, tmp_path_factory.mktemp("looked_up"), **AT_A_RUNG))


@pytest.mark.slow
def test_rows_hold_what_the_table_holds_and_obey_the_budget(outcome: Outcome, table: str) -> None:
    assert outcome.failures == ()
    truth = pd.read_parquet(table).set_index("arch")
    rows = nasray.load(outcome.folder)
    assert set(rows["method"]) == {"evolution", "random_search"}
    assert (rows["macs"] <= 120.0).all()
    size = SPACE.published_sizes["cifar10"]
    for row in rows.to_dict("records"):
        architecture = Architecture.from_json(SPACE, row["architecture"])
        text = to_string(SPACE, architecture)
        assert row["accuracy"] == pytest.approx(truth.loc[text, f"cifar10_test_acc_{row['epochs']}"] / 100)
        assert row["macs"] == pytest.approx(macs(SPACE, architecture, size))
        assert row["complete"] == (row["epochs"] == 200)
        assert row["training"] == "looked up"


@pytest.mark.slow
def test_what_was_stopped_at_a_rung_is_on_no_front(outcome: Outcome) -> None:
    rows = nasray.load(outcome.folder)
    per_method = rows.groupby("method")
    for _, own in per_method:
        reached, finished = own[own["epochs"] == 12], own[own["complete"]]
        assert len(reached) == 12
        assert 2 <= len(finished) < 12
        assert set(finished["architecture_id"]) <= set(reached["architecture_id"])
    assert (outcome.front["epochs"] == 200).all()
    assert set(outcome.hypervolumes) == {"evolution", "random_search"}


@pytest.mark.slow
def test_the_same_command_again_evaluates_nothing(outcome: Outcome, table: str) -> None:
    made = nasray.load(outcome.folder)["created_at"]
    storage = Path(outcome.folder).parent
    again = run_sweep(looked_up(table, storage, **AT_A_RUNG))
    pd.testing.assert_series_equal(nasray.load(again.folder)["created_at"], made)
    assert again.hypervolume == outcome.hypervolume


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    "searcher",
    [Evolution.Config(evaluations=25, initial=4), pytest.param(NSGA2.Config(evaluations=25), marks=pytest.mark.slow)],
)
def test_what_is_looked_up_is_told_before_the_next_is_proposed(
    table: str, tmp_path: Path, searcher: Evolution.Config | NSGA2.Config
) -> None:
    method = "evolution" if isinstance(searcher, Evolution.Config) else "nsga2"
    # What is looked up takes no GPU, wherever the sweep's trainings would.
    arm = Arm(method=method, space="nas_bench_201", settings=searcher)
    sweep = with_execution(looked_up(table, tmp_path, arms=(arm,), random_baseline=False), gpus_per_trial=1.0)
    # The same searcher, asked and told by a loop.
    ((one,), truth) = proposals(sweep), pd.read_parquet(table).set_index("arch")["cifar10_test_acc_200"] / 100
    asked = one.searcher(sweep)
    expected = []
    for _ in range(25):
        proposal = asked.ask()
        assert proposal is not None
        architecture = proposal.architecture
        expected.append(architecture.id)
        told = {
            "accuracy": float(truth[to_string(SPACE, architecture)]),
            "macs": macs(SPACE, architecture, SPACE.published_sizes["cifar10"]),
            EPOCH: 200,
        }
        asked.tell(proposal, feedback_of(told, objectives=sweep.objectives, epochs=200, budget=None))
    outcome = run_sweep(sweep)
    assert outcome.failures == ()
    rows = nasray.load(outcome.folder).sort_values("created_at")
    # A cell that is proposed again is told what it came to, and looked up no more.
    assert rows["architecture_id"].tolist() == list(dict.fromkeys(expected))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_under_rungs_optuna_proposes_and_the_front_is_trained_with_further_seeds(tmp_path: Path) -> None:
    tiny = EvaluationSettings(
        epochs=2, batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, drop_path=0.0, augmentation="standard",
        train_examples=64, latency_batch=4,
    )  # fmt: skip
    outcome = run_sweep(
        Sweep(
            name="trained",
            dataset="digits",
            arms=(Arm(method="tpe", space="nas_bench_201", settings=TPE.Config(evaluations=4)),),
            training=Training(settings=tiny, rungs=(1,), seeds=(0, 1)),
            objectives=("accuracy", "macs", "latency_ms"),
            random_baseline=False,
            execution=Execution(storage=str(tmp_path)),
        )
    )
    assert outcome.failures == ()
    rows = nasray.load(outcome.folder)
    assert (rows["latency_ms"] > 0).all()  # at the rung too: without it all would be stopped there
    ended = rows[rows["complete"]]
    first, second = ended[ended["seed"] == 0], ended[ended["seed"] == 1]
    best = near_front(first, 0.0)
    # The second seeds met no rung at which they would have had to be better than the first.
    assert len(best)
    assert set(second["architecture_id"]) == set(best["architecture_id"])
    assert set(outcome.front["architecture_id"]) <= set(best["architecture_id"])
    assert (outcome.front["seeds"] == 2).all()
    # A run that was stopped after some of the second seeds selects the same architectures.
    sweep, _ = read_run(open_storage(outcome.folder))
    assert repeated_trials(sweep, ended) == repeated_trials(sweep, first)


def test_rungs_that_the_table_does_not_have_are_refused_before_anything_runs(table: str, tmp_path: Path) -> None:
    for rung in (7, 200):
        with pytest.raises(InvalidInput, match=f"rung of {rung} epochs: expected one of the table's below 200: 12"):
            run_sweep(looked_up(table, tmp_path, training=Training(rungs=(rung,))))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.usefixtures("ray_session")
def test_a_method_s_findings_are_looked_up_where_there_is_a_table(table: str, tmp_path: Path) -> None:
    if not (Path(os.environ.get("NASRAY_DATA", "")) / "cifar-10-batches-py").is_dir():
        pytest.skip("no CIFAR-10 in NASRAY_DATA")
    small = dict(batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, train_examples=64, epochs=1)
    arm = Arm(method="random", space="nas_bench_201", settings=Random.Config(**small))
    outcome = run_sweep(looked_up(table, tmp_path, arms=(arm,), training=Training(select="final")))
    assert outcome.failures == ()
    (row,) = nasray.load(outcome.folder).to_dict("records")
    text = to_string(SPACE, Architecture.from_json(SPACE, row["architecture"]))
    operations = tuple(entry.split("~")[0] for node in text.split("+") for entry in node.strip("|").split("|"))
    assert row["accuracy"] == pytest.approx(fake_accuracy(operations, 200) / 100)
    assert pd.isna(row["train_examples"])


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_what_was_proposed_is_looked_up_again_where_rows_and_outcomes_are_gone(table: str, tmp_path: Path) -> None:
    sweep = looked_up(table, tmp_path)
    folder = Path(run_sweep(sweep).folder)
    before = nasray.load(folder)
    for name in ("trials", "evaluations"):
        shutil.rmtree(folder / name)
    (folder / "front.parquet").unlink()
    run_sweep(sweep)
    volatile = ["created_at", "seconds", "peak_memory_bytes"]
    pd.testing.assert_frame_equal(nasray.load(folder).drop(columns=volatile), before.drop(columns=volatile))
