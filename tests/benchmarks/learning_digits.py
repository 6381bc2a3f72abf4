"""Learning against not learning on digits, at equal numbers of searches or trainings, in paired repetitions.

    python tests/benchmarks/learning_digits.py inherited [--repetitions 10] [--searches 16]
    python tests/benchmarks/learning_digits.py joint [--repetitions 10] [--searches 24]

``inherited`` compares ``latin`` and ``tpe`` by the hypervolume of the candidates of GOLD-NAS, with inherited
accuracies, where lambda0 and mu are varied, and where the learning rate of the search is too. ``joint`` compares a
searcher of architectures whose trainings all have the sweep's settings with one that proposes learning rate and weight
decay beside each of them, by the hypervolume of the front. A repetition has one seed for both. Printed are medians, how
often the second won, and the p of Wilcoxon's signed-rank test of the pairs. Each sweep is a command with a Ray of its
own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy.stats import wilcoxon

import nasray
from nasray.fronts import hypervolume, pareto_front
from nasray.runs import open_storage

STRENGTHS = ["--lambda0", "1e-3:0.3:log", "--mu", "10:300:log"]
SEARCH = ["--epochs", "8", "--training.select", "nothing"]
RATE = ["--learning-rate", "0.01:0.3:log"]
PROPOSED = ["--method", "tpe", "--no-random-baseline", "--training.epochs", "8"]
OF_TRAINING = ["--training.learning-rate", "0.01:0.4:log", "--training.weight-decay", "1e-5:1e-2:log"]


def pairs(what: str, searches: int) -> Mapping[str, tuple[list[str], list[str]]]:
    """Options of the two sweeps of each comparison, by its name."""
    if what == "joint":
        common = [*PROPOSED, "--evaluations", str(searches)]
        return {"fixed settings, settings proposed too": (common, [*common, *OF_TRAINING])}
    common = [*SEARCH, "--draws", str(searches), *STRENGTHS]
    return {
        f"latin, tpe over {names}": (
            [*common, *more, "--searcher", "latin"],
            [*common, *more, "--searcher", "tpe"],
        )
        for names, more in (("lambda0, mu", []), ("lambda0, mu, learning rate", RATE))
    }


def volume(options: Sequence[str], seed: int, storage: Path) -> float:
    """Hypervolume (M x accuracy) of the front of a sweep of digits."""
    name = f"run{len(list(storage.iterdir()))}"
    command = [sys.executable, "-m", "nasray.cli", "sweep", "digits", "--name", name, "--storage", str(storage)]
    command += ["--seeds", str(seed), "--quiet", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    table = "candidates" if "nothing" in options else "evaluations"
    run = open_storage(storage / name)
    return hypervolume(pareto_front(nasray.load(storage / name, table)), run.read_json("run.json")["reference"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("inherited", "joint"))
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--searches", type=int)
    given = parser.parse_args()
    searches = given.searches or {"inherited": 16, "joint": 24}[given.what]
    print(f"| first, second ({searches} each) | median of the first | of the second | second won | p |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for name, (first, second) in pairs(given.what, searches).items():
            found = [[volume(one, seed, Path(work)) for one in (first, second)] for seed in range(given.repetitions)]
            for one, other in found:
                print(f"    {one:.5f} {other:.5f}", file=sys.stderr, flush=True)
            befores, afters = zip(*found, strict=True)
            won = sum(after > before for before, after in found)
            p = wilcoxon(befores, afters).pvalue if befores != afters else 1.0
            medians = f"{statistics.median(befores):.5f} | {statistics.median(afters):.5f}"
            print(f"| {name} | {medians} | {won} of {len(found)} | {p:.3f} |", flush=True)


if __name__ == "__main__":
    main()
