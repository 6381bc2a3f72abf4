"""Learning against not learning on digits, at equal numbers of searches or trainings, in paired repetitions.

    OMP_NUM_THREADS=1 python tests/benchmarks/learning_digits.py inherited [--seeds 0 1 ...] [--searches 16]
    OMP_NUM_THREADS=1 python tests/benchmarks/learning_digits.py joint [--seeds 0 1 ...] [--searches 24]

``inherited`` compares ``latin`` and ``tpe`` by the hypervolume of the candidates of GOLD-NAS, with inherited
accuracies, where lambda0 and mu are varied, and where the learning rate of the search is too. ``joint`` compares a
searcher of architectures whose trainings all have the sweep's settings with one that proposes learning rate and weight
decay beside each of them, by the hypervolume of the front. A repetition has one seed for both. Printed are medians, how
often the second won, and the p of Wilcoxon's signed-rank test of the pairs.

Searches run as many at a time as there are cores (with ``taskset -c 0`` one, so that each is learned from before the
next). Runs lie in ``--storage``: a script that was killed goes on, and one that is done prints its table again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scipy.stats import wilcoxon

from nasray.registry import find
from nasray.settings import Range
from nasray.sweeps import Sweep
from nasray.sweeps.options import with_options
from nasray.sweeps.run import run_sweep
from nasray.tune.session.connection import connection

STRENGTHS = {"lambda0": Range(low=1e-3, high=0.3, log=True), "mu": Range(low=10.0, high=300.0, log=True)}
RATE = {"learning_rate": Range(low=0.01, high=0.3, log=True)}
IMAGES = 720
"""Half of those that digits has to train on: half of the time."""
SEARCH = {"epochs": 8, "train_examples": IMAGES, "training": {"select": "nothing"}}
PROPOSED = {"method": "tpe", "random_baseline": False, "training": {"epochs": 8, "train_examples": IMAGES}}
OF_TRAINING = {
    "training.learning_rate": Range(low=0.01, high=0.4, log=True),
    "training.weight_decay": Range(low=1e-5, high=1e-2, log=True),
}
Options = Mapping[str, Any]


def pairs(what: str, searches: int) -> Mapping[str, tuple[tuple[str, Options], tuple[str, Options]]]:
    """Names and options of the two sweeps of each comparison, by its name."""
    if what == "joint":
        common = {**PROPOSED, "evaluations": searches}
        both = (("fixed", common), ("proposed", {**common, **OF_TRAINING}))
        return {"fixed settings, settings proposed too": both}
    found = {}
    for names, more in (("lambda0, mu", {}), ("lambda0, mu, learning rate", RATE)):
        common = {**SEARCH, "draws": searches, **STRENGTHS, **more}
        one, other = (
            (f"{searcher}_of_{len(more) + 2}", {**common, "searcher": searcher}) for searcher in ("latin", "tpe")
        )
        found[f"latin, tpe over {names}"] = one, other
    return found


def volume(run: str, options: Options, seed: int, storage: Path) -> float:
    """Hypervolume (M x accuracy) of the front of a sweep of digits: of the candidates where nothing is trained."""
    fixed = {"seeds": (seed,), "storage": str(storage), "quiet": True}
    outcome = run_sweep(with_options(find("sweep", "digits", Sweep), {**options, **fixed}), f"{run}_{seed}")
    if outcome.failures:
        raise SystemExit("\n".join(outcome.failures))
    return outcome.hypervolume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("inherited", "joint"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--searches", type=int)
    parser.add_argument("--storage", type=Path, default=Path("runs/learning_digits"))
    given = parser.parse_args()
    searches = given.searches or {"inherited": 16, "joint": 24}[given.what]
    found: dict[str, list[list[float]]] = {}
    with connection(None, given.what):  # one Ray for all
        for seed in given.seeds:
            for name, both in pairs(given.what, searches).items():
                pair = [volume(f"{run}_{searches}", options, seed, given.storage) for run, options in both]
                found.setdefault(name, []).append(pair)
                print(f"{name}, seed {seed}: {pair[0]:.5f} {pair[1]:.5f}", file=sys.stderr, flush=True)
    print(f"| first, second ({searches} each) | median of the first | of the second | second won | p |")
    print("|---|---|---|---|---|")
    for name, volumes in found.items():
        befores, afters = zip(*volumes, strict=True)
        won = sum(after > before for before, after in volumes)
        p = wilcoxon(befores, afters).pvalue if befores != afters else 1.0
        medians = f"{statistics.median(befores):.5f} | {statistics.median(afters):.5f}"
        print(f"| {name} | {medians} | {won} of {len(volumes)} | {p:.2g} |", flush=True)


if __name__ == "__main__":
    main()
