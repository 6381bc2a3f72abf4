"""Rows that are gone although their trials are done."""

from __future__ import annotations

from nasray.runs import CANDIDATES, EVALUATIONS, Storage, read, write_row
from nasray.runs.outcomes import Outcome, read_outcomes, write_outcome
from nasray.trials.lost import reopen_without_rows, without_rows
from nasray.trials.trial import training_name
from tests.run_files import Row


def test_done_trials_without_their_rows_are_found(storage: Storage, candidate: Row, evaluation: Row) -> None:
    for trial in ("s0", "s1"):  # of the very same figures
        write_row(storage, CANDIDATES, candidate(trial_id=trial, macs=1.0, accuracy=0.1))
    origin = {"method": "a, b", "search_trial_id": "s0"}
    write_row(storage, EVALUATIONS, evaluation(architecture_id="x", seed=0, macs=2.0, accuracy=0.2, **origin))
    there = training_name("x", "a, b", 0)
    points = {
        "s0": [(1.0, 0.1)],
        "s1": [(1.0, 0.1), (1.0, 0.1)],
        "s2": [(1.0, 0.1)],
        f"{there}_0123abcd": [(2.0, 0.2)],
        f"{training_name('x', 'a, b', 1)}_0123abcd": [(2.0, 0.2)],
        f"{training_name('y', 'a, b', 0)}_0123abcd": [(2.0, 0.2)],
        "refused": [],
    }
    lost = without_rows(points, read(storage, CANDIDATES), read(storage, EVALUATIONS))
    assert lost == sorted(set(points) - {"s0", f"{there}_0123abcd", "refused"})


def test_a_phase_with_fewer_outcomes_than_trials_is_not_finished(storage: Storage) -> None:
    write_outcome(storage, "one", Outcome(state="done", digest="d"))
    storage.write_json("phases/search.json", {"trials": 1})
    storage.write_json("phases/tpe.json", {"proposed": 3, "distinct": 1})
    storage.write_json("phases/tpe-placement.json", {"trials": 6})
    assert reopen_without_rows(storage) == []
    assert len(storage.list("phases")) == 3
    storage.write_json("phases/tpe.json", {"proposed": 3, "distinct": 2})
    assert reopen_without_rows(storage) == []
    assert storage.list("phases") == ()


def test_they_run_again(storage: Storage, candidate: Row) -> None:
    write_row(storage, CANDIDATES, candidate(trial_id="kept", macs=1.0, accuracy=0.1))
    for name in ("kept", "lost"):
        write_outcome(storage, name, Outcome(state="done", digest="d", points=((1.0, 0.1),)))
    assert reopen_without_rows(storage) == ["lost"]
    assert {name: one.state for name, one in read_outcomes(storage).items()} == {"kept": "done", "lost": "lost"}
