"""Ten thousand proposals on a table: seconds a proposal of each searcher, at the beginning and at the end, and memory.

    NASRAY_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/proposals.py [--proposals 10000] [--table FILE]

drives each searcher by itself, in a process of its own, against the table of NAS-Bench-201: what a sweep's driver does
beside Ray. Seconds are the processor's, of asking and telling: medians, and 90th percentiles in brackets. ``all told
again in`` is how long a new driver takes to tell a searcher all results when it resumes the run, or learns from it.
Memory is the process's largest resident size, with torch and the table of 15,625 cells.

Evolution and the random search make all proposals. The others would take hours (Optuna's samplers look through all
trials at each proposal): after their first 100 proposals they are told random cells in place of their own, and make the
last 100, or 10 of the Gaussian processes, which model 500 results at most.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nas_bench_201_searchers as nas_bench_201
import numpy as np
import torch

from nasray.errors import InvalidInput
from nasray.searchers import Proposal, Searcher

SEARCHERS = ("random_search", "evolution", "tpe", "nsga2", "nsga3", "gp")
EDGE = 100
"""Proposals at the beginning, and at the end, that are timed."""
SLOW = {"tpe": EDGE, "nsga2": EDGE, "nsga3": EDGE, "gp": 10}
"""Searchers that do not make all proposals, and how many they make at the end."""


def measure(table: Path, searcher: str, proposals: int) -> dict[str, Any]:
    """Seconds and bytes of one searcher, in this process."""
    sweep = nas_bench_201.ready_sweep(table)
    cells = nas_bench_201.Cells(sweep)
    made = nas_bench_201.searcher_of(sweep, searcher, 0, proposals)
    edge = min(EDGE, proposals // 2)
    last = min(SLOW.get(searcher, edge), edge)
    first = [_propose(made, cells) for _ in range(edge)]
    other = proposals - edge - last
    if searcher in SLOW:
        _tell(made, cells, other)
    else:
        for _ in range(other):
            _propose(made, cells)
    end = [_propose(made, cells) for _ in range(last)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    again = nas_bench_201.searcher_of(sweep, searcher, 0, proposals)
    began = time.process_time()
    _tell(again, cells, proposals)
    return {
        "searcher": searcher,
        "first": first,
        "last": end,
        "told": time.process_time() - began,
        "mebibytes": peak,
        "all": searcher not in SLOW,
    }


def _propose(made: Searcher, cells: nas_bench_201.Cells) -> float:
    """Seconds of a proposal and of telling what it came to."""
    began = time.process_time()
    proposal = made.ask()
    asked = time.process_time() - began
    assert proposal is not None
    feedback = nas_bench_201.feedback(made, cells.result(cells.row(proposal.architecture), nas_bench_201.EPOCHS))
    began = time.process_time()
    made.tell(proposal, feedback)
    return asked + time.process_time() - began


def _tell(made: Searcher, cells: nas_bench_201.Cells, count: int) -> None:
    """Tell a searcher random cells that it did not propose."""
    architectures = cells.table.architectures()
    for row in np.random.default_rng(0).permutation(len(architectures))[:count]:
        result = cells.result(int(row), nas_bench_201.EPOCHS)
        made.tell(Proposal(architectures[row]), nas_bench_201.feedback(made, result))


def markdown(found: Sequence[dict[str, Any]], proposals: int) -> list[str]:
    """Lines of the table."""
    lines = [
        f"| searcher | s a proposal, first {EDGE} | last of {proposals:,} | all told again in | peak memory |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        first, last = (_said(one[name]) for name in ("first", "last"))
        told = f"{one['told']:.3g} s"
        lines.append(f"| `{one['searcher']}` | {first} | {last} | {told} | {one['mebibytes']:,.0f} MiB |")
    return lines


def _said(seconds: Sequence[float]) -> str:
    median, most = np.percentile(seconds, [50, 90])
    return f"{median:.2g} ({most:.2g})"


def main() -> int:
    """Measure each searcher in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=10_000)
    parser.add_argument("--table", type=Path, help="default: nasbench201.parquet in NASRAY_DATA")
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=SEARCHERS)
    parser.add_argument("--one", choices=SEARCHERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    table = options.table or Path(os.environ.get("NASRAY_DATA", ".")) / "nasbench201.parquet"
    if options.one:
        torch.set_num_threads(1)
        try:
            print(json.dumps(measure(table, options.one, options.proposals)))
        except InvalidInput as error:
            print(error, file=sys.stderr)
            return 2
        return 0
    found = []
    for searcher in options.searchers:
        command = [sys.executable, __file__, "--one", searcher, "--proposals", str(options.proposals)]
        done = subprocess.run([*command, "--table", str(table)], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return done.returncode
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(markdown(found, options.proposals)[-1], file=sys.stderr, flush=True)
    print("\n".join(markdown(found, options.proposals)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
