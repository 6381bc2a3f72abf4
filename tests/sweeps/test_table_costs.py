"""Costs that a table has itself: objectives by their columns' names, against all cells of the table."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pandas as pd
import pytest

import nasray
from nasray import registry
from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.searchers import EPOCH, feedback_of, find_searcher
from nasray.spaces import Architecture, to_string
from nasray.sweeps import AccuracySource, Arm, Execution, Sweep, Training
from nasray.sweeps.proposals import proposals
from nasray.sweeps.run import run_sweep
from nasray.tune.pareto_asha import ParetoASHA, Record

SPACE = registry.find("space", "nas_bench_201")
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
WORTH = {"none": 0.0, "skip_connect": 2.0, "nor_conv_1x1": 6.0, "nor_conv_3x3": 7.0, "avg_pool_3x3": 1.0}
JOULES = {"none": 0.0, "skip_connect": 3.0, "nor_conv_1x1": 5.0, "nor_conv_3x3": 1.5, "avg_pool_3x3": 4.0}
"""Of a device that computes 3x3 convolutions best: its front is not that of multiply-adds."""
REFERENCE = (1.01, 31.0)
"""Error and joules: a little worse than any cell."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = []
    for a, b, c, d, e, f in itertools.product(OPERATIONS, repeat=6):
        six = (a, b, c, d, e, f)
        worth = sum(WORTH[name] for name in six)
        rows.append(
            {
                "arch": f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|",
                "cifar10_acc_12": 30.0 + worth,
                "cifar10_acc_200": 50.0 + worth,
                "edge_joules": sum(JOULES[name] for name in six),
                "tpu_ms": np.nan if "avg_pool_3x3" in six else 1.0 + worth,
            }
        )
    path = tmp_path_factory.mktemp("table") / "devices.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


def sweep_of(table: str, storage: Path, method: str = "evolution", evaluations: int = 14, **changes: Any) -> Sweep:
    initial = {"initial": 5} if method == "evolution" else {}
    settings = find_searcher(method).Config(evaluations=evaluations, **initial)
    fields: dict[str, Any] = dict(
        name="devices",
        dataset="cifar10",
        arms=(Arm(method=method, space="nas_bench_201", settings=settings),),
        objectives=("accuracy", "edge_joules"),
        table=AccuracySource(path=table, costs=("tpu_ms",)),
        random_baseline=False,
        execution=Execution(storage=str(storage)),
    )
    return Sweep(**{**fields, **changes})


def volume(points: pd.DataFrame) -> float:
    """moocore's, of accuracy (percent) and joules."""
    losses = np.column_stack([1.0 - points["cifar10_acc_200"] / 100, points["edge_joules"]])
    return float(moocore.hypervolume(losses, ref=REFERENCE))


@pytest.mark.parametrize("method", ["evolution", "nsga2", "tpe"])
def test_searchers_come_nearer_to_the_front_of_a_cost_by_that_cost(table: str, tmp_path: Path, method: str) -> None:
    truth = pd.read_parquet(table).set_index("arch")
    shares = []
    for objectives in (("accuracy", "edge_joules"), ("accuracy", "macs")):
        sweep = sweep_of(table, tmp_path, method, 120, objectives=objectives)
        (one,), found = proposals(sweep), []
        searcher, trial = one.searcher(sweep), one.proposing(sweep).shared
        for _ in range(120):
            proposal = searcher.ask()
            assert proposal is not None
            config = dataclasses.replace(trial.config, architecture=proposal.architecture)
            lookup = dataclasses.replace(trial, config=config).start()
            report = {**lookup.run_epoch(), "macs": lookup.macs, EPOCH: lookup.epoch}
            text = to_string(SPACE, proposal.architecture)
            searcher.tell(proposal, feedback_of(report, objectives=sweep.objectives, epochs=200, budget=None))
            found.append(text)
        shares.append(volume(truth.loc[found]) / volume(truth))
    by_joules, by_macs = shares
    assert by_joules > 0.8
    assert by_joules > by_macs


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_run_has_the_costs_as_columns_and_compares_by_them_at_rungs(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = sweep_of(table, tmp_path, training=Training(rungs=(12,)))
    outcome = run_sweep(sweep)
    assert outcome.failures == ()
    rows, truth = nasray.load(outcome.folder), pd.read_parquet(table).set_index("arch")
    texts = [to_string(SPACE, Architecture.from_json(SPACE, text)) for text in rows["architecture"]]
    for name in ("edge_joules", "tpu_ms"):
        np.testing.assert_array_equal(rows[name], truth.loc[texts, name])
    # What the rung kept is what it keeps by accuracy and joules.
    rung = rows[rows["epochs"] == 12].sort_values("created_at")
    asha = ParetoASHA(("accuracy", "edge_joules"), ("max", "min"), rungs=(12, 200))
    values = rung[["accuracy", "edge_joules"]].itertuples(index=False, name=None)
    asha.refill(Record(name, 12, own, None) for name, own in zip(rung["architecture_id"], values, strict=True))
    kept = {name for name, entry in asha.rungs[12].items() if entry.kept}
    ended = rows[rows["complete"]]
    assert set(ended["architecture_id"]) == kept
    assert len(kept) < len(rung)

    # The front over the cost, by comparing every pair.
    assert main(["front", outcome.folder, "--cost", "edge_joules", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    points = ended[["edge_joules", "accuracy"]].to_numpy()
    best = [p for p in points if not any((q[0] <= p[0] and q[1] >= p[1] and (q != p).any()) for q in points)]
    assert [(row["edge_joules"], row["accuracy"]) for row in told["front"]] == sorted({tuple(p) for p in best})
    corner = np.array([told["reference"]["edge_joules"], -told["reference"]["accuracy"]])
    assert told["hypervolume"] == pytest.approx(moocore.hypervolume(points * [1, -1], ref=corner))

    # A driver that goes on tells the searcher the same again: nothing new is proposed.
    again = run_sweep(sweep)
    pd.testing.assert_frame_equal(nasray.load(again.folder), rows)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objectives": ("accuracy", "edge_jouls")}, "cost 'edge_jouls'.*Did you mean 'edge_joules'.*tpu_ms"),
        ({"objectives": ("accuracy", "cifar10_acc_12")}, "cost 'cifar10_acc_12'.*holds accuracies"),
    ],
)
def test_what_the_table_does_not_have_is_refused_before_anything_is_written(
    table: str, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        run_sweep(sweep_of(table, tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["macs", "seconds", "test_accuracy", "perplexity", "timestamp", "points"])
def test_names_that_mean_something_else_are_refused(table: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^cost '{name}' of table .*: nasray has .* Rename the table's column\.$"):
        dataclasses.replace(sweep_of(table, tmp_path), table=AccuracySource(path=table, costs=(name,)))
