"""Fronts across runs: what they share, what they refuse, and means over all that trained an architecture."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nasray.errors import InvalidInput
from nasray.fronts import front_across
from tests.run_files import WriteRun

RATES = [json.dumps({"learning_rate": rate, "epochs": 5}) for rate in (0.025, 0.05)]


def row(name: str, macs: float, accuracy: float, **more: Any) -> dict[str, Any]:
    return {"architecture_id": name, "macs": macs, "accuracy": accuracy, **more}


def candidate_row(name: str, macs: float, accuracy: float, **more: Any) -> dict[str, Any]:
    return row(name, macs, accuracy, snapshot=0, trial_id=name, **more)


def test_the_front_is_that_of_all_rows(write_run: WriteRun) -> None:
    runs = {
        "a": write_run("a", [row("a", 1, 0.5), row("b", 4, 0.6)], reference=(10.0, 0.2)),
        "b": write_run("b", [row("c", 2, 0.7), row("d", 3, 0.6)], reference=(8.0, 0.3)),
    }
    found = front_across(runs)
    assert found.front["architecture_id"].tolist() == ["a", "c"]
    assert found.front["run"].tolist() == ["a", "b"]
    assert {name: front["architecture_id"].tolist() for name, front in found.fronts.items()} == {
        "a": ["a", "b"],
        "b": ["c"],
    }
    # The worst corner of the two; 1 x (0.5 - 0.2) up to the second row, 8 x (0.7 - 0.2) from there.
    assert found.reference == (10.0, 0.2)
    assert found.hypervolume == pytest.approx(0.3 + 8 * 0.5)
    assert found.rows.kind == "trained from scratch, validation split, 5 epochs"
    assert front_across(runs, budget=1.5).front["architecture_id"].tolist() == ["a"]


def test_a_front_over_another_cost_ends_at_the_largest_of_all_rows(write_run: WriteRun) -> None:
    # By joules a and d are best, by multiply-adds a and b; what it took to run c is not known.
    runs = {
        "a": write_run("a", [row("a", 1, 0.5, joules=4.0), row("b", 2, 0.7, joules=9.0), row("c", 3, 0.9)]),
        "b": write_run("b", [row("d", 4, 0.6, joules=5.0)], reference=(10.0, 0.2)),
    }
    found = front_across(runs, cost="joules")
    assert found.front["architecture_id"].tolist() == ["a", "d", "b"]
    assert found.reference == (9.0, 0.1)
    assert found.hypervolume == pytest.approx((5 - 4) * 0.4 + (9 - 5) * 0.5)
    assert front_across(runs).front["architecture_id"].tolist() == ["a", "b", "c"]
    with pytest.raises(InvalidInput, match=r"^cost 'watts': run 'a' has no such cost\. Its rows have .*joules\.$"):
        front_across(runs, cost="watts")
    for other in ("seconds", "accuracy", "method"):
        with pytest.raises(InvalidInput, match=f"^cost '{other}'"):
            front_across(runs, cost=other)


def test_means_over_seeds_are_of_the_cost_too(write_run: WriteRun) -> None:
    rows = [row("a", 1, 0.4 + seed / 10, seed=seed, latency_ms=2.0 + seed, latency_batch=1) for seed in range(2)]
    runs = {"a": write_run("a", rows)}
    (one,) = front_across(runs, cost="latency_ms").front.to_dict("records")
    assert (one["latency_ms"], one["accuracy"]) == pytest.approx((2.5, 0.45))
    other = row("b", 1, 0.5, latency_ms=1.0, latency_batch=1, device="another")
    runs["b"] = write_run("b", [other])
    with pytest.raises(InvalidInput, match=r"device \(another, cpu\)"):
        front_across(runs, cost="latency_ms")
    assert len(front_across(runs).front)  # multiply-adds are the same on every device


def test_what_was_looked_up_is_not_said_to_be_of_the_validation_split(write_run: WriteRun) -> None:
    runs = {"a": write_run("a", [row("a", 1, 0.5, training="looked up")], reference=(10.0, 0.2))}
    assert front_across(runs).rows.kind == "looked up in a table, 5 epochs"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "cifar10"}, r"dataset \(cifar10, digits\)"),
        ({"epochs": 50}, r"epochs \(5, 50\)"),
        ({"cells": 8}, r"cells \(3, 8\)"),
        ({"settings": RATES[1]}, r"learning_rate \(0\.025, 0\.05\)"),
        ({"train_examples": 10}, r"train_examples"),
        ({"validation_examples": 10}, r"validation_examples"),
    ],
)
@pytest.mark.parametrize("seeds", [1, 2])
def test_runs_that_do_not_compare_are_refused(
    write_run: WriteRun, changes: dict[str, Any], said: str, seeds: int
) -> None:
    common = [row("a", 1, 0.5, seed=seed, settings=RATES[0]) for seed in range(seeds)]
    other = [{**one, "architecture_id": "b", **changes} for one in common]
    runs = {"a": write_run("a", common), "b": write_run("b", other)}
    with pytest.raises(InvalidInput, match=said) as caught:
        front_across(runs)
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInput, match=said):
        front_across({"both": write_run("both", [*common, *other])} if "epochs" not in changes else runs)


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_a_sweep_varied_of_the_training_shares_a_front(write_run: WriteRun, seeds: int) -> None:
    def rows(name: str, accuracy: float, place: int, **more: Any) -> list[dict[str, Any]]:
        return [row(name, 1 + place, accuracy, seed=s, settings=RATES[place], **more) for s in range(seeds)]

    column = "training.learning_rate"
    both = [*rows("a", 0.5, 0, **{column: 0.025}), *rows("a", 0.6, 1, **{column: 0.05})]
    front = front_across({"a": write_run("a", both)}).front
    assert front[column].tolist() == [0.025, 0.05]
    # Not with what was trained so by chance, nor with rows of another split, whatever they claim to vary.
    runs = {"a": write_run("a", both), "b": write_run("b", rows("b", 0.7, 1))}
    with pytest.raises(InvalidInput, match=r"learning_rate \(0\.025, 0\.05\)"):
        front_across(runs)
    split = json.dumps({"learning_rate": 0.05, "split_seed": 1})
    claims = {column: 0.05, "training.split_seed": 1, "settings": split}
    runs["b"] = write_run("c", [{**one, **claims} for one in rows("b", 0.7, 1)])
    with pytest.raises(InvalidInput, match="split_seed"):
        front_across(runs)


def test_one_run_has_trained_and_the_other_only_searched(write_run: WriteRun) -> None:
    runs = {
        "a": write_run("a", [row("a", 1, 0.9), candidate_row("a", 1, 0.5)]),
        "b": write_run("b", [candidate_row("b", 2, 0.6)]),
    }
    found = front_across(runs)
    # The one kind that both have; never one of each.
    assert found.rows.kind == "inherited weights, validation split"
    assert found.front["accuracy"].tolist() == [0.5, 0.6]
    with pytest.raises(InvalidInput, match="run 'b' has no evaluations"):
        front_across(runs, table="evaluations")


def test_seeds_of_all_runs_count_for_an_architecture(write_run: WriteRun) -> None:
    # Of two runs' means of one architecture the better one would be a biased pick.
    lucky, unlucky = [0.8, 0.9], [0.5, 0.6]
    runs = {
        "a": write_run("a", [row("x", 1, value, seed=i) for i, value in enumerate(lucky)]),
        "b": write_run("b", [row("x", 1, value, seed=2 + i) for i, value in enumerate(unlucky)]),
    }
    front = front_across(runs).front
    assert front["accuracy"].tolist() == pytest.approx([0.7])
    assert front["seeds"].tolist() == [4]
    assert front["run"].tolist() == ["a, b"]
    assert front_across(runs).fronts["a"]["accuracy"].tolist() == pytest.approx([0.85])


def test_only_some_rows(write_run: WriteRun) -> None:
    rows = [
        row("a", 1, 0.5, settings=RATES[0]), row("b", 2, 0.6, settings=RATES[1], method="random"),
        row("c", 3, 0.9, settings=RATES[0], epochs=2), row("d", 4, 0.95, settings=RATES[1], complete=False),
    ]  # fmt: skip
    run = {"a": write_run("a", rows)}

    def names(*only: str) -> list[str]:
        return list(front_across(run, only=only).front["architecture_id"])

    assert names("learning_rate=0.025") == ["a"]
    assert names("learning_rate=0.050") == ["b"]
    assert names("method=random") == ["b"]
    assert names("epochs=2") == ["c"]
    assert names("complete=true", "learning_rate=0.05") == ["b"]
    for condition, said in {
        "learning_rate=0.1": r"no such rows; it has learning_rate=0\.025, 0\.05",
        "epochs=7": r"it has epochs=2, 5",
        "colour=red": "NAME=VALUE",
        "epochs": "no such rows",
        "": "NAME=VALUE",
    }.items():
        with pytest.raises(InvalidInput, match=said):
            names(condition)
    with pytest.raises(InvalidInput, match="no complete evaluations"):
        names("complete=false")


def test_only_some_candidates_by_a_setting_of_their_search(write_run: WriteRun) -> None:
    texts = [json.dumps({"method": "gold_nas", "settings": {"lambda0": one}}) for one in (0.1, 0.2)]
    rows = [candidate_row(name, 1, 0.5, settings=text) for name, text in zip("ab", texts, strict=True)]
    found = front_across({"run": write_run("run", rows)}, only=["lambda0=0.2"])
    assert found.front["architecture_id"].tolist() == ["b"]
