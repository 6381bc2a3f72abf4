"""Seconds that the front and the hypervolume of a million rows take, beside moocore's on bare arrays.

    python tests/benchmarks/front_of_a_million.py [--rows 1000000]

Rows are whole ones, with every column of their table. The best of several rounds counts. Exits with 1 where front and
hypervolume together take a second or more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import moocore
import numpy as np
import pandas as pd
import pyarrow as pa

from nasray.fronts import hypervolume, pareto_front
from nasray.runs import CANDIDATES, EVALUATIONS, Table

REFERENCE = (600.0, 0.0)
BAR = 1.0
"""Seconds."""


def frame_of(table: Table, rows: int, all_on_front: bool) -> pd.DataFrame:
    """A table with all its columns, accuracies scattered below a rising curve or on it."""
    draw = np.random.default_rng(0)
    made: dict[str, object] = {}
    for column in table.columns:
        if column.type == pa.string():
            text = "%d" if column.unit == "JSON" else "text %d"
            made[column.name] = pd.Series(np.char.mod(text, np.arange(rows) % 100), dtype="str")
        elif column.type == pa.int64():
            made[column.name] = np.full(rows, 7)
        elif column.type == pa.float64():
            made[column.name] = draw.uniform(0, 1, rows)
        elif column.type == pa.bool_():
            made[column.name] = np.ones(rows, dtype=bool)
        else:
            made[column.name] = pd.Timestamp("2026-11-22", tz="UTC")
    macs = draw.uniform(1, 600, rows)
    accuracy = 0.9 - 0.4 * np.exp(-macs / 100) + (0 if all_on_front else draw.normal(0, 0.02, rows).clip(-0.1, 0.1))
    made |= {"macs": macs, "accuracy": accuracy, "dataset": "cifar10"}
    made["architecture_id"] = pd.Series(np.char.mod("%012x", np.arange(rows)), dtype="str")
    made["settings"] = pd.Series(np.where(np.arange(rows) % 2, '{"epochs": 7}', '{"epochs": 7.0}'), dtype="str")
    return pd.DataFrame(made)


def best_of(rounds: int, act: Callable[[], object]) -> float:
    """The least seconds of several rounds."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def bare(macs: np.ndarray, accuracy: np.ndarray) -> float:
    """The same by moocore on arrays, without any check."""
    points = np.column_stack([macs, -accuracy])
    return float(moocore.hypervolume(points[moocore.is_nondominated(points)], ref=[REFERENCE[0], -REFERENCE[1]]))


def main() -> int:
    """Print a line of JSON for each kind of table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    slow = False
    for table, all_on_front in ((CANDIDATES, False), (EVALUATIONS, False), (CANDIDATES, True)):
        frame = frame_of(table, options.rows, all_on_front)
        front = pareto_front(frame)
        seconds = {
            "front": best_of(3, lambda frame=frame: pareto_front(frame)),
            "hypervolume": best_of(3, lambda frame=frame: hypervolume(frame, REFERENCE)),
        }
        arrays = frame["macs"].to_numpy(), frame["accuracy"].to_numpy()
        baseline = best_of(2, lambda arrays=arrays: bare(*arrays))
        assert np.isclose(hypervolume(frame, REFERENCE), bare(*arrays))
        total = sum(seconds.values())
        slow |= total >= BAR and not all_on_front
        told = {
            "table": table.name,
            "rows": options.rows,
            "on the front": len(front),
            "seconds": {name: round(value, 3) for name, value in {**seconds, "both": total}.items()},
            "moocore on arrays": round(baseline, 3),
            "ratio": round(total / baseline, 2),
        }
        print(json.dumps(told))
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
