"""Outcomes of trials: what is written is read, also once it was put together, and wherever a kill cut that off."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import DamagedFiles, InvalidInput
from nasray.runs import Storage, open_storage
from nasray.runs import outcomes as module
from nasray.runs.outcomes import (
    OPEN,
    Outcome,
    State,
    compact_outcomes,
    points_of,
    read_outcome,
    read_outcomes,
    reopen,
    write_outcome,
)


@given(
    state=st.sampled_from(get_args(State)),
    reason=st.none() | st.text(),
    epoch=st.integers(0, 1000),
    points=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1))),
    gpus=st.none() | st.floats(0.01, 1),
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, points: Any, **fields: Any) -> None:
    outcome = Outcome(digest="d", points=tuple(points), **fields)
    storage = open_storage(tmp_path_factory.mktemp("run"))
    write_outcome(storage, "one", outcome)
    assert read_outcome(storage, "one", "d") == outcome
    assert read_outcomes(storage) == {"one": outcome}
    assert outcome.is_open == (outcome.state in OPEN)
    compact_outcomes(storage)
    assert read_outcomes(storage, {"one": "d", "other": "d"}) == {"one": outcome}
    assert storage.exists("trials/one.json") == outcome.is_open


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b'{"state": "done"}', b'{"state": "won", "digest": "d"}', b'{"digest": "d", "epoch": -1}',
     b'{"state": "done", "digest": "d", "points": [[1]]}', b'{"state": "done", "digest": "d", "more": 1}', b"\xff"],
)  # fmt: skip
def test_what_cannot_be_understood_is_as_if_it_were_absent(content: bytes, tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    storage.write_bytes("trials/one.json", content)
    assert read_outcome(storage, "one") is None
    assert read_outcomes(storage) == {}


def test_an_outcome_of_another_trial_of_that_name_is_not_taken(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    write_outcome(storage, "one", Outcome(state="done", digest="d1"))
    assert read_outcome(storage, "one", "d2") is None
    assert read_outcomes(storage, {"one": "d2"}) == read_outcomes(storage, {"two": "d1"}) == {}


def test_who_runs_the_command_again_has_refused_and_failed_trials_tried_again(tmp_path: Path) -> None:
    storage: Storage = open_storage(tmp_path)
    for state in get_args(State):
        write_outcome(storage, state, Outcome(state=state, digest="d", failures=3, reason="why", gpus=0.5))
    reopen(storage, dict.fromkeys(get_args(State), "d"))
    found = read_outcomes(storage)
    assert [state for state in get_args(State) if found[state].state != state] == ["refused", "failed"]
    assert found["failed"] == Outcome(state="retrying", digest="d", reason="why", gpus=0.5)


def test_counts_below_zero_and_unknown_states_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"Outcome state 'won'\. Give one of done, stopped"):
        Outcome(state="won", digest="d")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="Outcome losses -1 is below 0"):
        Outcome(state="lost", digest="d", losses=-1)


def test_points_of_several() -> None:
    one, two = (Outcome(state="done", digest="d", points=((macs, 0.5),)) for macs in (1.0, 2.0))
    assert points_of([one, two]) == [(1.0, 0.5), (2.0, 0.5)]


class Killed(BaseException):
    """As a kill ends a process: nothing of nasray catches it."""


def life(storage: Storage, model: dict[str, Outcome]) -> None:
    """Write and put together outcomes of some trials at random, but always the same; the model is what was written."""
    draw = random.Random(0)
    for number in range(60):
        if draw.random() < 0.3:
            compact_outcomes(storage)
            continue
        name = f"t{draw.randrange(12)}"
        outcome = Outcome(state=draw.choice(get_args(State)), digest="d", epoch=number)
        model[name] = outcome  # before it is there: a write that was cut off counts for either
        write_outcome(storage, name, outcome)


@pytest.mark.slow
@pytest.mark.parametrize("most_bytes", [16 * 2**20, 300])
def test_a_kill_between_any_two_writes_and_deletions_changes_no_outcome(
    most_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", most_bytes)
    original = {name: getattr(Storage, name) for name in ("write_bytes", "delete")}
    left = [0]

    def killing(name: str) -> Callable[..., Any]:
        def act(self: Storage, *given: Any) -> Any:
            left[0] -= 1
            original[name](self, *given)
            if left[0] == 0:
                raise Killed

        return act

    for name in original:
        monkeypatch.setattr(Storage, name, killing(name))
    for acts in range(1, 500):
        storage, model, left[0] = open_storage(tmp_path / f"killed_{acts}"), dict[str, Outcome](), acts
        try:
            life(storage, model)
            break
        except Killed:
            left[0] = 0
        assert read_outcomes(storage) == model
        compact_outcomes(storage)
        assert read_outcomes(storage) == model
        assert {name for name in model if storage.exists(f"trials/{name}.json")} == {
            name for name, outcome in model.items() if outcome.is_open
        }
    assert acts > 80


def test_there_are_few_files_and_each_outcome_is_written_anew_a_few_times(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [0]
    original = Storage.write_bytes

    def counting(self: Storage, name: str, data: bytes) -> None:
        written[0] += data.count(b"digest") if "compact-" in name else 0
        original(self, name, data)

    monkeypatch.setattr(Storage, "write_bytes", counting)
    for batch in range(64):
        for number in range(4):
            write_outcome(storage, f"{batch}_{number}", Outcome(state="done", digest="d"))
        compact_outcomes(storage)
    assert len(read_outcomes(storage)) == 256
    assert len(storage.list("trials")) <= 7  # log2(64), and one
    assert written[0] <= 7 * 256


def test_no_file_that_is_put_together_holds_more_than_can_be_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    for number in range(100):
        write_outcome(storage, f"t{number}", Outcome(state="done", digest="d"))
    compact_outcomes(storage)
    sizes = [len(storage.read_bytes(name)) for name in storage.list("trials")]
    assert max(sizes) < 1100
    assert len(sizes) < 10
    assert len(read_outcomes(storage)) == 100


@pytest.mark.parametrize("content", [b"", b"[]", b'{"one": 1}', b'{"one": {"state": "won", "digest": "d"}}'])
def test_outcomes_of_many_trials_that_cannot_be_read_are_named(content: bytes, storage: Storage) -> None:
    # Unlike a single one: many trials would run again.
    write_outcome(storage, "one", Outcome(state="done", digest="d"))
    compact_outcomes(storage)
    (name,) = storage.list("trials")
    storage.write_bytes(name, content)
    with pytest.raises(DamagedFiles, match=rf"^.*{name} \(.*\) cannot be read\. Put back a whole copy, or delete it"):
        read_outcomes(storage)


def test_a_failed_trial_that_was_put_together_is_tried_again(storage: Storage) -> None:
    write_outcome(storage, "one", Outcome(state="failed", digest="d", failures=2))
    compact_outcomes(storage)
    reopen(storage, {"one": "d"})
    assert read_outcomes(storage)["one"] == Outcome(state="retrying", digest="d")
    write_outcome(storage, "one", Outcome(state="done", digest="d"))
    compact_outcomes(storage)
    assert read_outcomes(storage)["one"].state == "done"
