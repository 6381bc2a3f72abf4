"""Every method on CIFAR-10 at one small size, three seeds: the table of the README.

    NASRAY_DATA=... python tests/benchmarks/methods_cifar10.py [--storage DIR]

Runs the sweep ``methods_cifar10`` (or goes on with it, or only reads it where it is done) and prints a Markdown table:
of each method seconds per epoch of search, the largest memory of its process, the discretisation gap of what it ended
with, that architecture's multiply-adds, and its accuracy on the test split after the short training from scratch,
beside that of the random architectures of like multiply-adds which were trained in the same way. Values are means and
standard deviations over seeds; the last column is the difference, paired by architecture, with its standard error.

Seconds are measured anew, in this process alone and on one thread: the faster of two epochs. In the sweep two trials
run at once, beside whatever else the machine does.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import pandas as pd
import torch

import nasray
from nasray import registry
from nasray.sweeps import Sweep
from nasray.sweeps.changes import with_execution
from nasray.sweeps.run import run_sweep
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig


def epoch_seconds(config: SearchConfig) -> float:
    """Seconds of an epoch of search on one thread, of this process."""
    torch.set_num_threads(1)
    search = Search(config)
    return min(search.run_epoch().metrics["seconds"] for _ in range(2))


def final_candidates(candidates: pd.DataFrame) -> pd.DataFrame:
    """The last candidate of every search."""
    ordered = candidates.sort_values(["trial_id", "epoch", "snapshot"])
    return ordered.groupby("trial_id", sort=False).tail(1)


def table(folder: str, seconds: dict[str, float]) -> pd.DataFrame:
    """One row a method, columns as printed."""
    candidates = final_candidates(nasray.load(folder, "candidates"))
    evaluations = nasray.load(folder)
    trained = evaluations[evaluations["method"] != "random"].set_index("architecture_id")["test_accuracy"]
    trained = pd.concat([trained, evaluations.set_index("architecture_id")["test_accuracy"]])
    trained = trained[~trained.index.duplicated()]
    beside = evaluations.dropna(subset="baseline_of").set_index("baseline_of")
    rows = {}
    for method, found in candidates.groupby("method", sort=False):
        own = trained.reindex(found["architecture_id"]).to_numpy()
        row = {
            "s / epoch": f"{seconds[method]:.1f}",
            "GiB": _spread(found["peak_memory_bytes"] / 2**30, 1),
            "gap %": _spread(100 * found["gap"], 1),
            "M macs": _spread(found["macs"], 2),
            "test accuracy %": _spread(pd.Series(100 * own), 1),
        }
        if method != "random":
            other = beside["test_accuracy"].reindex(found["architecture_id"]).to_numpy()
            macs = beside["macs"].reindex(found["architecture_id"])
            difference = pd.Series(100 * (own - other))
            error = difference.std() / math.sqrt(len(difference))
            row |= {
                "random: M macs": _spread(macs, 2),
                "random: test accuracy %": _spread(pd.Series(100 * other), 1),
                "difference": f"{difference.mean():+.1f} ± {error:.1f}",
            }
        rows[method] = row
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def _spread(values: pd.Series[float], digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def main() -> int:
    """Run the sweep and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", default="runs")
    options = parser.parse_args()
    sweep: Sweep = registry.find("sweep", "methods_cifar10", Sweep)
    outcome = run_sweep(with_execution(sweep, storage=str(Path(options.storage).absolute())))
    found = table(
        outcome.folder, {config.method: epoch_seconds(config) for config in sweep.searches() if not config.seed}
    )
    print("| method | " + " | ".join(found.columns) + " |")
    print("|---" * (len(found.columns) + 1) + "|")
    for method, row in found.iterrows():
        print(f"| `{method}` | " + " | ".join(row) + " |")
    for failure in outcome.failures:
        print(failure, file=sys.stderr)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
