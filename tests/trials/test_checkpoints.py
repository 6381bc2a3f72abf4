"""States that are cut short or changed are told from whole ones, and the one before them is used."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from nasray.errors import InvalidInput
from nasray.methods.random import Random
from nasray.runs import CANDIDATES, open_storage, read
from nasray.trials.checkpoints import DamagedState, newest_first, pack, unpack
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from nasray.trials.single import BEFORE, STATE, run_search
from nasray.tune.trainables import SearchTrainable

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


def test_checkpoints_come_newest_first(tmp_path: Path) -> None:
    for name in ("checkpoint_000009", "checkpoint_000010", "other", "checkpoint_000002"):
        (tmp_path / name).mkdir()
        if name != "checkpoint_000009":
            (tmp_path / name / "state.pt").write_bytes(name.encode())
    found = list(newest_first(fs.LocalFileSystem(), str(tmp_path), "state.pt"))
    assert found == [(name, name.encode()) for name in ("checkpoint_000010", "checkpoint_000002")]
    assert list(newest_first(fs.LocalFileSystem(), str(tmp_path / "nowhere"), "state.pt")) == []


def candidates(folder: Path) -> pd.DataFrame:
    volatile = ["created_at", "seconds", "peak_memory_bytes", "run", "trial_id"]
    return read(open_storage(folder), CANDIDATES).drop(columns=volatile)


class Killed(BaseException):
    """As a kill ends a process: nothing of nasray catches it."""


def search_killed_after(epochs: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_epoch = Search.run_epoch

    def killed(self: Search) -> Any:
        if self.epoch == epochs:
            raise Killed
        return run_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "run_epoch", killed)
        with pytest.raises(Killed):
            run_search(CONFIG, open_storage(folder))


@pytest.mark.parametrize("damage", [cut, flip, nothing])
@pytest.mark.parametrize("both", [False, True])
def test_a_single_search_goes_on_from_the_state_before(
    damage: Any, both: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search(CONFIG, open_storage(tmp_path / "left_alone"))
    folder = tmp_path / "damaged"
    search_killed_after(2, folder, monkeypatch)
    for name in (STATE, BEFORE) if both else (STATE,):
        (folder / name).write_bytes(damage((folder / name).read_bytes()))
    # Killed once more right after: what was whole must still be there.
    search_killed_after(0 if both else 1, folder, monkeypatch)
    said = capsys.readouterr().err
    assert said.count("event=checkpoint_damaged") == 1
    assert ("the search begins anew" if both else f"used={BEFORE}") in said
    run_search(CONFIG, open_storage(folder))
    assert "epoch 1:" not in capsys.readouterr().err or both
    pd.testing.assert_frame_equal(candidates(folder), candidates(tmp_path / "left_alone"))


def trial_in(folder: Path) -> SearchTrainable:
    """As Tune makes it, with the folder of its checkpoints."""
    config = {"trial": {"run": "run", "storage": str(folder), "search": CONFIG.to_dict(), "varied": []}}
    trial = SearchTrainable(config)
    trial._storage = SimpleNamespace(storage_filesystem=fs.LocalFileSystem(), trial_fs_path=str(folder / "trial"))
    return trial


def saved(folder: Path, epochs: int) -> Path:
    """The folder of a trial that was left after some epochs, with all of its checkpoints."""
    trial = trial_in(folder)
    for number in range(epochs):
        trial.step()
        checkpoint = folder / "trial" / f"checkpoint_{number:06d}"
        checkpoint.mkdir(parents=True)
        trial.save_checkpoint(str(checkpoint))
    return folder / "trial"


@pytest.mark.parametrize("damage", [cut, flip, nothing, None])
def test_a_trial_goes_on_from_the_checkpoint_before(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(tmp_path / "damaged", 2)
    last = checkpoints / "checkpoint_000001" / "state.pt"
    if damage is None:
        last.unlink()
    else:
        last.write_bytes(damage(last.read_bytes()))
    trial = trial_in(tmp_path / "damaged")
    trial.load_checkpoint(str(last.parent))
    assert trial.search is not None
    assert trial.search.epoch == 1
    result = trial.step()
    ((level, event, fields),) = result["said"]
    assert (level, event, fields["used"]) == ("warning", "checkpoint_damaged", "checkpoint_000000")
    # The epoch that is run again is the one that was: the same rows.
    while not result["done"]:
        result = trial.step()
    whole = trial_in(tmp_path / "left_alone")
    while not whole.step()["done"]:
        pass
    pd.testing.assert_frame_equal(candidates(tmp_path / "damaged"), candidates(tmp_path / "left_alone"))


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_trial_that_was_refused_goes_on_from_what_it_had(
    epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(tmp_path, epochs)
    with monkeypatch.context() as patch:

        def refuse(*given: object) -> None:
            raise InvalidInput("no such folder on this node")

        patch.setattr(Search, "__init__", refuse)
        # By two drivers, one after the other; Tune keeps two checkpoints.
        for number in (2, 3):
            trial = trial_in(tmp_path)
            assert trial.step()["failed"] == "no such folder on this node"
            (checkpoints / f"checkpoint_{number:06d}").mkdir(parents=True)
            trial.save_checkpoint(str(checkpoints / f"checkpoint_{number:06d}"))
    for number in range(epochs):
        shutil.rmtree(checkpoints / f"checkpoint_{number:06d}")
    trial = trial_in(tmp_path)
    trial.load_checkpoint(str(checkpoints / "checkpoint_000003"))
    result = trial.step()
    assert (result["epoch"], "said" in result) == (epochs + 1, False)


def test_a_trial_without_a_whole_checkpoint_begins_anew_and_says_so(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 2)
    for path in checkpoints.glob("*/state.pt"):
        path.write_bytes(flip(path.read_bytes()))
    trial = trial_in(tmp_path)
    trial.load_checkpoint(str(checkpoints / "checkpoint_000001"))
    result = trial.step()
    assert result["epoch"] == 1
    ((_, event, fields),) = result["said"]
    assert (event, fields["used"]) == ("checkpoint_damaged", "none, the trial begins anew")


def test_a_whole_state_of_another_trial_is_not_taken(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    path = checkpoints / "checkpoint_000000" / "state.pt"
    path.write_bytes(pack({"epoch": 1, "points": []}))
    trial = trial_in(tmp_path)
    trial.load_checkpoint(str(path.parent))
    assert trial.step()["epoch"] == 1


def test_a_trial_that_tune_knows_nothing_of_is_taken_up(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    assert trial_in(tmp_path).step()["epoch"] == 3
    saved(tmp_path / "finished", 3)
    result = trial_in(tmp_path / "finished").step()
    assert (result["epoch"], result["done"]) == (3, True)
    assert len(result["points"]) == 1
