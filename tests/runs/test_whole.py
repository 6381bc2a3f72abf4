"""Files and rows that other parts of a run name, and that are gone."""

from __future__ import annotations

import pandas as pd

from nasray.runs import EVALUATIONS, Storage, read, write_row
from nasray.runs.whole import lost_weights, write_architectures
from tests.run_files import Row


def test_the_weights_that_rows_name_and_that_are_missing_are_named(storage: Storage, evaluation: Row) -> None:
    for name, training in (("a", "from scratch"), ("b", "from scratch"), ("c", "looked up")):
        weights = None if name == "c" else f"architectures/{name}.safetensors"
        write_row(storage, EVALUATIONS, evaluation(architecture_id=name, training=training, weights=weights))
    storage.write_bytes("architectures/a.safetensors", b"x")
    (lost,) = lost_weights(storage, read(storage, EVALUATIONS))
    assert lost.startswith("architectures/b.safetensors")


def test_a_fronts_architectures_are_written_once(storage: Storage, evaluation: Row) -> None:
    storage.write_bytes("architectures/a.json", b"as it was")
    write_architectures(storage, pd.DataFrame([evaluation(architecture_id=name) for name in "abb"]))
    assert storage.read_bytes("architectures/a.json") == b"as it was"
    assert storage.read_json("architectures/b.json") == {"space": "gold"}
    assert len(storage.list("architectures")) == 2
