"""What limits the size of a run: trials, files, rows and nodes, as many of each as this machine carries.

    NASRAY_DATA=... python tests/benchmarks/scale.py [--only files rows nodes trials] [--trials 10000] [--files 100000]

prints a table, a line for each figure, as docs/scale.md has it. Its four parts:

- files: what finished runs leave, files and bytes a trial, and where;
- rows: files of one row, and a million rows in one file, on a local folder and on the S3 server of the tests, which
  answers from this machine's memory: what it takes is mostly its own Python;
- nodes: a cluster of Ray nodes on this machine, of one processor each, as many as its memory carries;
- trials: look-ups in a table of accuracies under Ray Tune: how many a second, and the driver's memory a trial.

Run it on a machine that does nothing else. Beside other work it took 28 minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import front_of_a_million
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import tabular_trials
import tune_overhead

from nasray.methods.random import Random
from nasray.runs import EVALUATIONS, SCHEMA_VERSION, compact, load, open_storage, read, write_row
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.run import run_sweep

T = TypeVar("T")
Figure = tuple[str, str]
"""What was measured, and what it came to."""

FREE_BYTES = 4 * 2**30
"""Memory that nodes leave."""
NODE_BYTES = 700 * 2**20
"""Of a node and its worker, with torch in it, as it is reckoned before there is one."""
MARK = b"0123456789ab"
"""The id of an architecture in a file of one row, in whose place others are put."""
PLAIN = {"metric": "accuracy", "schema_version": SCHEMA_VERSION}
"""Columns whose values a made-up row may not make up."""
PARTS = ("files", "rows", "nodes", "trials")
REQUESTED = 1_000
"""Objects of one row that are loaded from the S3 server."""


def trials(table: Path, count: int, folder: Path) -> list[Figure]:
    """Look-ups under Ray Tune, proposed at random: evolution finds no new neighbours any more after some thousands."""
    sweep = tabular_trials.sweep_of(table, "random_search", count, str(folder))
    outcome, watch, started = tabular_trials.run_watched(sweep)
    assert not outcome.failures, outcome.failures
    rows, sizes = np.array(watch.seen).T
    seconds = np.array(watch.at)
    first = seconds[rows > 0][0]
    figures = [("start of Ray", f"{started:.1f} s")]
    for part in sorted({min(1_000, count), count}):
        reached = seconds[rows >= 0.99 * part]
        figures.append(
            (f"{part:,} look-ups", f"{part / ((reached[0] if len(reached) else seconds[-1]) - first):.1f} a second")
        )
        figures.append((f"driver after {part:,}", f"{sizes[rows <= part].max() / 2**20:.0f} MiB"))
    kib = tabular_trials.bytes_a_trial(watch.seen, count) / 1024
    figures.append((f"driver, from {count // 10:,} to {count:,}", f"{kib:.1f} KiB a trial"))
    return [*figures, *left(Path(outcome.folder), count, "look-ups")]


def files(folder: Path) -> list[Figure]:
    """What a run with trained networks leaves: eight searches, and what they found trained with two seeds."""
    tiny: dict[str, Any] = dict(
        batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64, epochs=2
    )
    arm = Arm(
        method="random",
        space="gold",
        settings=Random.Config(**tiny),
        param_space={"operations_per_node": (1, 2, 3, 4)},
    )
    sweep = Sweep(
        name="trained",
        dataset="digits",
        arms=(arm,),
        seeds=(0, 1),
        training=Training(settings=EvaluationSettings(**tiny, drop_path=0.0), select="final", seeds=(0, 1)),
        execution=Execution(storage=str(folder)),
    )
    outcome = run_sweep(sweep)
    assert not outcome.failures, outcome.failures
    ran = 8 + len(load(outcome.folder))
    return left(Path(outcome.folder), ran, "searches and trainings")


def left(run: Path, ran: int, what: str) -> list[Figure]:
    """Files and bytes that a finished run left, a trial and by folder."""
    found = [path for path in run.rglob("*") if path.is_file()]
    places = Counter(path.relative_to(run).parts[0] if path.parent != run else "." for path in found)
    size = sum(path.stat().st_size for path in found)
    where = ", ".join(f"{place} {number}" for place, number in sorted(places.items()))
    return [
        (f"files of {ran:,} {what}", f"{len(found)} ({where})"),
        ("of them a trial", f"{len(found) / ran:.3f} files, {size / ran:,.0f} bytes"),
    ]


def rows(count: int, million: int, folder: Path, requested: int = REQUESTED) -> list[Figure]:
    """Files of one row, and many rows in one, locally and on the S3 server of the tests."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    sys.path.append(str(Path(__file__).parents[2]))
    from tests.object_store import serving

    template = one_row()
    local = open_storage(folder / "local")
    Path(local.base, EVALUATIONS.name).mkdir(parents=True)
    for name, content in some_rows(template, count):
        Path(local.base, name).write_bytes(content)
    figures = [("a file of one row", f"{len(template):,} bytes")]
    seconds, listed = timed(lambda: local.list(EVALUATIONS.name, ".parquet"))
    assert len(listed) == count
    figures.append((f"local: {count:,} files of one row listed", f"{seconds:.2f} s"))
    seconds, frame = timed(lambda: read(local, EVALUATIONS))
    assert frame["architecture_id"].nunique() == count
    figures.append(("local: loaded", f"{seconds:.1f} s, {1000 * seconds / count:.2f} ms each"))
    for name in listed[count // 10 :]:
        Path(local.base, name).unlink()
    seconds, put = timed(lambda: compact(local, EVALUATIONS))
    figures.append((f"local: {put:,} put together", f"{seconds:.1f} s, {1000 * seconds / put:.2f} ms each"))
    many = many_rows(million)
    with serving() as store:
        open_storage(store.uri("rows/run", "&allow_bucket_creation=true")).check_writable()
        for place, where in (("local", str(folder / "many")), ("S3", store.uri("rows/many"))):
            storage = open_storage(where)
            seconds, _ = timed(lambda storage=storage: storage.write_bytes("evaluations/compact-0.parquet", many))
            figures.append(
                (f"{place}: {million:,} rows in one file written", f"{seconds:.1f} s, {len(many) / 2**20:.0f} MiB")
            )
            before = tabular_trials.resident_bytes()
            seconds, frame = timed(lambda storage=storage: read(storage, EVALUATIONS))
            grown = (tabular_trials.resident_bytes() - before) / 2**20
            assert len(frame) == million
            more = f", {grown:.0f} MiB more resident" if place == "local" else ""  # later there is memory to use again
            figures.append((f"{place}: loaded", f"{seconds:.1f} s{more}"))
            del frame
        # By HTTP this would take minutes, all of them the server's.
        bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for place, number in (("listed", count), ("loaded", requested)):
            for name, content in some_rows(template, number):
                bucket.put_object("rows", f"{place}/{name}", content)
        storage = open_storage(store.uri("rows/listed"))
        seconds, listed = timed(lambda: storage.list(EVALUATIONS.name, ".parquet"))
        assert len(listed) == count
        figures.append((f"S3: {count:,} objects of one row listed", f"{seconds:.1f} s"))
        storage = open_storage(store.uri("rows/loaded"))
        for what, act in (
            ("loaded", lambda: len(read(storage, EVALUATIONS))),
            ("put together", lambda: compact(storage, EVALUATIONS)),
        ):
            seconds, rows_then = timed(act)
            assert rows_then == requested
            each = 1000 * seconds / requested
            figures.append((f"S3: {requested:,} of them {what}", f"{seconds:.1f} s, {each:.1f} ms each"))
    return figures


def nodes(count: int | None, searches: int, folder: Path) -> list[Figure]:
    """A cluster of nodes of one processor each, and searches of hardly any work over them."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from ray.cluster_utils import Cluster

    store = 100 * 2**20
    seconds, cluster = timed(
        lambda: Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": store, "include_dashboard": False},
        )
    )
    try:
        head, started = memory(), list[float]()
        figures = [("head", f"{seconds:.1f} s to start, {head / 2**20:.0f} MiB")]
        most_nodes = count or int((psutil.virtual_memory().available - FREE_BYTES) / NODE_BYTES)
        for _ in range(most_nodes):
            seconds, _ = timed(lambda: cluster.add_node(num_cpus=1, object_store_memory=store))
            started.append(seconds)
        figures.append(
            (f"{len(started)} nodes beside it", f"{np.mean(started):.1f} s each to start, the last {started[-1]:.1f} s")
        )
        figures.append(("memory of an idle node", f"{(memory() - head) / len(started) / 2**20:.0f} MiB"))
        with Most(memory) as most:
            results, _ = tune_overhead.results_of(folder, str(cluster.address), searches, 1.0)
    finally:
        cluster.shutdown()
    # When all nodes have their processes: the second half.
    middle = len(results) // 2
    rate = (len(results) - 1 - middle) / (results[-1] - results[middle])
    figures += [
        ("memory of a node that trains", f"{(most.value - head) / len(started) / 2**20:.0f} MiB"),
        (f"{searches:,} searches of one second over them: first result after", f"{results[0]:.1f} s"),
        ("their second half", f"{rate:.1f} a second (ideal: {len(started)})"),
    ]
    return figures


def one_row() -> bytes:
    """A file of one row, as trials write it, of the architecture whose id is :data:`MARK`."""
    row = front_of_a_million.frame_of(EVALUATIONS, 1, all_on_front=False).to_dict("records")[0]
    filled = {name: value for name, value in row.items() if name not in ("created_at", "schema_version")}
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(folder)
        name = write_row(storage, EVALUATIONS, {**filled, **PLAIN, "architecture_id": MARK.decode()})
        content = storage.read_bytes(name)
    assert content.count(MARK) == 1
    return content


def some_rows(template: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files of one row, each of another architecture."""
    for number in range(count):
        id = f"{number:012x}"
        yield f"{EVALUATIONS.name}/row-{id}.parquet", template.replace(MARK, id.encode())


def many_rows(count: int) -> bytes:
    """A file of many rows, as a compaction writes it."""
    frame = front_of_a_million.frame_of(EVALUATIONS, count, all_on_front=False).assign(**PLAIN)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, EVALUATIONS.schema, preserve_index=False), sink, compression="zstd")
    return bytes(sink.getvalue())


def memory() -> int:
    """Bytes of all processes that this one started, each page counted once, but for a driver and what it started."""
    found = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "nasray.cli" not in process.cmdline():
                found += process.memory_full_info().pss
    return found


class Most:
    """Asks for a value every few seconds while a block runs, and keeps the largest."""

    def __init__(self, ask: Callable[[], int], seconds: float = 5.0) -> None:
        self.value = 0
        self._ask, self._seconds, self._end = ask, seconds, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Most:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            self.value = max(self.value, self._ask())


def timed(act: Callable[[], T]) -> tuple[float, T]:
    """Seconds of an act, and what it gave."""
    began = time.perf_counter()
    result = act()
    return time.perf_counter() - began, result


def measure(part: str, table: Path, given: argparse.Namespace) -> list[Figure]:
    """The figures of one part."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if part == "trials":
            return trials(table, given.trials, folder)
        if part == "files":
            return files(folder)
        if part == "rows":
            return rows(given.files, given.rows, folder)
        return nodes(given.nodes, given.searches, folder)


def main() -> int:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--table", type=Path, help="default: nasbench201.parquet in NASRAY_DATA")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, help="default: as many as memory carries")
    parser.add_argument("--searches", type=int, default=240, help="over the nodes")
    given = parser.parse_args()
    table = (given.table or Path(os.environ.get("NASRAY_DATA", ".")) / "nasbench201.parquet").absolute()
    if "trials" in given.only and not table.exists():
        print(f"No table {table}. Give --table FILE, or --only files rows nodes.", file=sys.stderr)
        return 2
    print(f"| {'what':60} | figure |\n|---|---|")
    # Each in a process of its own: none inherits another's memory, or its Ray.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        for part in given.only:
            seconds, figures = timed(lambda part=part: processes.submit(measure, part, table, given).result())
            for what, figure in [*figures, (f"this part, {part}", f"{seconds:.0f} s")]:
                print(f"| {what:60} | {figure} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
