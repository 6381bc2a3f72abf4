"""Filling a front: targets met, and searches used, of made-up methods whose form the model does not know.

    OMP_NUM_THREADS=1 python tests/benchmarks/fill.py [--seeds 100] [--first-seed 1000] [--at-once 1] [--noise 0.03]

prints a Markdown table. Each made-up method gives one candidate a search, whose multiply-adds are monotone in the knob
with log-normal noise of 3 %. Eight targets lie evenly in their logarithm from the cheapest to the dearest; in the place
of one that falls into a jump or between two whole values stands the nearest cost that can be reached, and there are
fewer where two have the same. Each is to be met within 5 %, by at most 20 searches in all. A single search at the
perfect value of the knob meets a target with probability 0.90.

``all met`` counts the seeds for which all were; ``met`` is the share of targets that the filling met, and ``grid`` that
of 20 searches at values evenly over the knob's range.

The model's few constants were chosen on some of these forms with the seeds 0 to 149: by default seeds begin at 1000.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasray.searchers.filling import Filling, Probe, targets_between
from nasray.settings import Range

SEARCHES, TARGETS, TOLERANCE, NOISE = 20, 8, 0.05, 0.03


@dataclass(frozen=True)
class Method:
    """A made-up method."""

    cost: Callable[[float], float]
    """Multiply-adds (M) without noise, of the knob."""
    within: Range
    falls: bool = False

    def targets(self) -> tuple[float, ...]:
        """Reachable ones: costs that some value of the knob has."""
        values = self.values(20_001)
        reachable = np.array([self.cost(value) for value in values])
        wanted = targets_between(float(reachable.min()), float(reachable.max()), TARGETS)
        return tuple(float(reachable[np.abs(np.log(reachable / one)).argmin()]) for one in wanted)

    def values(self, count: int) -> list[float]:
        """Of the knob, evenly over its range; all of a whole one that has no more."""
        low, high = self.within.low, self.within.high
        if self.within.integer:
            return [float(round(value)) for value in np.linspace(low, high, min(count, round(high - low) + 1))]
        return [float(one) for one in (np.geomspace if self.within.log else np.linspace)(low, high, count)]


def logistic(value: float, middle: float, width: float) -> float:
    """From 0 to 1, within about four widths on both sides of the middle."""
    return 1 / (1 + math.exp(-min(max((value - middle) / width, -500.0), 500.0)))


def two_rises(value: float) -> float:
    """A plateau between two rises."""
    return 50 * math.exp(min(value / 0.3, 1.0) + 1.2 * min(max((value - 0.6) / 0.3, 0.0), 1.0))


STRENGTH = Range(low=1e-7, high=1.0, log=True)
METHODS: Mapping[str, Method] = {
    "logistic, falling, over 7 decades": Method(
        lambda k: 40 + 560 * (1 - logistic(math.log10(k), -2.8, 0.28)), STRENGTH, falls=True
    ),
    "steep logistic, falling, over 7 decades": Method(
        lambda k: 40 + 560 * (1 - logistic(math.log10(k), -4.55, 0.084)), STRENGTH, falls=True
    ),
    "power law with a step, rising": Method(
        lambda k: 100 * k**0.25 * (1.8 if k > 160 else 1.0), Range(low=1.0, high=1e4, log=True)
    ),
    "power law with a step and a plateau, falling": Method(
        lambda k: 700 * max(k, 0.02) ** -0.3 * (0.5 if k > 3 else 1.0),
        Range(low=1e-3, high=100.0, log=True),
        falls=True,
    ),
    "saturating, rising": Method(lambda k: 60 + 900 * (1 - math.exp(-k / 12.5)), Range(low=0.0, high=100.0)),
    "saturating, falling": Method(lambda k: 30 + 300 / (1 + 8 * k), Range(low=0.0, high=10.0), falls=True),
    "two rises and a plateau": Method(two_rises, Range(low=0.0, high=1.0)),
    "whole knob, rising": Method(lambda k: 60 * k**0.8, Range(low=1, high=16, integer=True)),
    "whole knob of seven, falling": Method(lambda k: 400 * 0.8**k + 20, Range(low=1, high=7, integer=True), falls=True),
    "two plateaus, falling": Method(
        lambda k: 500 - 200 * logistic(k, 2.0, 0.1) - 220 * logistic(k, 7.0, 0.3), Range(low=0.0, high=10.0), falls=True
    ),
}


@dataclass(frozen=True)
class Filled:
    """What one filling came to."""

    met: int
    targets: int
    searches: int


def fill(method: Method, seed: int, *, at_once: int = 1, noise: float = NOISE, searches: int = SEARCHES) -> Filled:
    """Fill once; with several searches under way at once, the earliest ends first."""
    draw = np.random.default_rng(seed)
    targets = method.targets()
    filling = Filling(targets, "knob", method.within, falls=method.falls, searches=searches, tolerance=TOLERANCE)
    under_way: list[Probe] = []
    told = 0
    while True:
        while len(under_way) < at_once and (probe := filling.ask()) is not None:
            under_way.append(probe)
        if not under_way:
            break
        probe = under_way.pop(0)
        filling.tell(probe, [method.cost(probe.value) * math.exp(noise * draw.standard_normal())])
        told += 1
    assert filling.is_finished
    return Filled(len(filling.met()), len(filling.targets), told)


def grid(method: Method, seed: int, noise: float = NOISE) -> Filled:
    """As many searches, at values evenly over the range, over and over where it has fewer."""
    draw = np.random.default_rng(seed)
    values = (method.values(SEARCHES) * SEARCHES)[:SEARCHES]
    costs = np.array([method.cost(value) * math.exp(noise * draw.standard_normal()) for value in values])
    targets = sorted(set(method.targets()))
    met = sum(bool((np.abs(costs - one) <= TOLERANCE * one).any()) for one in targets)
    return Filled(met, len(targets), SEARCHES)


def markdown(seeds: Sequence[int], at_once: int, noise: float) -> list[str]:
    """Lines of the table."""
    lines = ["| made-up method | all met | met | searches, median (90 %) | grid |", "|---|---|---|---|---|"]
    for name, method in METHODS.items():
        found = [fill(method, seed, at_once=at_once, noise=noise) for seed in seeds]
        beside = [grid(method, seed, noise) for seed in seeds]
        complete = sum(one.met == one.targets for one in found)
        share, of_grid = (sum(one.met for one in all) / sum(one.targets for one in all) for all in (found, beside))
        median, most = np.percentile([one.searches for one in found], [50, 90])
        lines.append(
            f"| {name} | {complete} of {len(seeds)} | {share:.3f} | {median:.0f} ({most:.0f}) | {of_grid:.3f} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=1, help="searches under way at once")
    parser.add_argument("--noise", type=float, default=NOISE, help="standard deviation of the log cost")
    options = parser.parse_args()
    print(
        "\n".join(
            markdown(range(options.first_seed, options.first_seed + options.seeds), options.at_once, options.noise)
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
