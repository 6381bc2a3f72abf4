"""States that are cut short or changed are told from whole ones, and the one before them is used."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasray.methods.random import Random
from nasray.runs import CANDIDATES, EPOCHS, open_storage, read
from nasray.runs.outcomes import read_outcomes
from nasray.trials.checkpoints import DamagedState, drop_checkpoints, newest_checkpoints, pack, save_checkpoint, unpack
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from nasray.trials.single import run_search

STATE_OF_TWO = {"epoch": 3, "weights": {"w": torch.arange(6.0).reshape(2, 3)}, "points": [[1.5, 0.25]]}
WHOLE = pack(STATE_OF_TWO)
CONFIG = SearchConfig(
    method="random",
    space="gold",
    dataset="digits",
    settings=Random.Config(
        batch_size=32,
        channels=2,
        cells=3,
        auxiliary_weight=0.0,
        augmentation="standard",
        train_examples=64,
        epochs=3,
    ),
)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[-len(data) // 3] ^= 1
    return bytes(changed)


def nothing(data: bytes) -> bytes:
    return b""


def test_a_state_comes_back_as_it_was() -> None:
    state = unpack(WHOLE)
    assert torch.equal(state["weights"].pop("w"), STATE_OF_TWO["weights"]["w"])  # type: ignore[index]
    assert state == {"epoch": 3, "weights": {}, "points": [[1.5, 0.25]]}


@given(st.integers(0, len(WHOLE) - 1))
def test_a_state_that_is_cut_short_is_damaged(length: int) -> None:
    with pytest.raises(DamagedState) as caught:
        unpack(WHOLE[:length])
    assert "\n" not in str(caught.value)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_state_with_any_byte_changed_is_damaged(place: int, change: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= change
    with pytest.raises(DamagedState):
        unpack(bytes(data))


@given(st.binary(max_size=300))
def test_what_is_no_state_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedState):
        unpack(data)


class Harm:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/nasray-was-harmed",)


def test_a_state_with_code_in_it_is_refused_and_not_run() -> None:
    for content in (pickle.dumps(Harm()), pickle.dumps([1, 2])):
        data = b"nasray state 1 sha256 " + hashlib.sha256(content).hexdigest().encode() + b"\n" + content
        with pytest.raises(DamagedState):
            unpack(data)
    assert not Path("/tmp/nasray-was-harmed").exists()


def test_checkpoints_come_newest_first_and_two_are_kept(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    assert list(newest_checkpoints(storage, "one")) == []
    for epoch in (2, 9, 10):
        save_checkpoint(storage, "one", epoch, {"epoch": epoch})
    found = [(name, unpack(content)["epoch"]) for name, content in newest_checkpoints(storage, "one")]
    assert found == [("000010.state", 10), ("000009.state", 9)]
    drop_checkpoints(storage, "one")
    drop_checkpoints(storage, "one")  # as another driver may have
    assert list(newest_checkpoints(storage, "one")) == []


def candidates(folder: Path) -> pd.DataFrame:
    volatile = ["created_at", "seconds", "peak_memory_bytes", "run", "trial_id"]
    return read(open_storage(folder), CANDIDATES).drop(columns=volatile)


class Killed(BaseException):
    """As a kill ends a process: nothing of nasray catches it."""


def run(folder: Path) -> None:
    run_search(CONFIG, open_storage(folder))


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The candidates of the search that nobody disturbs."""
    folder = tmp_path_factory.mktemp("left_alone")
    run(folder)
    return candidates(folder)


def search_killed_after(epochs: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_epoch = Search.run_epoch

    def killed(self: Search) -> Any:
        if self.epoch == epochs:
            raise Killed
        return run_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "run_epoch", killed)
        with pytest.raises(Killed):
            run(folder)


def checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("trials/*/*.state"), reverse=True)


@pytest.mark.parametrize(
    ("damage", "both"),
    [
        (flip, False),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in ((cut, False), (nothing, False), (flip, True))),
    ],
)
def test_a_search_goes_on_from_the_checkpoint_before(
    damage: Any,
    both: bool,
    left_alone: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path
    search_killed_after(2, folder, monkeypatch)
    for path in checkpoints(folder) if both else checkpoints(folder)[:1]:
        path.write_bytes(damage(path.read_bytes()))
    # Killed once more right after: what was whole must still be there.
    search_killed_after(0 if both else 1, folder, monkeypatch)
    said = capsys.readouterr().err
    assert said.count("event=checkpoint_damaged") == 1
    assert ("the trial starts again" if both else "used=000001.state") in said
    run(folder)
    assert "epoch 1 of" not in capsys.readouterr().err or both
    pd.testing.assert_frame_equal(candidates(folder), left_alone)
    epochs = read(open_storage(folder), EPOCHS)["epoch"]
    assert list(epochs) == list(range(1, CONFIG.settings.epochs + 1))


def test_a_whole_state_of_another_trial_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search_killed_after(1, tmp_path, monkeypatch)
    (path,) = checkpoints(tmp_path)
    path.write_bytes(pack({"epoch": 1, "points": [], "report": {}}))
    run(tmp_path)
    said = capsys.readouterr().err
    assert "it is of another trial" in said
    assert sorted(set(candidates(tmp_path)["epoch"])) == [CONFIG.settings.epochs]


def test_a_finished_search_leaves_its_outcome_and_no_checkpoints(tmp_path: Path, monkeypatch: Any) -> None:
    run(tmp_path)
    assert checkpoints(tmp_path) == []
    (outcome,) = read_outcomes(open_storage(tmp_path)).values()
    assert (outcome.state, outcome.epoch, len(outcome.points)) == ("done", 3, 1)
    # Nothing is searched again.
    monkeypatch.setattr(Search, "run_epoch", lambda self: pytest.fail("it was run again"))
    run(tmp_path)
