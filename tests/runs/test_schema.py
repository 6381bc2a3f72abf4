from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nasray.errors import InvalidInput
from nasray.runs import CANDIDATES, EPOCHS, EVALUATIONS, SCHEMA_VERSION, TABLES, Table, describe, kinds_of
from tests.run_files import Row

BOTH = [
    "schema_version",
    "run",
    "method",
    "space",
    "dataset",
    "seed",
    "architecture_id",
    "architecture",
    "macs",
    "params",
    "settings",
    "versions",
    "host",
    "device",
    "created_at",
    "metric",
    "train_examples",
    "architecture_examples",
    "validation_examples",
    "test_examples",
    "channels",
    "cells",
    "told",
    "dataset_digest",
    "code_digest",
]


def test_the_columns_are_those_that_the_design_names() -> None:
    own = ["trial_id", "epoch", "snapshot", "supernet_accuracy", "accuracy", "gap", "complete", "seconds"]
    own += ["peak_memory_bytes"]
    assert list(CANDIDATES.names) == BOTH + own
    own = ["epochs", "complete", "accuracy", "test_accuracy", "seconds", "peak_memory_bytes"]
    own += ["latency_ms", "latency_low_ms", "latency_high_ms", "latency_batch"]
    own += ["training", "member", "search_trial_id", "baseline_of", "weights"]
    assert list(EVALUATIONS.names) == BOTH + own
    own = ["trial_id", "kind", "architecture_id", "epoch", "loss", "accuracy", "supernet_accuracy", "macs", "seconds"]
    assert set(own) < set(EPOCHS.names)
    assert {"run", "method", "space", "dataset", "seed", "metric", "created_at"} < set(EPOCHS.names)
    for table in TABLES.values():
        assert set(table.key) <= set(table.names)
        assert not any(column.nullable for column in table.columns if column.name in table.key)
        assert table.schema.field("created_at").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("table", TABLES.values())
def test_the_description_is_a_markdown_table_of_every_column(table: Table) -> None:
    lines = describe(table).splitlines()
    assert len(lines) == 2 + len(table.columns)
    assert len({line.count("|") for line in lines}) == 1
    for line, column in zip(lines[2:], table.columns, strict=True):
        assert f"`{column.name}`" in line
        assert column.meaning in line
        assert column.meaning.endswith(".")


def test_a_row_is_stamped_and_keeps_its_values(evaluation: Row) -> None:
    row = evaluation()
    del row["created_at"], row["search_trial_id"], row["test_accuracy"]
    before = datetime.now(UTC)
    accepted = EVALUATIONS.accept({**row, "accuracy": np.float32(0.5), "epochs": np.int64(7), "macs": 3})
    assert accepted["schema_version"] == SCHEMA_VERSION
    assert before <= accepted["created_at"] <= datetime.now(UTC)
    assert accepted["search_trial_id"] is None
    assert (accepted["accuracy"], accepted["epochs"], accepted["macs"]) == (0.5, 7, 3.0)
    assert type(accepted["epochs"]) is int


def test_times_are_kept_in_utc(candidate: Row) -> None:
    at = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert CANDIDATES.accept(candidate(created_at=at))["created_at"] == datetime(2025, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("accuracy", 1.0001), ("accuracy", -0.1), ("accuracy", math.nan), ("accuracy", math.inf), ("accuracy", None),
        ("accuracy", "0.5"), ("accuracy", True), ("accuracy", 93.5), ("test_accuracy", math.nan), ("macs", -1.0),
        ("macs", math.inf), ("seconds", math.nan), ("epochs", 1.5), ("epochs", True), ("epochs", -1),
        ("seed", 2**63), ("complete", 1), ("complete", "yes"), ("run", 3), ("run", None), ("architecture", "{"),
        ("settings", {"a": 1}), ("created_at", datetime(2026, 1, 1)), ("created_at", "2026-01-01"),
        ("created_at", pd.NaT), ("schema_version", 1), ("peak_memory_bytes", 1.5),
    ],
)  # fmt: skip
def test_values_that_a_column_does_not_take(evaluation: Row, column: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=column) as caught:
        EVALUATIONS.accept(evaluation(**{column: value}))
    assert "\n" not in str(caught.value)


def test_missing_columns_are_named(candidate: Row) -> None:
    row = candidate()
    del row["macs"], row["gap"]
    with pytest.raises(InvalidInput, match="macs, gap"):
        CANDIDATES.accept(row)


def test_extra_columns_are_plain_scalars(candidate: Row) -> None:
    knobs = {"lambda0": 0.1, "steps": np.int32(4), "order": "second", "unrolled": np.bool_(True), "budget": None}
    accepted = CANDIDATES.accept(candidate(note="x"), knobs)
    assert {n: accepted[n] for n in accepted if n not in CANDIDATES.names} == {
        "lambda0": 0.1, "note": "x", "order": "second", "steps": 4, "unrolled": True,
    }  # fmt: skip
    for value in ([1], {"a": 1}, b"x", 2**64, object()):
        with pytest.raises(InvalidInput, match="knob"):
            CANDIDATES.accept(candidate(), {"knob": value})


@pytest.mark.parametrize("name", ["channels", "seed", "accuracy", "kind", ""])
def test_knobs_that_have_the_name_of_a_column(candidate: Row, name: str) -> None:
    with pytest.raises(InvalidInput, match="knob"):
        CANDIDATES.accept(candidate(), {name: 3})
    with pytest.raises(InvalidInput, match="knob"):
        CANDIDATES.check_knobs({name: 3})


def test_a_value_given_twice_is_refused(candidate: Row) -> None:
    with pytest.raises(InvalidInput, match="mu"):
        CANDIDATES.accept(candidate(mu=1.0), {"mu": 2.0})


def test_kinds_are_told_by_column_or_by_name() -> None:
    candidates, evaluations = pd.DataFrame({"snapshot": [0]}), pd.DataFrame({"epochs": [5]})
    assert kinds_of(candidates) == ["inherited weights"]
    assert kinds_of(evaluations) == ["trained from scratch"]
    assert kinds_of(pd.concat([candidates, evaluations])) == ["inherited weights", "trained from scratch"]
    assert kinds_of(pd.concat([candidates.assign(kind="own"), evaluations])) == ["own", "trained from scratch"]
    assert kinds_of(pd.DataFrame({"macs": [1.0]})) == []
