"""What a run is of: what may differ when it is resumed, and what a folder without run.json is."""

from __future__ import annotations

from typing import Any

import pytest

from nasray.errors import InvalidInput
from nasray.runs import Storage
from nasray.runs.identity import EXECUTION, check_new, differences, identity

SWEEP: dict[str, Any] = {
    "method": "darts", "settings": {"epochs": 5, "seeds": [0, 1]}, "others": [{"method": "random"}], "rungs": [],
    "execution": {"storage": "runs", "trackers": []},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {}),
        ({EXECUTION: {"storage": "elsewhere", "trackers": ["optuna"]}}, {}),
        ({"method": "gold_nas"}, {"method": ["'darts'", "'gold_nas'"]}),
        ({"settings": {"epochs": 6, "seeds": [0, 1]}}, {"settings.epochs": ["5", "6"]}),
        ({"settings": {"epochs": 5, "seeds": [0]}}, {"settings.seeds.1": ["1", "missing"]}),
        ({"others": []}, {"others": ["[]", "missing"], "others.0.method": ["'random'", "missing"]}),
        ({"rungs": [2]}, {"rungs": ["[]", "missing"], "rungs.0": ["2", "missing"]}),
        # Values that are the same in short are not the same.
        ({"method": "x" * 1000}, {"method": ["'darts'", f"'{'x' * 27}...{'x' * 28}'"]}),
    ],
)
def test_only_what_is_run_counts_and_not_where(changes: dict[str, Any], found: dict[str, list[str]]) -> None:
    assert differences([SWEEP, {**SWEEP, **changes}]) == found
    assert differences([{**SWEEP, **changes}, SWEEP]) == found
    assert (identity(SWEEP) == identity({**SWEEP, **changes})) == (not found)


def test_long_values_are_compared_whole() -> None:
    one, two = ({"method": "x" * 100 + end + "x" * 100} for end in "ab")
    assert list(differences([one, two])) == ["method"]


def test_names_that_may_differ_may_do_so_anywhere() -> None:
    other = {**SWEEP, "settings": {"epochs": 5, "seeds": [7]}}
    assert differences([SWEEP, other], but=["seeds"]) == {}


@pytest.mark.parametrize(
    "part", ["candidates/row-1.parquet", "trials/a.json", "architectures/a.json", "phases/search.json"]
)
def test_parts_of_an_unknown_run_are_refused(storage: Storage, part: str) -> None:
    check_new(storage)
    storage.write_json("lease/x.json", {})
    check_new(storage)
    storage.write_bytes(part, b"")
    with pytest.raises(InvalidInput, match=f"has {part.partition('/')[0]} of a run but no run.json") as caught:
        check_new(storage)
    assert "\n" not in str(caught.value)
    storage.write_json("run.json", {})
    check_new(storage)
