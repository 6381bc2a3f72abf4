"""Candidates of searches that were stopped: in the table, and nowhere where something is chosen."""

from __future__ import annotations

import pandas as pd
import pytest

import nasray
from nasray.errors import InvalidInput
from nasray.fronts import hypervolume, near_front, pareto_front
from nasray.fronts.across import rows_of_runs
from nasray.pictures.report.facts import notes_on
from nasray.pictures.report.tables import RunTables, part_labels, rows_of
from nasray.results.searches import searches_of
from nasray.runs import CANDIDATES, EPOCHS, EVALUATIONS, Storage, compact, read
from nasray.runs.outcomes import Outcome, write_outcome
from nasray.runs.schema import kinds_of, metric_of
from nasray.runs.stopped import mark_all_stopped, mark_stopped
from tests.run_files import Row, WriteRun

STATES = {"kept": "done", "stopped": "stopped", "also": "stopped", "running": "waiting"}


@pytest.fixture
def run(write_run: WriteRun) -> Storage:
    """Of four searches, with two candidates each, the two that were stopped have what would be the front."""
    rows = []
    for place, trial in enumerate(STATES):
        for epoch in (1, 2):
            accuracy = 0.9 if STATES[trial] == "stopped" else 0.5 + 0.1 * epoch
            identity = f"{trial}{epoch}"
            own = {"trial_id": trial, "epoch": epoch, "snapshot": 0, "architecture_id": identity}
            rows.append({**own, "accuracy": accuracy, "macs": 10.0 * epoch + place, "mu": float(place)})
    storage = write_run("stopping", [{**row, "complete": True} for row in rows])
    for trial, state in STATES.items():
        write_outcome(storage, trial, Outcome(state=state, digest=trial))  # type: ignore[arg-type]
    return storage


def stopped(storage: Storage) -> set[str]:
    rows = read(storage, CANDIDATES)
    return set(rows.loc[rows["complete"].isin([False]), "architecture_id"])


def test_rows_are_marked_at_once_and_what_was_left_unmarked_later(run: Storage) -> None:
    before = read(run, CANDIDATES)
    mark_stopped(run, "stopped")
    assert stopped(run) == {"stopped1", "stopped2"}
    compact(run, CANDIDATES)  # as between two passes: its rows have no files of their own
    mark_stopped(run, "also")
    assert stopped(run) == {"stopped1", "stopped2"}
    for _ in range(2):
        mark_all_stopped(run)
        assert stopped(run) == {"stopped1", "stopped2", "also1", "also2"}
    # Nothing is lost or doubled, and all else is as it was.
    after = read(run, CANDIDATES)
    volatile = ["complete", "created_at"]
    pd.testing.assert_frame_equal(after.drop(columns=volatile), before.drop(columns=volatile))
    compact(run, CANDIDATES)
    assert stopped(run) == {"stopped1", "stopped2", "also1", "also2"}


def test_they_are_on_no_front_and_in_no_figure(run: Storage) -> None:
    mark_all_stopped(run)
    rows = read(run, CANDIDATES)
    left = rows[~rows["trial_id"].isin(["stopped", "also"])]
    assert set(pareto_front(rows)["trial_id"]) == {"kept"}
    assert set(near_front(rows, 1.0)["trial_id"]) == {"kept", "running"}
    assert hypervolume(rows, (100.0, 0.1)) == hypervolume(left, (100.0, 0.1))
    opened = nasray.open(str(run))
    assert set(opened.front()["trial_id"]) == {"kept"}
    assert opened.best()["architecture_id"] == "kept2"
    with pytest.raises(InvalidInput, match="the search that found it was stopped early"):
        opened.network("also2")
    (found,) = rows_of_runs({"stopping": run}).of.values()
    assert set(found["trial_id"]) == {"kept", "running"}
    (searches,) = searches_of({"stopping": run})
    assert searches.rows["mu"].tolist() == [0.0, 3.0]


def test_a_report_says_so(run: Storage) -> None:
    mark_all_stopped(run)
    tables = RunTables(
        name="stopping",
        storage=run,
        candidates=read(run, CANDIDATES),
        evaluations=read(run, EVALUATIONS),
        epochs=read(run, EPOCHS),
    )
    rows = rows_of([tables])
    assert set(rows.loc[rows["part"] == -1, "trial_id"]) == {"stopped", "also"}
    assert part_labels(rows) == ["inherited weights"]
    (said,) = [one for one in notes_on([tables], rows, metric_of(rows)) if "stopped early" in one]
    assert said.startswith("2 searches were stopped early")


def test_a_run_of_which_all_was_stopped_has_none_to_compare(run: Storage) -> None:
    for trial in STATES:
        mark_stopped(run, trial)
    assert not len(nasray.open(str(run)).front())
    with pytest.raises(InvalidInput, match=r"^run 'stopping' has no complete candidates"):
        rows_of_runs({"stopping": run})


def test_rows_from_before_there_was_the_column_are_complete(write_run: WriteRun, candidate: Row) -> None:
    storage = write_run("before", [{"snapshot": 0, "trial_id": "a"}])
    rows = read(storage, CANDIDATES)
    assert rows["complete"].isna().all()
    assert kinds_of(rows) == ["inherited weights"]
    assert len(pareto_front(rows)) == 1
