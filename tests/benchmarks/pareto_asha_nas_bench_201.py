"""ParetoASHA on NAS-Bench-201: what stopping trainings after 12 of 200 epochs saves, and what it costs.

    NASRAY_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/pareto_asha_nas_bench_201.py [--table FILE]

Searchers propose cells, as in ``nas_bench_201_searchers.py``; each is trained for 12 epochs, by the table
(``cifar10_test_acc_12``), where ParetoASHA stops it or lets it go on to 200 (``cifar10_test_acc_200_nats``). The
searcher is told what a trial came to, so an adaptive one learns from fewer, and sees nothing of those that were
stopped. Printed is a Markdown table, medians and quartiles over the repetitions:

- hypervolume of the cells that were trained to the end (share of the true front's; 221 M, 86 %);
- its ratio to that of all proposed cells, had all been trained to the end: the same trials;
- its ratio to that of the same searcher and seed without ParetoASHA, which proposes other cells if it is adaptive;
- the share of full training's epochs that was spent;
- of the stopped trials, how many Optuna has for complete: by nasray's searcher, and by Ray Tune's own
  ``OptunaSearch`` that was told of the very same trials.

The bar is: the hypervolume of full training (0.999 of it, against the searcher in full) at half of its epochs at the
most; each line says whether it was reached. Exits with 1 where it was not with random sampling, which proposes the same
cells with and without ParetoASHA, or where nasray told Optuna that a stopped trial was complete.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from nas_bench_201_searchers import (
    CHECKPOINTS,
    COLUMNS,
    EPOCHS,
    Cells,
    feedback,
    proposed,
    ready_sweep,
    searcher_of,
)
from ray.tune.search.optuna import OptunaSearch

from nasray.errors import InvalidInput
from nasray.searchers import EPOCH, OBJECTIVES
from nasray.searchers.optuna import OptunaSearcher
from nasray.sweeps import Sweep
from nasray.tune.pareto_asha import ParetoASHA

SEARCHERS = ("random_search", "evolution", "nsga2", "tpe")
RUNG = 12
METRICS = ("accuracy", "macs")
RATIO, SPENT = 0.999, 0.5
"""Bars: of full training's hypervolume, and of its epochs."""


@dataclass
class Halved:
    """What came of a search under ParetoASHA."""

    rows: list[int] = field(default_factory=list)
    """Of all proposed cells, in their order."""
    complete: list[bool] = field(default_factory=list)
    """Whether each was trained to the end."""
    stopped_as_complete: int | None = None
    """Stopped trials that Optuna has for complete; None where the searcher is none of Optuna's."""
    by_ray: int | None = None
    """The same by Ray Tune's own searcher."""


def halve(sweep: Sweep, cells: Cells, searcher: str, seed: int, trials: int) -> Halved:
    """A search of so many trials, one after the other, each stopped at the rung or trained to the end."""
    modes = [OBJECTIVES[name] for name in METRICS]
    asha = ParetoASHA(METRICS, modes, EPOCH, rungs=(RUNG, EPOCHS), reduction_factor=sweep.training.reduction_factor)
    made = searcher_of(sweep, searcher, seed, trials)
    found = Halved()
    ray: Any = None
    if isinstance(made, OptunaSearcher):
        whatever = {"whatever": optuna.distributions.CategoricalDistribution([0])}
        ray = OptunaSearch(whatever, metric=list(METRICS), mode=modes)
    for number in range(trials):
        name = str(number)
        proposal = made.ask()
        assert proposal is not None
        row = cells.row(proposal.architecture)
        result = cells.result(row, RUNG)
        if asha.on_trial_result(None, name, result) == "CONTINUE":
            result = cells.result(row, EPOCHS)
        made.tell(proposal, feedback(made, result))
        if ray is not None:
            ray.suggest(name)
            ray.on_trial_complete(name, result)
        found.rows.append(row)
        found.complete.append(result[EPOCH] == EPOCHS)
    if isinstance(made, OptunaSearcher):
        found.stopped_as_complete = _stopped_as_complete(made.study, found.complete)
        found.by_ray = _stopped_as_complete(ray._ot_study, found.complete)
    return found


def _stopped_as_complete(study: optuna.Study, complete: Sequence[bool]) -> int:
    state = optuna.trial.TrialState.COMPLETE
    by_optuna = [trial.state == state for trial in study.trials]
    return sum(told and not was for told, was in zip(by_optuna, complete, strict=True))


def figures(cells: Cells, halved: Halved, full: Sequence[int], trials: int) -> list[float]:
    """Of the first so many trials: share of the true hypervolume, ratio to the same trials trained to the end, ratio
    to the searcher without ParetoASHA, share of epochs."""
    rows, complete = halved.rows[:trials], halved.complete[:trials]
    share = cells.share([row for row, ended in zip(rows, complete, strict=True) if ended])
    spent = sum(EPOCHS if ended else RUNG for ended in complete) / (EPOCHS * trials)
    return [share, share / cells.share(rows), share / cells.share(full[:trials]), spent]


def main() -> int:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="default: nasbench201.parquet in NASRAY_DATA")
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=SEARCHERS)
    parser.add_argument("--repetitions", type=int, default=20)
    options = parser.parse_args()
    table = options.table or Path(os.environ.get("NASRAY_DATA", ".")) / "nasbench201.parquet"
    try:
        sweep = ready_sweep(table, (*COLUMNS, f"cifar10_test_acc_12={RUNG}"))
        cells = Cells(sweep)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    missed = False
    print(
        f"{options.repetitions} repetitions, rungs of {RUNG} and {EPOCHS} epochs, one of "
        f"{sweep.training.reduction_factor:g} goes on; medians (quartiles)\n\n"
        "| searcher | trials | share of the true front | ratio to the same trials in full | ratio to the searcher in "
        "full | epochs spent | bar | stopped, told complete: nasray | Ray |\n|---|---|---|---|---|---|---|---|---|"
    )
    most = max(CHECKPOINTS)
    for searcher in options.searchers:
        runs = []
        for seed in range(options.repetitions):
            full = list(proposed(sweep, cells, searcher, seed, most))
            runs.append((halve(sweep, cells, searcher, seed, most), full))
            print(f"{searcher} {seed}", file=sys.stderr, flush=True)
        for trials in CHECKPOINTS:
            values = np.array([figures(cells, halved, full, trials) for halved, full in runs])
            low, median, high = np.percentile(values, [25, 50, 75], axis=0)
            shown = " | ".join(f"{m:.4f} ({a:.4f} to {b:.4f})" for a, m, b in zip(low, median, high, strict=True))
            reached = bool(median[2] >= RATIO and median[3] <= SPENT)
            missed |= searcher == "random_search" and not reached
            told = _told(runs) if trials == most else " | "
            print(
                f"| `{searcher}` | {trials:,} | {shown} | {'reached' if reached else 'missed'} | {told} |", flush=True
            )
        missed |= any(halved.stopped_as_complete for halved, _ in runs)
    return 1 if missed else 0


def _told(runs: Sequence[tuple[Halved, list[int]]]) -> str:
    """Stopped trials of all repetitions that were told as complete, by nasray and by Ray, of all stopped ones."""
    if runs[0][0].by_ray is None:
        return "not Optuna's | "
    stopped = sum(len(halved.complete) - sum(halved.complete) for halved, _ in runs)
    ours, theirs = (sum(getattr(h, name) for h, _ in runs) for name in ("stopped_as_complete", "by_ray"))
    return f"{ours:,} of {stopped:,} | {theirs:,} of {stopped:,}"


if __name__ == "__main__":
    sys.exit(main())
