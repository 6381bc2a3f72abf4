"""Files and rows that other parts of a run name, and that are gone."""

from __future__ import annotations

from nasray.runs import CANDIDATES, EVALUATIONS, Storage, read, write_row
from nasray.runs.whole import mend_files, without_rows
from tests.run_files import Row


def test_what_rows_name_is_made_again_or_named(storage: Storage, evaluation: Row) -> None:
    for name, training in (("a", "from scratch"), ("b", "from scratch"), ("c", "looked up")):
        weights = None if name == "c" else f"architectures/{name}.safetensors"
        write_row(storage, EVALUATIONS, evaluation(architecture_id=name, training=training, weights=weights))
    storage.write_bytes("architectures/a.safetensors", b"x")
    storage.write_bytes("architectures/a.json", b"as it was")
    (lost,) = mend_files(storage, read(storage, EVALUATIONS))
    assert lost.startswith("architectures/b.safetensors")
    assert storage.read_bytes("architectures/a.json") == b"as it was"
    assert storage.read_json("architectures/b.json") == {"space": "gold"}
    assert not storage.exists("architectures/c.json")


def test_done_trials_without_their_rows_are_found(storage: Storage, candidate: Row, evaluation: Row) -> None:
    write_row(storage, CANDIDATES, candidate(macs=1.0, accuracy=0.1))
    write_row(storage, EVALUATIONS, evaluation(macs=2.0, accuracy=0.2))
    points = {"a": [(1.0, 0.1)], "b": [(2.0, 0.2)], "c": [(1.0, 0.1), (1.0, 0.2)], "d": [(3.0, 0.3)], "e": []}
    assert without_rows(points, read(storage, CANDIDATES), read(storage, EVALUATIONS)) == ["c", "d"]
