"""Networks that were trained several times with varied settings: the best row of each, of how many, of equally many."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.fronts import average_over_seeds, front_across, hypervolume, pareto_front
from tests.run_files import Row, WriteRun

RATE, DECAY = "training.learning_rate", "training.weight_decay"


def trained(name: str, macs: float, rate: float, accuracy: float, minute: int, **more: Any) -> dict[str, Any]:
    settings = {"learning_rate": rate, "epochs": 5, "momentum": 0.9}
    return {
        "architecture_id": name,
        "macs": macs,
        "accuracy": accuracy,
        "settings": json.dumps(settings),
        "created_at": datetime(2026, 11, 27, 8, minute, tzinfo=UTC),
        RATE: rate,
        **more,
    }


# Of a four tries, the best of which came last; of b two; of c one, which is dominated by all but a's first two.
TABLE = [
    trained("a", 1, 0.01, 0.50, 0),
    trained("a", 1, 0.02, 0.55, 1),
    trained("a", 1, 0.04, 0.60, 2),
    trained("a", 1, 0.08, 0.65, 3),
    trained("b", 2, 0.01, 0.62, 5),
    trained("b", 2, 0.02, 0.70, 4),
    trained("c", 3, 0.01, 0.58, 6),
]


@pytest.fixture
def table(evaluation: Row) -> pd.DataFrame:
    return pd.DataFrame([evaluation(**row) for row in TABLE]).sample(frac=1, random_state=1)


def points(front: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(zip(front["architecture_id"], front["accuracy"], front["tries"], strict=True))


def test_a_network_stands_with_its_best_row_and_says_of_how_many(table: pd.DataFrame) -> None:
    front = pareto_front(table)
    assert points(front) == [("a", 0.65, 4), ("b", 0.7, 2)]
    pd.testing.assert_frame_equal(pareto_front(front), front)
    # What was stopped early is no try, and a front of two fronts adds theirs.
    stopped = table.assign(complete=table["accuracy"] != 0.62)
    assert points(pareto_front(stopped)) == [("a", 0.65, 4), ("b", 0.7, 1)]
    parts = [pareto_front(own) for own in (table[table["accuracy"] > 0.61], table[table["accuracy"] < 0.61])]
    assert points(pareto_front(pd.concat(parts))) == points(front)


def test_equal_tries_are_the_first_of_each(table: pd.DataFrame, evaluation: Row) -> None:
    # c has one: of a the first counts, of b the one that was written first, though it stands later in the table.
    front = pareto_front(table, equal_tries=True)
    assert points(front) == [("a", 0.5, 1), ("b", 0.7, 1)]
    assert points(pareto_front(table[table["macs"] < 3], equal_tries=True)) == [("a", 0.55, 2), ("b", 0.7, 2)]
    # A lower seed comes before an earlier time.
    seeds = [("a", 1, 0.5, 1, 0), ("a", 1, 0.9, 0, 1), ("b", 2, 0.8, 2, 0)]
    rows = [evaluation(**trained(n, m, 0.1, accuracy, t, seed=seed)) for n, m, accuracy, t, seed in seeds]
    assert points(pareto_front(pd.DataFrame(rows), equal_tries=True)) == [("a", 0.5, 1), ("b", 0.8, 1)]
    assert hypervolume(front, (4.0, 0.0)) == pytest.approx(3 * 0.5 + 2 * 0.2)


def test_by_a_measured_cost_a_network_stands_once(table: pd.DataFrame) -> None:
    # A worse training of b happened to be measured as faster: that is no second point.
    timed = table.assign(latency_ms=[4.0 if one == 0.62 else 5.0 for one in table["accuracy"]], latency_batch=1)
    assert points(pareto_front(timed[timed["macs"] == 2], minimise="latency_ms")) == [("b", 0.7, 2)]
    assert hypervolume(timed[timed["macs"] == 2], (6.0, 0.0), minimise="latency_ms") == pytest.approx(0.7)


def test_seeds_that_are_averaged_are_one_try(table: pd.DataFrame) -> None:
    both = pd.concat([table, table.assign(seed=1, accuracy=table["accuracy"] - 0.1)])
    averaged = average_over_seeds(both)
    assert points(pareto_front(averaged)) == [("a", pytest.approx(0.6), 4), ("b", pytest.approx(0.65), 2)]
    assert points(pareto_front(averaged, equal_tries=True)) == [
        ("a", pytest.approx(0.45), 1),
        ("b", pytest.approx(0.65), 1),
    ]


def test_where_nothing_of_the_training_was_varied_nothing_is_said_of_tries(table: pd.DataFrame) -> None:
    plain = table[table["architecture_id"].isin(["b", "c"])].drop(columns=RATE)
    assert "tries" not in pareto_front(plain.drop(columns="settings")).columns


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # The value of a column that is not declared, or not by every row; and everything else.
        ({RATE: None}, r"learning_rate \(0\.01, 0\.02"),
        ({"settings": json.dumps({"learning_rate": 0.01, "epochs": 5, "momentum": 0.8})}, r"momentum \(0\.8, 0\.9\)"),
        ({"epochs": 6}, r"epochs \(5, 6\)"),
        ({"dataset": "cifar10"}, "dataset"),
    ],
)
def test_all_else_that_differs_stays_refused(evaluation: Row, changes: dict[str, Any], said: str) -> None:
    rows = [evaluation(**row) for row in [*TABLE[:-1], {**TABLE[-1], **changes}]]
    for equal_tries in (False, True):
        with pytest.raises(InvalidInput, match=said):
            pareto_front(pd.DataFrame(rows), equal_tries=equal_tries)
    # Declared for one setting is not declared for another.
    with pytest.raises(InvalidInput, match="learning_rate"):
        pareto_front(pd.DataFrame(rows[:-1]).rename(columns={RATE: DECAY}))


def test_tries_that_cannot_be_made_equal_are_refused(table: pd.DataFrame, candidate: Row) -> None:
    with pytest.raises(InvalidInput, match="nothing was trained"):
        pareto_front(pd.DataFrame([candidate()]), equal_tries=True)
    with pytest.raises(InvalidInput, match="best of several already"):
        pareto_front(pareto_front(table), equal_tries=True)
    with pytest.raises(InvalidInput, match="architecture_id"):
        pareto_front(table[["macs", "accuracy"]], equal_tries=True)
    assert len(pareto_front(table.iloc[:0], equal_tries=True)) == 0


def test_of_runs_and_on_the_command_line(write_run: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    runs = {"x": write_run("x", TABLE[:4]), "y": write_run("y", TABLE[4:])}
    assert points(front_across(runs).front) == [("a", 0.65, 4), ("b", 0.7, 2)]
    equal = front_across(runs, equal_tries=True)
    assert points(equal.front) == [("a", 0.5, 1), ("b", 0.7, 1)]
    # Alone, x has as many tries of all it trained.
    assert points(equal.fronts["x"]) == [("a", 0.65, 4)]
    folders = [str(run) for run in runs.values()]
    for options, tries in (([], [4, 2]), (["--equal-tries"], [1, 1])):
        assert main(["front", *folders, "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)["front"]
        assert [one["tries"] for one in told] == tries
    assert main(["front", *folders]) == 0
    assert "tries" in capsys.readouterr().out.splitlines()[0].split()
