"""Whatever a clock does, and wherever a kill falls, Tune goes on from the last driver's state."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from nasray.runs import Storage, open_storage
from nasray.tune.trainables import DIVERGED, FAILED
from nasray.tune.tune_sessions import prepare_state

KINDS = (("basic-variant-state", "json"), ("experiment_state", "json"), ("searcher-state", "pkl"))


class Killed(BaseException):
    pass


def stamp(year: int) -> str:
    return f"{year}-11-25_03-00-00"


def session(folder: Path, year: int, kinds: tuple[tuple[str, str], ...] = KINDS) -> None:
    folder.mkdir(exist_ok=True)
    for kind, suffix in kinds:
        (folder / f"{kind}-{stamp(year)}.{suffix}").write_text(f"{kind} of {year}")


def tune_would_take(folder: Path) -> set[str]:
    """What Tune restores: of every kind the file of the greatest name, as its own functions choose it."""
    from ray.tune.execution.experiment_state import _find_newest_experiment_checkpoint

    newest = _find_newest_experiment_checkpoint(str(folder))
    assert newest is not None
    others = [max(folder.glob(f"{kind}-*.{suffix}")) for kind, suffix in KINDS if kind != "experiment_state"]
    return {Path(newest).read_text(), *(path.read_text() for path in others)}


def settle(folder: Path, monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: datetime(year, 11, 25, 3).timestamp())
        prepare_state(open_storage(folder), "digits", "search")


def test_a_clock_that_runs_forwards_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session(tmp_path, 2026)
    before = sorted(path.name for path in tmp_path.iterdir())
    settle(tmp_path, monkeypatch, 2027)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_after_a_clock_was_set_back_the_next_session_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session(tmp_path, 2025)
    session(tmp_path, 2026)
    for year in (2024, 2023, 2024):  # back, back again, and a second forwards
        settle(tmp_path, monkeypatch, year)
        session(tmp_path, year)
        assert tune_would_take(tmp_path) == {f"{kind} of {year}" for kind, _ in KINDS}


def test_a_session_within_the_same_second_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session(tmp_path, 2026)
    settle(tmp_path, monkeypatch, 2026)
    assert not list(tmp_path.glob(f"*{stamp(2026)}*"))
    assert tune_would_take(tmp_path) == {f"{kind} of 2026" for kind, _ in KINDS}


def test_a_session_whose_state_never_came_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session(tmp_path, 2026)
    session(tmp_path, 2027, kinds=KINDS[:1])
    settle(tmp_path, monkeypatch, 2028)
    assert tune_would_take(tmp_path) == {f"{kind} of 2026" for kind, _ in KINDS}


def test_other_files_and_an_empty_folder_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path / "none", monkeypatch, 2026)
    session(tmp_path, 2026)
    (tmp_path / "tuner.pkl").write_bytes(b"")
    (tmp_path / "1ff09c5f-2027-01-01.json").write_bytes(b"")
    settle(tmp_path, monkeypatch, 2025)
    assert (tmp_path / "tuner.pkl").exists()
    assert (tmp_path / "1ff09c5f-2027-01-01.json").exists()


@pytest.mark.parametrize("writes", range(12))
def test_a_kill_between_any_two_of_its_writes_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    session(tmp_path, 2025)
    session(tmp_path, 2026)
    left = [writes]

    def killing(name: str) -> None:
        original = getattr(Storage, name)

        def once(self: Storage, *given: object) -> object:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return original(self, *given)

        monkeypatch.setattr(Storage, name, once)

    with monkeypatch.context() as patch:
        monkeypatch, kept = patch, monkeypatch
        for name in ("delete", "move", "write_bytes"):
            killing(name)
        try:
            settle(tmp_path, patch, 2024)
        except Killed:
            assert left == [0]
        monkeypatch = kept
    # Killed or not: the next driver may begin at once, or after a second try, on a clock of any year.
    for year in (2024, 2028):
        settle(tmp_path, monkeypatch, year)
        assert tune_would_take(tmp_path) == {f"{kind} of 2026" for kind, _ in KINDS}
    assert os.listdir(tmp_path)


def test_decisions_that_were_not_carried_out_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {
        "runner_data": {"_cached_trial_decisions": {"one": "STOP"}, "_queued_trial_decisions": {}, "_iteration": 7},
        "trial_data": [
            [json.dumps({"trial_id": name, "status": status}), json.dumps({"last_result": {"epoch": 1, **result}})]
            for name, status, result in (
                ("one", "ERROR", {"done": False}),
                ("two", "TERMINATED", {"done": False}),
                ("three", "TERMINATED", {"done": True}),
                ("four", "TERMINATED", {"done": True, FAILED: "no such folder on this node"}),
                ("five", "TERMINATED", {"done": True, FAILED: "the loss became nan", DIVERGED: True}),
            )
        ],
    }
    path = tmp_path / f"experiment_state-{stamp(2025)}.json"
    path.write_text(json.dumps(state))
    settle(tmp_path, monkeypatch, 2026)
    after = json.loads(path.read_text())
    assert after["runner_data"] == {"_iteration": 7}
    statuses = [json.loads(one)["status"] for one, _ in after["trial_data"]]
    assert statuses == ["ERROR", "PENDING", "TERMINATED", "PENDING", "TERMINATED"]
    assert [run for _, run in after["trial_data"]] == [run for _, run in state["trial_data"]]
