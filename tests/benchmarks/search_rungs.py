"""Searches that are stopped early: epochs saved, and hypervolume lost, over the same sweep with and without rungs.

    OMP_NUM_THREADS=1 python tests/benchmarks/search_rungs.py [--repetitions 5] [--draws 16] [--rungs 4 8]

runs the ready sweep ``digits`` with strengths drawn from ranges, twice for each seed: all searches to their end, and
with ``search_rungs``. It prints a Markdown table with a row for each pair and one of medians. Both sweeps of a pair
have the same searches and trainings: what rungs lose is what was not found, and no noise of another draw. ``stopped``
counts searches; ``lost`` is the share of the hypervolume that is missing, of the front trained from scratch and of the
candidates by inherited weights, from the one reference point that all runs have.

Runs lie in ``--storage``: a script that was killed goes on. A repetition takes some ten minutes of two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import nasray
from nasray.fronts import hypervolume
from nasray.registry import find
from nasray.runs import open_storage
from nasray.runs.outcomes import read_outcomes
from nasray.runs.schema import SEARCH
from nasray.settings import Range
from nasray.sweeps import Sweep
from nasray.sweeps.options import with_options
from nasray.sweeps.run import run_sweep
from nasray.tune.session.connection import connection

STRENGTHS = {"lambda0": Range(low=1e-3, high=1e-1, log=True), "mu": Range(low=10.0, high=300.0, log=True)}


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a run came to."""

    searches: int
    stopped: int
    """Of its searches."""
    epochs: int
    """Of all searches together."""
    trained: float
    """Hypervolume of the front trained from scratch (M x fraction)."""
    inherited: float
    """Of the candidates, by inherited weights."""


def swept(storage: Path, seed: int, draws: int, rungs: Sequence[int]) -> Sweep:
    """The sweep of one half of a pair."""
    values = {
        **STRENGTHS,
        "draws": draws,
        "seeds": (seed,),
        "search_rungs": tuple(rungs),
        "random_baseline": False,
        "name": f"{draws}_draws_seed_{seed}_{'_'.join(map(str, rungs)) or 'whole'}",
        "storage": str(storage),
        "quiet": True,
    }
    return with_options(find("sweep", "digits", Sweep), values)


def figures(sweep: Sweep) -> Figures:
    """Run a sweep, or read one that is done."""
    outcome = run_sweep(sweep)
    if outcome.failures:
        raise SystemExit("\n".join(outcome.failures))
    epochs, rows = nasray.load(outcome.folder, "epochs"), nasray.load(outcome.folder, "candidates")
    own = epochs[epochs["kind"] == SEARCH]
    outcomes = read_outcomes(open_storage(outcome.folder)).values()
    return Figures(
        searches=own["trial_id"].nunique(),
        stopped=sum(one.state == "stopped" for one in outcomes),
        epochs=len(own),
        trained=outcome.hypervolume,
        inherited=hypervolume(rows, outcome.reference),
    )


def row(seed: int, whole: Figures, stopped: Figures) -> list[float]:
    """Of a pair: seed, searches, those stopped, epochs of both, the share saved, hypervolume of both, shares lost."""
    return [
        *(seed, whole.searches, stopped.stopped, whole.epochs, stopped.epochs, 1 - stopped.epochs / whole.epochs),
        *(whole.trained, stopped.trained, 1 - stopped.trained / whole.trained, 1 - stopped.inherited / whole.inherited),
    ]


def markdown(rows: Sequence[Sequence[float]]) -> list[str]:
    """A row for each pair, and their medians."""
    lines = [
        "| seed | searches | stopped | epochs: all | with rungs | saved | hypervolume: all | with rungs | lost "
        "| lost, inherited |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    shown = "| {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.1%} | {:.6f} | {:.6f} | {:.2%} | {:.2%} |"
    for one in rows:
        lines.append(shown.format(f"{one[0]:.0f}", *one[1:]))
    lines.append(shown.format("median", *np.median(np.array(rows), axis=0)[1:]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--rungs", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--storage", type=Path, default=Path("runs/search_rungs"))
    options = parser.parse_args()
    rows = []
    with connection(None, "search_rungs"):  # one Ray for all
        for seed in range(options.repetitions):
            rungs = [], options.rungs
            whole, stopped = (figures(swept(options.storage, seed, options.draws, one)) for one in rungs)
            rows.append(row(seed, whole, stopped))
            print(f"{seed + 1} of {options.repetitions}: {stopped}", flush=True)
    print("\n".join(markdown(rows)))


if __name__ == "__main__":
    main()
