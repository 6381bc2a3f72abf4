"""Seconds and memory that `nasray.load` takes for the candidates of 100 runs of 10,000 rows each.

    python tests/benchmarks/load_runs.py [--runs 100] [--rows 10000]

Rows are those of a real search, with 1,000 different architectures. Exits with 1 above 5 s or 2 GB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

import nasray

SECONDS, BYTES = 5.0, 2e9
LOAD = """
import resource, sys, time
from pathlib import Path
import pandas as pd
import nasray
began = time.perf_counter()
frame = pd.concat([nasray.load(run, "candidates") for run in sorted(Path(sys.argv[1]).iterdir())], ignore_index=True)
print(time.perf_counter() - began, len(frame), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def make(folder: Path, runs: int, rows: int) -> None:
    """Runs as they lie after their end: one file of candidates each."""
    from nasray import registry
    from nasray.runs import CANDIDATES, open_storage
    from nasray.runs.parquet import to_bytes
    from nasray.spaces.encoding import decode, parameters, sample

    size = {"channels": 2, "cells": 3, "evaluation_channels": 2, "evaluation_cells": 3}
    given = {"epochs": 1, "train_examples": 64, "augmentation": "standard", "quiet": True}
    row = nasray.search("random", "gold", "digits", out=folder / "one", **size, **given).candidates
    space, generator = registry.find("space", "gold"), np.random.default_rng(0)
    drawn = [decode(space, sample(parameters(space, 3), generator), 3) for _ in range(1000)]
    for number in range(runs):
        frame = pd.concat([row] * rows, ignore_index=True)
        chosen = generator.integers(0, len(drawn), rows)
        frame["architecture"] = [drawn[i].to_json() for i in chosen]
        frame["architecture_id"] = [drawn[i].id for i in chosen]
        frame["trial_id"] = [f"{number:04}{i // 100:06}" for i in range(rows)]
        frame["epoch"] = np.arange(rows) % 100 + 1
        frame["macs"], frame["accuracy"] = generator.random(rows), generator.random(rows)
        storage = open_storage(folder / "runs" / f"run{number:03}")
        storage.write_json("run.json", {})
        content = pa.Table.from_pandas(frame, preserve_index=False)
        known = {name: CANDIDATES.schema.field(name).type for name in CANDIDATES.names}
        fields = [pa.field(one.name, known.get(one.name, one.type)) for one in content.schema]
        storage.write_bytes("candidates/compact-0.parquet", to_bytes(content.cast(pa.schema(fields))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        make(Path(work), given.runs, given.rows)
        files = sum(one.stat().st_size for one in Path(work).rglob("*.parquet"))
        found = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", LOAD, str(Path(work) / "runs")], capture_output=True, text=True, check=True
            )
            seconds, rows, peak = map(float, done.stdout.split())
            found.append((seconds, rows, peak))
    seconds, rows, peak = sorted(found)[1]
    print(f"{given.runs} runs, {rows:,.0f} rows, {files / 1e6:.0f} MB of Parquet: {seconds:.2f} s, {peak / 1e9:.2f} GB")
    raise SystemExit(seconds > SECONDS or peak > BYTES)


if __name__ == "__main__":
    main()
