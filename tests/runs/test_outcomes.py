"""Outcomes of trials: what is written is read, what cannot be understood is as if it were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.runs import Storage, open_storage
from nasray.runs.outcomes import OPEN, Outcome, State, points_of, read_outcome, read_outcomes, reopen, write_outcome


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
