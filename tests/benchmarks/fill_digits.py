"""Filling fronts of real methods, against a grid of as many searches: targets met, and searches used.

    NASRAY_DATA=DIR OMP_NUM_THREADS=1 python tests/benchmarks/fill_digits.py [--data digits] [--methods ista_nas]

For each method eight targets, evenly in log multiply-adds from what its knob's one end gave to what the other did. The
grid has as many searches as the filling used, at values evenly over the knob's range. A target is met by a candidate
within 5 %. Searches have the sizes of the sweep ``digits``, on Fashion-MNIST with 2,000 images.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import nasray
from nasray.methods import CostKnob
from nasray.searchers.filling import TOLERANCE, targets_between
from nasray.sweeps.fitting import find_sweep
from nasray.sweeps.options import with_options
from nasray.sweeps.run import run_sweep
from nasray.sweeps.sweep import Sweep
from nasray.trials.search_config import find_method
from nasray.tune.session.connection import connection

METHODS = ("gold_nas", "ista_nas", "dso_nas", "entrannas_dst")
TARGETS, SEARCHES = 8, 20


def swept(method: str, data: str, storage: Path, **options: Any) -> pd.DataFrame:
    """Candidates of a sweep of a method with the sizes of the sweep ``digits``."""
    sweep = find_sweep("digits")
    assert isinstance(sweep, Sweep)
    sizes = {"epochs": 8, "training": {"select": "nothing"}, "storage": str(storage), "quiet": True}
    if data != "digits":
        sizes["train_examples"] = 2_000
    sweep = with_options(sweep, {"method": method, "dataset": data, **sizes})
    if "grid" in options:
        ((name, values),) = options["grid"].items()
        (arm,) = sweep.arms
        sweep = dataclasses.replace(sweep, arms=(dataclasses.replace(arm, param_space={name: values}),))
    else:
        sweep = with_options(sweep, options)
    run = f"{method}-{data}-{'grid' if 'grid' in options else 'fill'}"
    return nasray.load(run_sweep(sweep, run).folder, "candidates")


def evenly(knob: CostKnob, count: int) -> tuple[float, ...]:
    """Values of a knob, evenly over its range; all of a whole one that has no more."""
    low, high = knob.within.low, knob.within.high
    if knob.within.integer:
        return tuple(sorted({round(value) for value in np.linspace(low, high, count)}))
    return tuple(map(float, (np.geomspace if knob.within.log else np.linspace)(low, high, count)))


def met(targets: tuple[float, ...], macs: pd.Series[float]) -> int:
    """How many targets have a candidate near them."""
    return sum(bool(((macs - target).abs() <= TOLERANCE * target).any()) for target in targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "fashion_mnist"])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument(
        "--storage", type=Path, default=Path("runs/fill_digits"), help="a script that was killed goes on"
    )
    given = parser.parse_args()
    print("| data | method | knob | targets (M) | searches | met by filling | met by the grid |")
    print("|---|---|---|---|---|---|---|")
    with connection(None, "fill_digits"):  # one Ray for all
        for data in given.data:
            for method in given.methods:
                knob = find_method(method).cost_knob
                assert knob is not None
                filled = swept(method, data, given.storage, fill=TARGETS, fill_searches=SEARCHES)
                last = filled.sort_values(["epoch", "snapshot"]).groupby("trial_id").last()
                at_ends = last[last[knob.name].isin([knob.within.low, knob.within.high])]["macs"]
                targets = targets_between(float(at_ends.min()), float(at_ends.max()), TARGETS)
                used = filled["trial_id"].nunique()
                grid = swept(method, data, given.storage, grid={knob.name: evenly(knob, used)})
                row = [data, method, knob.name, f"{targets[0]:.3g} to {targets[-1]:.3g}", str(used)]
                row += [f"{met(targets, rows['macs'])} of {len(targets)}" for rows in (filled, grid)]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
