"""Black-box searchers on NAS-Bench-201: how much of the true front they have after 100, 300 and 1,000 evaluations.

    NASRAY_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/nas_bench_201_searchers.py [--table FILE] [--out FILE]

drives the searchers of nasray's sweeps, as the ready sweep ``nas_bench_201`` makes them, against the table of all
15,625 trained cells (CIFAR-10: multiply-adds against ``cifar10_test_acc_200_nats``), and prints a Markdown table:
hypervolume as a share of the true front's (reference point 221 M and 86 %, 14 cells), medians and quartiles over the
repetitions. Every proposal counts as an evaluation, also one that was proposed before.

A searcher is asked and told by a loop, without Ray. A sweep over a table proposes the same cells in the same order
(``tests/sweeps/test_black_box.py`` compares the two), and the same seed gives the same figures.

Each (searcher, seed) that has come to 100, 300 or 1,000 evaluations is a line of ``--out``
(``runs/nas_bench_201_searchers.jsonl``): a run that was killed goes on with the next one, and several may run at once
with one file and other ``--searchers``. Optuna's GP takes time that grows with the square of the evaluations and more,
so it is asked for ``--gp-evaluations`` only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt
import torch

from nasray import registry
from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.gates import architecture_masks
from nasray.searchers import EPOCH, Feedback, Searcher, feedback_of, find_searcher
from nasray.spaces import Architecture, to_string
from nasray.sweeps import AccuracySource, Sweep
from nasray.sweeps.proposals import Proposals
from nasray.trials.lookup import tabular_size

SEARCHERS = ("random_search", "evolution", "nsga2", "nsga3", "tpe", "gp")
CHECKPOINTS = (100, 300, 1000)
EPOCHS = 200
COLUMNS = (f"cifar10_test_acc_200_nats={EPOCHS}",)
REFERENCE = (221.0, -0.86)
"""Multiply-adds (M), and minus the accuracy."""

Line = Mapping[str, Any]
"""Of the file: ``searcher``, ``seed``, ``evaluations``, ``share`` (of the true front's hypervolume), ``different``
(architectures among the evaluations), ``cpu_seconds``."""


class Cells:
    """The table's cells: what each costs, how good it is, and what the front of all of them is worth.

    Args:
        sweep: with a table.
    """

    def __init__(self, sweep: Sweep) -> None:
        assert sweep.table is not None
        space = sweep.arms[0].space
        self.space = registry.find("space", space)
        self.size = tabular_size(self.space, sweep.dataset, sweep.table)
        self.table = sweep.table.open(space, sweep.dataset)
        costs = cost_table(self.space, self.size)
        architectures = self.table.architectures()
        self.macs = np.array(
            [costs.macs(architecture_masks(self.space, one, self.size.cells)) for one in architectures]
        )
        """M, of every cell."""
        self._rows = {to_string(self.space, one): row for row, one in enumerate(architectures)}

    def row(self, architecture: Architecture) -> int:
        """The cell that a searcher proposed."""
        return self._rows[to_string(self.space, architecture)]

    def result(self, row: int, epochs: int) -> dict[str, float]:
        """What a training of a cell for so many epochs reports."""
        return {"accuracy": float(self.table.accuracies(epochs)[row]), "macs": float(self.macs[row]), EPOCH: epochs}

    def share(self, rows: Sequence[int]) -> float:
        """Hypervolume of some cells, as a fraction of that of all."""
        return float(moocore.hypervolume(self._points[list(rows)], ref=REFERENCE)) / self._all if len(rows) else 0.0

    @cached_property
    def _points(self) -> npt.NDArray[np.float64]:
        """(cells, 2): multiply-adds (M), and minus the accuracy after 200 epochs."""
        return np.stack([self.macs, -self.table.accuracies(EPOCHS)], axis=1)

    @cached_property
    def _all(self) -> float:
        return float(moocore.hypervolume(self._points, ref=REFERENCE))


def ready_sweep(table: Path, columns: Sequence[str] = COLUMNS) -> Sweep:
    """The ready sweep over a table."""
    sweep: Sweep = registry.find("sweep", "nas_bench_201", Sweep)
    return dataclasses.replace(sweep, table=AccuracySource(path=str(table), columns=tuple(columns)))


def proposed(sweep: Sweep, cells: Cells, searcher: str, seed: int, evaluations: int) -> Iterator[int]:
    """The cells that a searcher proposes, one after the other."""
    made = searcher_of(sweep, searcher, seed, evaluations)
    for _ in range(evaluations):
        proposal = made.ask()
        assert proposal is not None
        row = cells.row(proposal.architecture)
        made.tell(proposal, feedback(made, cells.result(row, EPOCHS)))
        yield row


def searcher_of(sweep: Sweep, searcher: str, seed: int, evaluations: int) -> Searcher:
    """A searcher as the sweep makes it."""
    config = find_searcher(searcher).Config.of({"evaluations": evaluations})
    return Proposals(searcher, sweep.arms[0].space, config, seed).searcher(sweep)


def feedback(searcher: Searcher, result: Mapping[str, float]) -> Feedback:
    """What a searcher is told of a result."""
    problem = searcher.problem
    return feedback_of(result, objectives=problem.objectives, epochs=problem.epochs, budget=problem.budget)


def search(sweep: Sweep, cells: Cells, searcher: str, seed: int, evaluations: int) -> Iterator[Line]:
    """One search, and a line at every checkpoint up to so many evaluations."""
    began = time.process_time()
    rows: list[int] = []
    for row in proposed(sweep, cells, searcher, seed, evaluations):
        rows.append(row)
        if len(rows) in CHECKPOINTS:
            yield {
                "searcher": searcher,
                "seed": seed,
                "evaluations": len(rows),
                "share": round(cells.share(rows), 6),
                "different": len(set(rows)),
                "cpu_seconds": round(time.process_time() - began, 2),
            }


def run_all(sweep: Sweep, cells: Cells, goals: Mapping[str, int], repetitions: int, file: Path) -> None:
    """Run what the file does not have, seed by seed, so that an unfinished run has as much of every searcher."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(repetitions):
        for searcher, goal in goals.items():
            last = max((checkpoint for checkpoint in CHECKPOINTS if checkpoint <= goal), default=0)
            known = {(line["searcher"], line["seed"], line["evaluations"]) for line in read_lines(file)}
            if not last or (searcher, seed, last) in known:
                continue
            for line in search(sweep, cells, searcher, seed, last):
                if (searcher, seed, line["evaluations"]) not in known:
                    append(file, line)
                print(json.dumps(line), file=sys.stderr, flush=True)


def read_lines(file: Path) -> list[Line]:
    """The file's lines, without one that a kill cut off."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def append(file: Path, line: Line) -> None:
    """Add a line, behind one that was cut off too; in one write, for another process may write to the same file."""
    with file.open("ab+") as lines:
        begun = lines.tell() > 0
        if begun:
            lines.seek(-1, os.SEEK_END)
            begun = lines.read(1) != b"\n"
        lines.write((("\n" if begun else "") + json.dumps(line) + "\n").encode())


def markdown(lines: Sequence[Line]) -> list[str]:
    """Lines of a Markdown table: one row a searcher, medians and quartiles, and what a search costs."""
    found = [
        f"| searcher | {' | '.join(f'{checkpoint:,} evaluations' for checkpoint in CHECKPOINTS)} | different of them "
        "| CPU s |",
        "|---|" + "---|" * (len(CHECKPOINTS) + 2),
    ]
    for searcher in SEARCHERS:
        shown = []
        of_searcher = [line for line in lines if line["searcher"] == searcher]
        most = max((line["evaluations"] for line in of_searcher), default=0)
        for checkpoint in CHECKPOINTS:
            shares = [line["share"] for line in of_searcher if line["evaluations"] == checkpoint]
            if not shares:
                shown.append("")
                continue
            low, median, high = np.percentile(shares, [25, 50, 75])
            shown.append(f"{median:.4f} ({low:.4f} to {high:.4f}; {len(shares)})")
        if of_searcher:
            ended = [line for line in of_searcher if line["evaluations"] == most]
            different = np.median([line["different"] for line in ended])
            seconds = np.median([line["cpu_seconds"] for line in ended])
            found.append(f"| `{searcher}` | {' | '.join(shown)} | {different:.0f} of {most:,} | {seconds:.1f} |")
    return found


def main() -> int:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="default: nasbench201.parquet in NASRAY_DATA")
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=SEARCHERS)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--evaluations", type=int, choices=CHECKPOINTS, default=1000)
    parser.add_argument("--gp-evaluations", type=int, choices=CHECKPOINTS, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/nas_bench_201_searchers.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # GP's matrices are small: a second thread only waits
    table = options.table or Path(os.environ.get("NASRAY_DATA", ".")) / "nasbench201.parquet"
    goals = {
        name: min(options.evaluations, options.gp_evaluations) if name == "gp" else options.evaluations
        for name in options.searchers
    }
    try:
        sweep = ready_sweep(table)
        cells = Cells(sweep)
        run_all(sweep, cells, goals, options.repetitions, options.out)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(markdown(read_lines(options.out))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
