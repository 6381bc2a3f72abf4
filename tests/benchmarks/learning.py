"""Learning against not learning, at equal numbers of searches or evaluations: a made-up law, and NAS-Bench-201.

    NASRAY_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/learning.py [--repetitions 20] [--table FILE] [--out FILE]

prints a Markdown table for each of both problems: medians and quartiles, how many of the paired repetitions a searcher
wins against the one that does not learn, and the two-sided p of the signed-rank test over their differences.

**The law** is of a made-up differentiable method with four settings: a strength that moves the cost, a learning rate, a
growth and a schedule. A search prunes, and gives five candidates; accuracy saturates with multiply-adds, and falls with
the squared distance of the learning rate's logarithm from an optimum that moves with the strength, and with growth and
schedule; each accuracy has Gaussian noise of 0.005. Every repetition draws another law, and its noise. What is told is
what a sweep tells: the hypervolume of the search's own candidates, and to ``tpe gain`` what it adds to the front of
all. ``latin`` is the hypercube that a sweep draws beforehand. The table has, of accuracies without noise, the best
single search, which is what searchers seek, and the front of all candidates that are on the front with noise, which is
what a sweep ends with.

**NAS-Bench-201**: the table of all 15,625 cells, as tests/benchmarks/nas_bench_201_searchers.py drives it; the figure
is the share of the true front's hypervolume. What does not learn is ``random_search``.

Of all proposals a quarter at most are drawn before a searcher learns. Each repetition is a line of ``--out``
(``runs/learning.jsonl``): a run that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nas_bench_201_searchers as nas_bench_201
import numpy as np
import pandas as pd
import torch
from scipy.stats import wilcoxon

from nasray.errors import InvalidInput
from nasray.fronts import hypervolume, pareto_front
from nasray.methods.gold_nas import GoldNAS
from nasray.searchers import Feedback
from nasray.settings import Choice, Range
from nasray.sweeps import Arm, Sweep
from nasray.sweeps.learning import Learner, worth_of
from nasray.sweeps.points import drawn_of, latin_hypercube

SEARCHERS = ("tpe", "gp", "nsga2", "tpe gain")
"""Of the last what is told is what a search adds to the front of all: of the law alone."""
LATIN, RANDOM = "latin", "random_search"
REFERENCE = (600.0, 0.1)
"""Multiply-adds (M), accuracy: of the law."""
NOISE = 0.005
SPACE: Mapping[str, Range | Choice] = {
    "lambda0": Range(low=1e-4, high=1.0, log=True),
    "learning_rate": Range(low=0.005, high=0.5, log=True),
    "growth": Range(low=1.0, high=3.0),
    "schedule": Choice(("cosine", "linear", "constant")),
}
"""Settings of the method whose names are borrowed; the law knows nothing of it."""
FIGURES = {"law": ("best search", "front of all"), "table": ("share",)}
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Law:
    """A made-up method."""

    rate: float
    """Logarithm of the best learning rate at a strength in the middle."""
    slope: float
    """How it moves with the strength."""
    growth: float
    schedules: Mapping[str, float]
    """What each costs in accuracy."""
    steepness: float

    @classmethod
    def drawn(cls, seed: int) -> Law:
        """A law by its seed."""
        draw = np.random.default_rng([seed, 1])
        costs = draw.permutation([0.0, 0.01, 0.03]).tolist()
        return cls(
            rate=float(draw.uniform(math.log(0.015), math.log(0.2))),
            slope=float(draw.uniform(-0.3, 0.3)),
            growth=float(draw.uniform(1.2, 2.8)),
            schedules=dict(zip(("cosine", "linear", "constant"), costs, strict=True)),
            steepness=float(draw.uniform(0.02, 0.05)),
        )

    def search(self, settings: Mapping[str, Any]) -> Points:
        """Multiply-adds (M) and accuracy, without noise, of what a search gives, its last one last."""
        place = (math.log10(settings["lambda0"]) + 4) / 4  # 0 to 1
        last = 500 * math.exp(-3 * place)
        off = math.log(settings["learning_rate"]) - self.rate - self.slope * (place - 0.5) * 4
        worse = self.steepness * off**2 + 0.02 * (settings["growth"] - self.growth) ** 2
        worse += self.schedules[settings["schedule"]]
        # Fast growth leaves gaps between the candidates, which lie from nearly everything to the last.
        shares = np.linspace(0, 1, 5) ** (1 / settings["growth"])
        sizes = 520 * (last / 520) ** shares
        return [(float(macs), max(0.1, 0.95 - 1.2 * macs**-0.5 - worse)) for macs in sizes]


def searched(law: Law, searcher: str, searches: int, seed: int) -> list[tuple[Points, Points]]:
    """Candidates of every search, without noise and with it."""
    draw = np.random.default_rng([seed, 2])
    worth = worth_of("hypervolume", REFERENCE, None)
    found = []

    def run(settings: Mapping[str, Any]) -> tuple[Points, Points]:
        gave = law.search(settings)
        return gave, [(macs, accuracy + NOISE * float(draw.standard_normal())) for macs, accuracy in gave]

    if searcher == LATIN:
        return [run(settings) for settings in latin_hypercube(SPACE, searches)]
    searcher, _, gain = searcher.partition(" ")
    arm = Arm(
        method="gold_nas",
        space="gold",
        settings=GoldNAS.Config(),
        param_space=SPACE,
        samples=searches,
        searcher=searcher,
    )
    sweep = Sweep(name="law", dataset="digits", arms=(arm,), reference=REFERENCE, worth=gain or "hypervolume")
    made = Learner(arm, arm.settings, (seed,)).searcher(sweep, REFERENCE)
    assert list(drawn_of(arm.param_space)) == list(SPACE)
    for _ in range(searches):
        proposal = made.ask()
        assert proposal is not None
        found.append(run(proposal.settings))
        told = found[-1][1]
        made.tell(proposal, Feedback(state="complete", values=(worth(told)["hypervolume"],), points=tuple(told)))
    return found


def on_law(searcher: str, searches: int, seed: int) -> tuple[float, ...]:
    """Hypervolumes without noise (M): of the best search as its noisy candidates say, and of the front of all."""
    found = searched(Law.drawn(seed), searcher, searches, seed)
    best = max(found, key=lambda one: worth_of("hypervolume", REFERENCE, None)(one[1])["hypervolume"])
    rows = [(macs, noisy, true) for gave, told in found for (macs, true), (_, noisy) in zip(gave, told, strict=True)]
    frame = pd.DataFrame(rows, columns=["macs", "accuracy", "true"])
    front = pareto_front(frame)
    of_all = front[["macs", "true"]].rename(columns={"true": "accuracy"})
    own = pd.DataFrame(best[0], columns=["macs", "accuracy"])
    return hypervolume(own, REFERENCE), hypervolume(of_all, REFERENCE)


def run_all(options: argparse.Namespace, searchers: Sequence[str]) -> None:
    """Run what the file does not have, repetition by repetition."""
    options.out.parent.mkdir(parents=True, exist_ok=True)
    known = {_key(line) for line in nas_bench_201.read_lines(options.out)}
    sweep = cells = None
    if options.table is not None:
        sweep = nas_bench_201.ready_sweep(options.table)
        cells = nas_bench_201.Cells(sweep)
    for seed in range(options.repetitions):
        for problem, count, baseline in (("law", options.searches, LATIN), ("table", options.evaluations, RANDOM)):
            for searcher in (baseline, *searchers):
                line: dict[str, Any] = {"problem": problem, "count": count, "searcher": searcher, "seed": seed}
                if _key(line) in known or (problem == "table" and (sweep is None or searcher.endswith("gain"))):
                    continue
                if problem == "law":
                    line["figures"] = on_law(searcher, count, seed)
                else:
                    rows = list(nas_bench_201.proposed(sweep, cells, searcher, seed, count))
                    line["figures"] = (cells.share(rows),)
                nas_bench_201.append(options.out, line)
                print(json.dumps(line), file=sys.stderr, flush=True)


def markdown(lines: Sequence[Mapping[str, Any]], problem: str, count: int, repetitions: int) -> list[str]:
    """Lines of a problem's table."""
    own = [one for one in lines if (one["problem"], one["count"]) == (problem, count) and one["seed"] < repetitions]
    baseline = LATIN if problem == "law" else RANDOM
    names = FIGURES[problem]
    found = [
        f"| searcher | {' | '.join(f'{name} | wins | p' for name in names)} |",
        "|---|" + "---|---|---|" * len(names),
    ]
    for searcher in (baseline, *SEARCHERS):
        cells = []
        for place, _ in enumerate(names):
            figures, beside = (
                {one["seed"]: one["figures"][place] for one in own if one["searcher"] == name}
                for name in (searcher, baseline)
            )
            if not figures:
                break
            low, median, high = np.percentile(list(figures.values()), [25, 50, 75])
            cells.append(f"{median:.4g} ({low:.4g} to {high:.4g})")
            pairs = [(value, beside[seed]) for seed, value in figures.items() if seed in beside]
            cells += ["", ""] if searcher == baseline else list(_compared(pairs))
        if cells:
            found.append(f"| `{searcher}` | {' | '.join(cells)} |")
    return found


def _compared(pairs: Sequence[tuple[float, float]]) -> tuple[str, str]:
    """How many of the pairs are won, and the p of the signed-rank test."""
    gains = np.array([mine - other for mine, other in pairs])
    p = f"{wilcoxon(gains).pvalue:.2g}" if gains.any() else "1"
    return f"{int((gains > 0).sum())} of {len(gains)}", p


def _key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("problem", "count", "searcher", "seed"))


def main() -> int:
    """Run what is not done yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--searches", type=int, default=40, help="of the law")
    parser.add_argument("--evaluations", type=int, default=100, help="of the table")
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=SEARCHERS)
    parser.add_argument("--table", type=Path, help="default: nasbench201.parquet in NASRAY_DATA; else the law alone")
    parser.add_argument("--out", type=Path, default=Path("runs/learning.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    there = Path(os.environ.get("NASRAY_DATA", ".")) / "nasbench201.parquet"
    options.table = options.table or (there if there.exists() else None)
    try:
        run_all(options, options.searchers)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    lines = nas_bench_201.read_lines(options.out)
    for problem, count, what in (("law", options.searches, "searches"), ("table", options.evaluations, "evaluations")):
        print(f"\n{problem}, {count} {what}, {options.repetitions} repetitions:\n")
        print("\n".join(markdown(lines, problem, count, options.repetitions)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
