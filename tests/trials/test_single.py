"""A search without Ray: what it leaves, and that the same again finds it done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from nasray.methods.random import Random
from nasray.runs import CANDIDATES, open_storage, read
from nasray.trials.search_config import SearchConfig
from nasray.trials.single import run_search

TINY: dict[str, Any] = dict(
    batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64, epochs=3
)


def test_a_finished_search_leaves_one_file_of_rows_and_is_done(tmp_path: Path) -> None:
    run = open_storage(tmp_path / "run")
    config = SearchConfig(method="random", space="gold", dataset="digits", settings=Random.Config(**TINY))
    left = []
    for _ in range(2):
        run_search(config, run)
        left.append((sorted(path for path in tmp_path.rglob("*") if path.is_file()), read(run, CANDIDATES)))
    (files, rows), (again, same) = left
    assert [path.name.partition("-")[0] for path in files if path.suffix == ".parquet"] == ["compact"] * 2
    assert len(files) == 4  # run.json, the candidates, the epochs, the outcome
    assert again == files
    pd.testing.assert_frame_equal(rows, same)
    # Whoever deletes its rows has it run again.
    (rows_file,) = (tmp_path / "run" / "candidates").iterdir()
    rows_file.unlink()
    run_search(config, run)
    volatile = ["created_at", "seconds", "peak_memory_bytes"]
    pd.testing.assert_frame_equal(read(run, CANDIDATES).drop(columns=volatile), rows.drop(columns=volatile))
