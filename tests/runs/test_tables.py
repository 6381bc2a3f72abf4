from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasray.errors import DamagedFiles, DamagedFilesWarning, InvalidInput
from nasray.fronts import average_over_seeds, pareto_front
from nasray.runs import (
    CANDIDATES,
    EVALUATIONS,
    SCHEMA_VERSION,
    Storage,
    Table,
    amend_row,
    compact,
    load,
    open_storage,
    read,
    row_file,
    tables,
    write_front,
    write_row,
)
from nasray.runs.parquet import to_bytes
from tests.run_files import Row

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def files(storage: Storage, table: Table = CANDIDATES) -> list[str]:
    return [name.rpartition("/")[2] for name in storage.list(table.name)]


@contextmanager
def before_each(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None], *methods: str) -> Iterator[None]:
    """Call act(0), act(1), ... before every call of these methods of Storage that comes from outside act."""
    state: dict[str, Any] = {"calls": 0, "inside": False}

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            if not state["inside"]:
                state["inside"] = True
                state["calls"] += 1
                try:
                    act(state["calls"] - 1)
                finally:
                    state["inside"] = False
            return original(*arguments)

        return wrapped

    with monkeypatch.context() as patch:
        for method in methods:
            patch.setattr(Storage, method, wrap(getattr(Storage, method)))
        yield


# --- rows


def test_pandas_alone_opens_what_was_written(storage: Storage, evaluation: Row) -> None:
    row = evaluation(settings=json.dumps({"lr": 0.1}))
    name = write_row(storage, EVALUATIONS, row, {"lambda0": 0.25, "order": "first"})
    frame = pd.read_parquet(Path(str(storage)) / name)
    assert frame.shape[0] == 1
    for key, value in row.items():
        assert frame[key][0] == value, key
    assert frame["lambda0"][0] == 0.25
    assert frame["order"][0] == "first"


def test_writing_a_row_twice_leaves_one(storage: Storage, candidate: Row) -> None:
    write_row(storage, CANDIDATES, candidate(accuracy=0.1))
    write_row(storage, CANDIDATES, candidate(accuracy=0.2))
    assert len(files(storage)) == 1
    assert read(storage, CANDIDATES)["accuracy"].tolist() == [0.2]


def test_file_names_are_plain_and_never_collide(storage: Storage, candidate: Row) -> None:
    trials = ["a/b", "a-b", "a b", "a:b", "A-B", "..", "", "größe", "x" * 300, "x" * 301, "a-1", "a", "compact-", "l\n"]
    for trial in trials:
        for epoch in (0, 1, 10):
            write_row(storage, CANDIDATES, candidate(trial_id=trial, epoch=epoch))
    names = files(storage)
    assert len({name.lower() for name in names}) == len(trials) * 3
    assert all(name.replace("-", "").replace(".", "").replace("_", "").isascii() and len(name) < 200 for name in names)
    frame = read(storage, CANDIDATES)
    assert sorted(frame["trial_id"].unique()) == sorted(trials)
    assert compact(storage, CANDIDATES) == len(trials) * 3
    pd.testing.assert_frame_equal(read(storage, CANDIDATES), frame)


@pytest.mark.parametrize("table", [CANDIDATES, EVALUATIONS])
def test_an_empty_table_has_the_types_of_a_full_one(
    storage: Storage, table: Table, candidate: Row, evaluation: Row
) -> None:
    empty = read(storage, table)
    assert list(empty.columns) == list(table.names)
    assert len(empty) == 0
    row = candidate if table is CANDIDATES else evaluation
    write_row(storage, table, row(peak_memory_bytes=5))
    full = read(storage, table)
    write_row(storage, table, row(seed=1, trial_id="t2") if table is CANDIDATES else row(seed=1, search_trial_id=None))
    gaps = read(storage, table)
    assert len(gaps) == 2
    for frame in (full, gaps):
        same = {n: t for n, t in frame.dtypes.items() if n in table.names}
        assert same == dict(empty.dtypes)
    assert str(full["created_at"].dtype) == "datetime64[us, UTC]"
    assert str(full["seed"].dtype) == "int64"
    assert gaps["peak_memory_bytes"].isna().sum() == 1


def test_rows_of_differing_columns_are_united(storage: Storage, candidate: Row) -> None:
    knobs: list[dict[str, Any]] = [
        {"a": 1, "b": True, "c": "x", "mixed": 3}, {"a": 2.5, "d": 7, "mixed": "many"}, {"b": False, "d": 8},
    ]  # fmt: skip
    for epoch, knob in enumerate(knobs):
        write_row(storage, CANDIDATES, candidate(epoch=epoch), knob)
    frame = read(storage, CANDIDATES)
    assert list(frame.columns) == [*CANDIDATES.names, "a", "b", "c", "d", "mixed"]
    assert frame["a"].tolist()[:2] == [1.0, 2.5]
    assert frame["b"].isna().tolist() == [False, True, False]
    assert (str(frame["b"].dtype), str(frame["d"].dtype)) == ("boolean", "Int64")
    assert frame["d"].dropna().tolist() == [7, 8]
    assert frame["mixed"].tolist()[:2] == ["3", "many"]
    compact(storage, CANDIDATES)
    pd.testing.assert_frame_equal(read(storage, CANDIDATES), frame)


def test_rows_from_before_a_column_was_added_are_read(storage: Storage, evaluation: Row) -> None:
    name = write_row(storage, EVALUATIONS, evaluation(seed=0))
    write_row(storage, EVALUATIONS, evaluation(seed=1, latency_ms=2.5, latency_batch=8))
    older = pq.read_table(f"{storage}/{name}").drop_columns(["latency_ms", "latency_batch"])
    pq.write_table(older, f"{storage}/{name}")
    frame = read(storage, EVALUATIONS)
    assert frame["latency_ms"].isna().tolist() == [True, False]
    assert frame["latency_batch"].tolist()[1] == 8
    assert list(frame.columns) == list(EVALUATIONS.names)


def test_rows_come_sorted_by_key_whatever_the_order_of_writing(tmp_path: Path, candidate: Row) -> None:
    rows = [candidate(trial_id=f"t{t}", epoch=e, snapshot=s) for t in range(2) for e in (2, 10) for s in range(2)]
    frames = []
    for place in range(3):
        storage = open_storage(tmp_path / str(place))
        for row in random.Random(place).sample(rows, len(rows)):
            write_row(storage, CANDIDATES, row)
        frames.append(read(storage, CANDIDATES))
    assert frames[0][list(CANDIDATES.key)].to_records(index=False).tolist() == [
        (row["trial_id"], row["epoch"], row["snapshot"]) for row in rows
    ]
    pd.testing.assert_frame_equal(frames[0], frames[1])
    pd.testing.assert_frame_equal(frames[0], frames[2])


def test_the_newest_row_of_a_key_counts_wherever_it_lies(storage: Storage, candidate: Row) -> None:
    write_row(storage, CANDIDATES, candidate(accuracy=0.1, created_at=NOON))
    compact(storage, CANDIDATES)
    write_row(storage, CANDIDATES, candidate(accuracy=0.2, created_at=NOON + timedelta(microseconds=1)))
    assert len(files(storage)) == 2
    assert read(storage, CANDIDATES)["accuracy"].tolist() == [0.2]
    assert compact(storage, CANDIDATES) == 1
    assert len(files(storage)) == 1
    assert read(storage, CANDIDATES)["accuracy"].tolist() == [0.2]


def test_rows_of_a_later_version_are_refused(storage: Storage, candidate: Row) -> None:
    name = write_row(storage, CANDIDATES, candidate())
    content = pq.read_table(pa.BufferReader(storage.read_bytes(name)))
    later = content.set_column(0, "schema_version", pa.array([SCHEMA_VERSION + 1], pa.int64()))
    pq.write_table(later, Path(str(storage)) / name)
    with pytest.raises(InvalidInput, match=f"version {SCHEMA_VERSION + 1}"):
        read(storage, CANDIDATES)


def test_stray_files_are_left_out_with_a_warning_and_never_deleted(storage: Storage, candidate: Row) -> None:
    name = write_row(storage, CANDIDATES, candidate())
    whole = storage.read_bytes(name)
    storage.write_bytes("candidates/row-cut.parquet", whole[: len(whole) // 2])
    storage.write_bytes("candidates/empty.parquet", b"")
    pq.write_table(pa.table({"x": [1]}), Path(str(storage)) / "candidates/other.parquet")
    wrong = pq.read_table(pa.BufferReader(whole))
    wrong = wrong.set_column(wrong.column_names.index("macs"), "macs", pa.array(["many"]))
    pq.write_table(wrong, Path(str(storage)) / "candidates/wrong.parquet")
    (Path(str(storage)) / "candidates/.hidden.tmp").write_bytes(b"x")
    with pytest.warns(DamagedFilesWarning, match="left out") as caught:
        assert len(read(storage, CANDIDATES, strict=False)) == 1
    named = sorted(str(warning.message).split(" was left out")[0].rpartition("/")[2] for warning in caught)
    assert named == ["empty.parquet", "other.parquet", "row-cut.parquet", "wrong.parquet"]
    with pytest.raises(DamagedFiles, match=r"empty\..*other\..*row-cut\..* and 1 more cannot be read"):
        read(storage, CANDIDATES)
    assert compact(storage, CANDIDATES) == 1
    left = files(storage)
    assert len(left) == 5
    assert sum("row-cut" in n for n in left) == 1


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "empty": lambda path: os.truncate(path, 0),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "x").touch()),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("table", [CANDIDATES, EVALUATIONS])
def test_a_front_is_not_replaced_by_what_damage_left(
    storage: Storage, candidate: Row, evaluation: Row, table: Table, damage: str
) -> None:
    row = candidate if table is CANDIDATES else evaluation
    for place in range(2):
        own = {"trial_id": f"t{place}"} if table is CANDIDATES else {"architecture_id": f"a{place}"}
        write_row(storage, table, row(macs=1.0 + place, accuracy=0.5 + place / 10, **own))
        compact(storage, table) if not place else None
    write_front(storage, pareto_front(read(storage, table)))
    whole = storage.read_bytes("front.parquet")
    (path,) = Path(str(storage), table.name).glob("compact-*")
    DAMAGE[damage](path)
    with contextlib.suppress(DamagedFiles):
        write_front(storage, pareto_front(read(storage, table)))
    assert storage.read_bytes("front.parquet") == whole
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left = pareto_front(load(str(storage), table.name))
    assert len(left) == 1
    gone = damage in ("missing", "a folder")
    with pytest.raises(DamagedFiles, match=r"1 of 2 rows.*front\.parquet" if gone else path.name) as caught:
        write_front(storage, left)
    assert "\n" not in str(caught.value)
    assert storage.read_bytes("front.parquet") == whole
    # A compaction keeps the damaged file, and its rows are not taken for gone.
    compact(storage, table)
    assert path.exists() == (damage != "missing")
    with pytest.raises(DamagedFiles):
        write_front(storage, left)
    # What was damaged by accident may be whole in another copy.
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    write_row(storage, table, row(macs=1.0, accuracy=0.5, **({"trial_id": "t0"} if table is CANDIDATES else {})))
    write_front(storage, pareto_front(read(storage, table)))


def test_a_front_that_cannot_be_read_is_made_again(storage: Storage, evaluation: Row) -> None:
    write_row(storage, EVALUATIONS, evaluation())
    storage.write_bytes("front.parquet", b"PAR1")
    with pytest.raises(InvalidInput, match=r"front\.parquet cannot be read"):
        load(str(storage), "front")
    write_front(storage, pareto_front(read(storage, EVALUATIONS)))
    assert len(load(str(storage), "front")) == 1


def test_a_front_of_means_is_covered_by_its_seeds(storage: Storage, evaluation: Row) -> None:
    for seed in range(2):
        write_row(storage, EVALUATIONS, evaluation(seed=seed))
    for _ in range(2):
        write_front(storage, pareto_front(average_over_seeds(read(storage, EVALUATIONS))))
    # Another fidelity's front takes its place, for no row was lost.
    write_row(storage, EVALUATIONS, evaluation(epochs=50))
    write_front(storage, pareto_front(read(storage, EVALUATIONS).query("epochs == 50")))
    assert load(str(storage), "front")["epochs"].tolist() == [50]


@pytest.mark.parametrize("claimed", [False, True])
def test_a_damaged_row_that_lies_whole_in_another_file_is_no_loss(
    storage: Storage, candidate: Row, claimed: bool
) -> None:
    name = write_row(storage, CANDIDATES, candidate())
    write_row(storage, CANDIDATES, candidate(epoch=1))
    storage.write_bytes(name, b"")
    if claimed:
        compact(storage, CANDIDATES)
    with pytest.raises(DamagedFiles, match=name.rpartition("/")[2]):
        read(storage, CANDIDATES)
    # As the trial does that wrote it, where it goes on.
    assert write_row(storage, CANDIDATES, candidate()) == name == row_file(CANDIDATES, candidate())
    assert len(read(storage, CANDIDATES)) == 2
    compact(storage, CANDIDATES)
    assert len(read(storage, CANDIDATES)) == 2


# --- amended rows


def test_an_amended_row_has_its_other_values_as_they_were(storage: Storage, evaluation: Row) -> None:
    name = write_row(storage, EVALUATIONS, evaluation(), {"lambda0": 0.25, "order": "first"})
    other = write_row(storage, EVALUATIONS, evaluation(seed=1))
    before = read(storage, EVALUATIONS)
    assert before["told"].isna().all()
    amend_row(storage, EVALUATIONS, name, told=3)
    after = read(storage, EVALUATIONS)
    assert after["told"].tolist() == [3, pd.NA]
    pd.testing.assert_frame_equal(after.drop(columns="told"), before.drop(columns="told"))
    assert len(files(storage, EVALUATIONS)) == 2
    # Once they are compacted too, in whichever order the files are read.
    compact(storage, EVALUATIONS)
    amend_row(storage, EVALUATIONS, other, told=4)
    amend_row(storage, EVALUATIONS, name, told=5)
    for _ in range(2):
        later = read(storage, EVALUATIONS)
        assert later["told"].tolist() == [5, 4]
        same = ["told", "created_at"]
        pd.testing.assert_frame_equal(later.drop(columns=same), before.drop(columns=same))
        compact(storage, EVALUATIONS)


def test_what_cannot_be_amended(storage: Storage, evaluation: Row) -> None:
    name = write_row(storage, EVALUATIONS, evaluation())
    for values in ({"seed": 1}, {"colour": 1}, {"schema_version": 3}, {"told": -1}, {"told": 0.5}):
        with pytest.raises(InvalidInput, match=next(iter(values))):
            amend_row(storage, EVALUATIONS, name, **values)
    with pytest.raises(FileNotFoundError):
        amend_row(storage, EVALUATIONS, row_file(EVALUATIONS, evaluation(seed=7)), told=1)
    storage.write_bytes(name, b"")
    with pytest.raises(DamagedFiles, match=name):
        amend_row(storage, EVALUATIONS, name, told=1)
    assert storage.read_bytes(name) == b""


# --- compaction


def test_compaction_leaves_one_file_and_the_same_rows(storage: Storage, candidate: Row) -> None:
    assert compact(storage, CANDIDATES) == 0
    assert files(storage) == []
    for epoch in range(5):
        write_row(storage, CANDIDATES, candidate(epoch=epoch, accuracy=epoch / 10))
    before = read(storage, CANDIDATES)
    assert compact(storage, CANDIDATES) == 5
    once = files(storage)
    assert len(once) == 1
    assert compact(storage, CANDIDATES) == 5
    assert files(storage) == once
    pd.testing.assert_frame_equal(read(storage, CANDIDATES), before)


def test_a_large_file_of_rows_is_left_as_it_is(
    storage: Storage, candidate: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(first: int) -> None:
        for epoch in range(first, first + 5):
            write_row(storage, CANDIDATES, candidate(epoch=epoch, accuracy=0.5, created_at=NOON))

    some(0)
    assert compact(storage, CANDIDATES) == 5
    (large,) = files(storage)
    kept = storage.read_bytes(f"{CANDIDATES.name}/{large}")
    monkeypatch.setattr(tables, "_LARGE_BYTES", len(kept) - 1)
    some(4)  # one of them for the second time
    assert compact(storage, CANDIDATES) == 5
    assert len(files(storage)) == 2
    assert storage.read_bytes(f"{CANDIDATES.name}/{large}") == kept
    assert list(read(storage, CANDIDATES)["epoch"]) == list(range(9))
    monkeypatch.undo()
    assert compact(storage, CANDIDATES) == 9
    assert len(files(storage)) == 1


@pytest.mark.parametrize("where", ["local", "mock"])
def test_compaction_killed_before_any_step_loses_nothing(
    tmp_path: Path, candidate: Row, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    class Killed(BaseException):
        pass

    for step in range(100):
        storage = open_storage(tmp_path / str(step) if where == "local" else f"mock:///{step}")
        write_row(storage, CANDIDATES, candidate(epoch=0, accuracy=0.1))
        write_row(storage, CANDIDATES, candidate(epoch=1))
        compact(storage, CANDIDATES)
        write_row(storage, CANDIDATES, candidate(epoch=0, accuracy=0.2, created_at=NOON + timedelta(seconds=1)))
        write_row(storage, CANDIDATES, candidate(epoch=2))
        before = read(storage, CANDIDATES)

        def kill(call: int, step: int = step) -> None:
            if call == step:
                raise Killed

        killed = False
        with before_each(monkeypatch, kill, "write_bytes", "move", "delete", "read_bytes", "list"):
            try:
                compact(storage, CANDIDATES)
            except Killed:
                killed = True
        pd.testing.assert_frame_equal(read(storage, CANDIDATES), before)
        assert compact(storage, CANDIDATES) == 3
        pd.testing.assert_frame_equal(read(storage, CANDIDATES), before)
        assert len(files(storage)) == 1
        if not killed:
            assert step > 8
            return
    pytest.fail("compaction does not end")


def test_rows_written_and_read_at_any_step_of_a_compaction_are_there(
    tmp_path: Path, candidate: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(100):
        storage = open_storage(tmp_path / str(step))
        for epoch in range(3):
            write_row(storage, CANDIDATES, candidate(epoch=epoch, accuracy=0.1))
        reached = False

        def write(call: int, step: int = step, storage: Storage = storage) -> None:
            nonlocal reached
            if call == step:
                reached = True
                # A row that the compaction may have read already, and one that it cannot know.
                write_row(storage, CANDIDATES, candidate(epoch=1, accuracy=0.9, created_at=NOON + timedelta(seconds=1)))
                write_row(storage, CANDIDATES, candidate(epoch=7, accuracy=0.7))
            expected = [0.1, 0.9, 0.1, 0.7] if reached else [0.1, 0.1, 0.1]
            assert read(storage, CANDIDATES)["accuracy"].tolist() == expected

        with before_each(monkeypatch, write, "write_bytes", "move", "delete", "read_bytes", "list"):
            compact(storage, CANDIDATES)
        if not reached:
            assert step > 8
            return
        assert read(storage, CANDIDATES)["accuracy"].tolist() == [0.1, 0.9, 0.1, 0.7]
    pytest.fail("compaction does not end")


def test_a_compaction_at_any_step_of_a_reading_or_another_compaction_loses_nothing(
    tmp_path: Path, candidate: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    for act in (read, compact):
        for step in range(100):
            storage = open_storage(tmp_path / act.__name__ / str(step))
            for epoch in range(3):
                write_row(storage, CANDIDATES, candidate(epoch=epoch))
            before, reached = read(storage, CANDIDATES), False

            def compete(call: int, step: int = step, storage: Storage = storage) -> None:
                nonlocal reached
                if call == step:
                    reached = True
                    compact(storage, CANDIDATES)

            with before_each(monkeypatch, compete, "write_bytes", "move", "delete", "read_bytes", "list"):
                result = act(storage, CANDIDATES)
            if act is read:
                pd.testing.assert_frame_equal(result, before)
            pd.testing.assert_frame_equal(read(storage, CANDIDATES), before)
            if not reached:
                break
        assert not reached
        assert step > 4


def test_a_listing_that_misses_a_renamed_file_is_made_good(
    storage: Storage, candidate: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epoch in range(3):
        write_row(storage, CANDIDATES, candidate(epoch=epoch))
    whole, listings = Storage.list, 0

    def missing(self: Storage, folder: str, suffix: str = "") -> tuple[str, ...]:
        nonlocal listings
        listings += 1
        return () if listings == 1 else whole(self, folder, suffix)

    monkeypatch.setattr(Storage, "list", missing)
    assert len(read(storage, CANDIDATES)) == 3


def test_writers_readers_and_compactions_at_once(storage: Storage, candidate: Row) -> None:
    written: set[tuple[str, int]] = set()
    problems: list[str] = []
    rows = 25

    def write(trial: str) -> None:
        for epoch in range(rows):
            write_row(storage, CANDIDATES, candidate(trial_id=trial, epoch=epoch))
            later = NOON + timedelta(seconds=epoch)
            write_row(storage, CANDIDATES, candidate(trial_id=trial, epoch=999, accuracy=epoch / 100, created_at=later))
            written.add((trial, epoch))

    def check() -> None:
        known = set(written)
        frame = read(storage, CANDIDATES)
        missed = known - set(zip(frame["trial_id"], frame["epoch"], strict=True))
        if missed or frame.duplicated(list(CANDIDATES.key)).any():
            problems.append(f"missed {missed}")

    def during(act: Callable[[], object]) -> None:
        try:
            while any(writer.is_alive() for writer in writers):
                act()
        except BaseException as error:
            problems.append(repr(error))

    writers = [threading.Thread(target=write, args=(trial,)) for trial in ("a", "b")]
    others = [threading.Thread(target=during, args=(act,)) for act in (check, lambda: compact(storage, CANDIDATES)) * 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for thread in (*writers, *others):
            thread.start()
        for thread in (*writers, *others):
            thread.join()
    assert problems == []
    assert len(written) == 2 * rows
    for _ in range(2):
        frame = read(storage, CANDIDATES)
        assert len(frame) == 2 * rows + 2
        assert frame.loc[frame["epoch"] == 999, "accuracy"].tolist() == [(rows - 1) / 100] * 2
        compact(storage, CANDIDATES)


WRITER = """
import json, sys
from datetime import datetime
from nasray.runs import CANDIDATES, compact, open_storage, write_row
storage, row, trial = open_storage(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
row["created_at"] = datetime.fromisoformat(row["created_at"])
for epoch in range(10**6):
    write_row(storage, CANDIDATES, {**row, "trial_id": trial, "epoch": epoch})
    print(epoch, flush=True)
    if epoch % 5 == 4:
        compact(storage, CANDIDATES)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_all_rows_that_it_wrote(storage: Storage, candidate: Row) -> None:
    moments = random.Random(0)
    row = json.dumps(candidate(), default=str)
    written: dict[str, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for turn in range(4):
            command = [sys.executable, "-c", WRITER, str(storage), row, f"t{turn}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) as writer:
                assert writer.stdout is not None
                assert writer.stdout.readline().strip() == "0"
                end = time.monotonic() + moments.uniform(0.02, 0.4)
                seen = 0
                while time.monotonic() < end:
                    frame = read(storage, CANDIDATES)
                    assert len(frame) >= seen
                    seen = len(frame)
                writer.send_signal(signal.SIGKILL)
                written[f"t{turn}"] = int(("0\n" + writer.stdout.read()).split()[-1]) + 1
            frame = read(storage, CANDIDATES)
            counts = frame.groupby("trial_id")["epoch"].agg(["count", "max"])
            for trial, count in written.items():
                # One row more may have been written than was told.
                assert counts.loc[trial, "count"] in (count, count + 1)
                assert counts.loc[trial, "max"] == counts.loc[trial, "count"] - 1
        compact(storage, CANDIDATES)
        pd.testing.assert_frame_equal(read(storage, CANDIDATES), frame)


# --- load


def test_load_gives_each_table_of_a_run(storage: Storage, candidate: Row, evaluation: Row) -> None:
    write_row(storage, CANDIDATES, candidate())
    assert len(load(str(storage), "candidates")) == 1
    assert len(load(Path(str(storage)))) == 0
    for seed in range(2):
        write_row(storage, EVALUATIONS, evaluation(seed=seed, accuracy=0.5 + seed / 10))
    evaluations = load(f"file://{storage}")
    assert evaluations["seed"].tolist() == [0, 1]
    with pytest.raises(InvalidInput, match="no front yet"):
        load(str(storage), "front")
    write_front(storage, pareto_front(evaluations))
    front = load(str(storage), "front")
    assert front["kind"].tolist() == ["trained from scratch"]
    pd.testing.assert_frame_equal(front.drop(columns="kind"), pareto_front(evaluations), check_dtype=False)
    write_front(storage, pareto_front(load(str(storage), "candidates")))
    assert load(str(storage), "front")["kind"].tolist() == ["inherited weights"]


def test_a_front_without_rows_can_be_written(storage: Storage) -> None:
    write_front(storage, pareto_front(read(storage, EVALUATIONS)))
    front = load(str(storage), "front")
    assert len(front) == 0
    assert {"kind", *EVALUATIONS.names} == set(front.columns)


def test_a_front_of_an_unknown_kind_is_refused(storage: Storage) -> None:
    with pytest.raises(InvalidInput, match="kind"):
        write_front(storage, pd.DataFrame({"macs": [1.0], "accuracy": [0.5]}))


def test_load_refuses_what_is_no_run(tmp_path: Path, storage: Storage) -> None:
    for where in (tmp_path, tmp_path / "nothing", "s3//typo"):
        with pytest.raises(InvalidInput, match=r"not a run.*run\.json") as caught:
            load(where)
        assert "\n" not in str(caught.value)
    storage.write_json("run.json", {})
    with pytest.raises(InvalidInput, match="'trials': expected one of evaluations, candidates, epochs, front"):
        load(str(storage), "trials")


@pytest.mark.parametrize("column", ["macs", "epoch"])
def test_of_many_files_alike_those_with_impossible_values_are_named_and_others_are_read(
    storage: Storage, candidate: Row, column: str
) -> None:
    for number in range(5):
        name = write_row(storage, CANDIDATES, candidate(architecture_id=f"a{number}", trial_id=f"t{number}"))
        if number in (1, 3):
            path = Path(str(storage)) / name
            content = pq.read_table(path)
            place = content.column_names.index(column)
            wrong = pa.array([-1], content.schema.field(column).type)
            pq.write_table(content.set_column(place, content.schema.field(column), wrong), path)
    with pytest.warns(DamagedFilesWarning) as caught:
        rows = read(storage, CANDIDATES, strict=False)
    assert sorted(rows["architecture_id"]) == ["a0", "a2", "a4"]
    assert len(caught) == 2
    assert all(f"has a {column} that none is (-1" in str(warning.message) for warning in caught)


def test_long_texts_of_many_rows_are_held_once_and_written_as_texts(storage: Storage, candidate: Row) -> None:
    for epoch in range(1, 151):
        write_row(storage, CANDIDATES, candidate(epoch=epoch))
    compact(storage, CANDIDATES)
    write_row(storage, CANDIDATES, candidate(epoch=151))
    rows = read(storage, CANDIDATES)
    assert len(rows) == 151
    assert rows["architecture"].dtype == "str"
    assert len({id(text) for text in rows["architecture"]}) == 1
    foreign = pa.Table.from_pandas(rows.drop(columns="settings")).append_column("settings", pa.array([["a"]] * 151))
    storage.write_bytes("candidates/compact-foreign.parquet", to_bytes(foreign))
    with pytest.raises(DamagedFiles, match="compact-foreign"):
        read(storage, CANDIDATES)
    storage.delete("candidates/compact-foreign.parquet")
    compact(storage, CANDIDATES)
    (name,) = storage.list("candidates", ".parquet")
    assert pd.read_parquet(io.BytesIO(storage.read_bytes(name)))["architecture"].dtype == "str"
    assert pq.read_schema(io.BytesIO(storage.read_bytes(name))).field("architecture").type == pa.string()
