"""A sweep of 1,000 trials that look their accuracies up: seconds through Ray Tune, and the driver's memory a trial.

    NASRAY_DATA=... python tests/benchmarks/tabular_trials.py [--trials 1000] [--searcher evolution] [--table FILE]

runs what ``nasray sweep nas_bench_201 --table FILE --method evolution --evaluations 1000`` runs, on a Ray of two
processors of its own: the searcher in the driver, every evaluation a trial of Ray Tune that writes its row as a file,
the table put together at the end. All seconds count, from the start of Ray to the front. Meanwhile the driver's
resident memory and the number of rows are taken twice a second; what a trial adds is the slope of a straight line
through these, from a tenth of the trials on, when everything has been imported. Exits with 1 where it takes 120 s or
more, by the number of trials.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from nasray import load, registry
from nasray.errors import InvalidInput
from nasray.sweeps import AccuracySource, Execution, Sweep
from nasray.sweeps.changes import with_method, with_settings
from nasray.sweeps.run import Outcome, run_sweep

BAR = 0.12
"""Seconds a trial."""
COLUMN = "cifar10_test_acc_200_nats=200"
PROCESSORS = 2


def sweep_of(table: Path, searcher: str, trials: int, storage: str) -> Sweep:
    """The ready sweep by one searcher."""
    sweep: Sweep = registry.find("sweep", "nas_bench_201", Sweep)
    sweep = with_settings(with_method(sweep, searcher), {"evaluations": trials})
    return dataclasses.replace(
        sweep,
        table=AccuracySource(path=str(table), columns=(COLUMN,)),
        random_baseline=False,
        execution=Execution(storage=storage),
    )


class Watch:
    """Takes rows written and resident bytes of this process, twice a second, while a block runs."""

    def __init__(self, rows: Path, seconds: float = 0.5) -> None:
        self.rows = rows
        self.seconds = seconds
        self.seen: list[tuple[int, int]] = []
        """Rows and bytes."""
        self.at: list[float] = []
        """When that was, in seconds of the performance counter."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self.seconds):
            self.seen.append((max(rows_in(self.rows), self.seen[-1][0] if self.seen else 0), resident_bytes()))
            self.at.append(time.perf_counter())


def rows_in(folder: Path) -> int:
    """Rows of a table: files of one row, and the most that one file holds; fewer while they are put together."""
    names = os.listdir(folder) if folder.is_dir() else []
    held = [0]
    for name in names:
        if name.startswith("compact-"):
            with contextlib.suppress(FileNotFoundError):
                held.append(pq.read_metadata(folder / name).num_rows)
    return max(held) + sum(name.startswith("row-") for name in names)


def resident_bytes() -> int:
    """Of this process."""
    found = re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def bytes_a_trial(seen: Sequence[tuple[int, int]], trials: int) -> float:
    """Slope of bytes over rows, between a tenth of the trials and all of them; NaN where too little was seen."""
    rows, sizes = np.array([pair for pair in seen if trials / 10 <= pair[0]]).reshape(-1, 2).T
    return float(np.polyfit(rows, sizes, 1)[0]) if len(np.unique(rows)) > 2 else float("nan")


def run_watched(sweep: Sweep) -> tuple[Outcome, Watch, float]:
    """Run a sweep on a Ray of its own; gives its outcome, what was watched, and the seconds that Ray took to start."""
    import ray

    began = time.perf_counter()
    ray.init(
        address="local",
        num_cpus=PROCESSORS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100 * 2**20,
    )
    started = time.perf_counter() - began
    try:
        with Watch(Path(sweep.execution.storage) / sweep.name / "evaluations") as watch:
            return run_sweep(sweep), watch, started
    finally:
        ray.shutdown()


def main() -> int:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="default: nasbench201.parquet in NASRAY_DATA")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--searcher", default="evolution")
    options = parser.parse_args()
    table = options.table or Path(os.environ.get("NASRAY_DATA", ".")) / "nasbench201.parquet"
    with tempfile.TemporaryDirectory() as folder:
        try:
            sweep = sweep_of(table.absolute(), options.searcher, options.trials, folder)
        except InvalidInput as error:
            print(error, file=sys.stderr)
            return 2
        before = resident_bytes()
        began = time.perf_counter()
        outcome, watch, started = run_watched(sweep)
        seconds = time.perf_counter() - began
        after = resident_bytes()
        rows = load(outcome.folder)
    assert not outcome.failures, outcome.failures
    assert len(rows) == rows["architecture_id"].nunique() == options.trials
    print(
        f"{options.trials} trials by {options.searcher} in {seconds:.1f} s on {PROCESSORS} processors, "
        f"{started:.1f} s of them the start of Ray: {1000 * (seconds - started) / options.trials:.1f} ms a trial "
        f"(bar: {BAR * options.trials:.0f} s)"
    )
    print(
        f"driver: {before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after, "
        f"{bytes_a_trial(watch.seen, options.trials) / 1024:.1f} KiB a trial"
    )
    return 0 if seconds < BAR * options.trials else 1


if __name__ == "__main__":
    sys.exit(main())
