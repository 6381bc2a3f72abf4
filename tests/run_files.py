from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nasray.runs import CANDIDATES, EVALUATIONS, Storage, open_storage, write_row

_BOTH = {
    "run": "r1",
    "method": "gold_nas",
    "space": "gold",
    "dataset": "digits",
    "seed": 0,
    "architecture_id": "a0",
    "architecture": json.dumps({"space": "gold"}),
    "macs": 12.5,
    "params": 0.25,
    "settings": json.dumps({"lambda0": 0.1}),
    "versions": json.dumps({"torch": "2.15.0"}),
    "host": "here",
    "device": "cpu",
    "created_at": datetime(2026, 11, 22, 12, tzinfo=UTC),
    "train_examples": 1000,
    "architecture_examples": 0,
    "validation_examples": 400,
    "test_examples": 397,
    "channels": 8,
    "cells": 3,
    "metric": "accuracy",
    "accuracy": 0.75,
    "seconds": 1.5,
}
_CANDIDATE = {**_BOTH, "trial_id": "t1", "epoch": 0, "snapshot": 0, "supernet_accuracy": 0.8, "gap": 0.05}
_EVALUATION = {
    **_BOTH,
    "epochs": 5,
    "complete": True,
    "test_accuracy": 0.7,
    "training": "from scratch",
    "search_trial_id": "t1",
}

Row = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def candidate() -> Row:
    return lambda **changes: {**_CANDIDATE, **changes}


@pytest.fixture(scope="session")
def evaluation() -> Row:
    return lambda **changes: {**_EVALUATION, **changes}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "run")


WriteRun = Callable[..., Storage]


@pytest.fixture
def write_run(tmp_path: Path, evaluation: Row, candidate: Row) -> WriteRun:
    """Makes a run: `rows` are what differs of its evaluations (or of its candidates, where they name a snapshot)."""

    def make(
        name: str, rows: list[dict[str, Any]], reference: tuple[float, float] | None = (100.0, 0.1), **sweep: Any
    ) -> Storage:
        made = open_storage(tmp_path / name)
        values = {"name": name, "method": "gold_nas", "settings": {"lambda0": 0.1, "split_seed": 0}, **sweep}
        made.write_json("run.json", {"sweep": values, **({} if reference is None else {"reference": list(reference)})})
        for row in rows:
            table, whole = (CANDIDATES, candidate) if "snapshot" in row else (EVALUATIONS, evaluation)
            told = {"training": "from scratch"} if table is EVALUATIONS and "training" in table.names else {}
            write_row(made, table, whole(**{**told, "run": name, **row}))
        return made

    return make
