"""Through a Ray Client Tune is at the other end: what fails there says nothing of the state in the storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasray.errors import ClusterLost
from nasray.runs import open_storage
from nasray.tune import tune_state as module
from nasray.tune.tune_state import UNREADABLE, run_or_resume


class Tuner:
    """Raises what it is given, one at every call, and then ends."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors
        self.calls = 0

    def fit(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "results"


@pytest.fixture
def go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Resumes a phase whose state is whole, by these Tuners."""
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "tuner.pkl").write_bytes(b"")
    (tmp_path / "search" / "experiment_state-2026-11-25_03-00-00.json").write_text("{}")

    def run(resumed: Tuner, by_client: bool, begun: Tuner | None = None) -> Any:
        monkeypatch.setattr(module, "_by_client", lambda: by_client)
        folder = open_storage(tmp_path, patience=30.0)
        tuners: list[Any] = [begun or Tuner([]), resumed]
        return run_or_resume(folder, "search", "run", begin=lambda: tuners[0], resume=lambda: tuners[1])

    return run


def unreadable(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder / "search") if name.endswith(UNREADABLE)]


def test_what_fails_at_the_other_end_leaves_the_state_as_it_is(go_on: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="gone"):
        go_on(Tuner([AttributeError("gone")]), by_client=True)
    assert unreadable(tmp_path) == []


def test_on_this_side_it_is_taken_for_damage_and_the_phase_begins_anew(
    go_on: Callable[..., Any], tmp_path: Path
) -> None:
    assert go_on(Tuner([AttributeError("gone")]), by_client=False) == "results"
    assert len(unreadable(tmp_path)) == 2


def test_a_cluster_that_is_gone_is_told_and_not_tried_again(go_on: Callable[..., Any], tmp_path: Path) -> None:
    tuner = Tuner([ConnectionError("Ray Client is not connected")])
    with pytest.raises(ClusterLost, match=r"in phase search \(Ray Client is not connected\): the same command goes on"):
        go_on(tuner, by_client=True)
    assert (tuner.calls, unreadable(tmp_path)) == (1, [])


def test_a_storage_that_cuts_the_connection_is_tried_again(go_on: Callable[..., Any]) -> None:
    tuner = Tuner([ConnectionResetError(104, "Connection reset by peer")])
    assert go_on(tuner, by_client=False) == "results"
    assert tuner.calls == 2
