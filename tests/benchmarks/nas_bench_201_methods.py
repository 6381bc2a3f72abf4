"""Differentiable methods on NAS-Bench-201: what they find is looked up in the table of all 15,625 trained cells.

    NASRAY_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/nas_bench_201_methods.py [--table FILE] [--out FILE]

searches on CIFAR-10 with every method that can search this space, three seeds each, and prints a Markdown table: the
test accuracy of the cells found, after 200 epochs as the table has it, their rank among all cells, and their
multiply-adds; beside it the cells that the method ``random`` draws, and what drawing from the whole space would give
in expectation. Each finished search is a line of ``--out`` (``runs/nas_bench_201_methods.jsonl``): a run that was
killed goes on with the next one, and other settings are other searches. It takes about a quarter of an hour of one
core.

All sizes are ours, and small: the supernet has 3 cells, one a stage, and 8 channels, where the published searches have
15 and 16; 512 of 50,000 images are searched on, for 15 epochs. So few steps move architecture parameters little at the
papers' learning rates, theirs is larger (0.02, as in ``methods_cifar10``). Nothing was chosen by accuracies of the
table. GOLD-NAS searches all epochs, its first strength chosen so that it prunes within them; EnTranNAS-DST rewards
thresholds as in ``methods_cifar10``; ISTA-NAS may keep an operation on every edge (sparsity 3: the last node has three
edges); the one-stage search ends once its architecture stands, for the table trained the network already. ``random``
draws its cell before it trains anything, and trains for one epoch only.

DARTS is known to fail in this space: X. Dong, Y. Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326, report 54.30 % on
CIFAR-10's test images, which in the table is the cell with a skip connection on every edge. A search as short as this
one says nothing of where a full one ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.registry import find
from nasray.spaces import CellSpace, NetworkSize, from_string, to_string
from nasray.tabular import AccuracyTable, read_table
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig, find_method
from nasray.trials.trial import SearchTrial

SPACE, DATASET, SEEDS, EPOCHS = "nas_bench_201", "cifar10", (0, 1, 2), 200
NETWORK = NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=10)
"""Of which the table has the accuracies."""

SEARCH: dict[str, Any] = dict(
    channels=8,
    cells=3,
    batch_size=32,
    train_examples=512,
    epochs=15,
    learning_rate=0.05,
    auxiliary_weight=0.0,
    augmentation="standard",
    validation_fraction=0.01,
)
FASTER: dict[str, Any] = dict(architecture_learning_rate=0.02)
METHODS: dict[str, dict[str, Any]] = {
    "darts": FASTER,
    "pc_darts": FASTER,
    "gold_nas": dict(lambda0=0.001, stable_epochs=0, stop_macs=1.0),
    "ista_nas": dict(**FASTER, sparsity=3),
    "ista_nas_one_stage": dict(**FASTER, sparsity=3, epochs=16, final_epochs=1, max_params=None),
    "entrannas": FASTER,
    "entrannas_dst": dict(**FASTER, threshold_penalty=1.0),
    "data_egs": FASTER,
    "random": dict(epochs=1),
}
"""What of a method's settings differs from those of all."""

Found = Mapping[str, Any]
"""A line of the file: ``trial_id``, ``method``, ``seed``, ``arch`` (official string), ``epochs``, ``cpu_seconds``."""


def configs() -> list[SearchConfig]:
    """All searches, seed by seed, so that an unfinished run has as much of every method."""
    return [
        SearchConfig(
            method=method,
            space=SPACE,
            dataset=DATASET,
            settings=find_method(method).Config(**{**SEARCH, **own}),
            seed=seed,
        )
        for seed in SEEDS
        for method, own in METHODS.items()
    ]


def trial_id(config: SearchConfig) -> str:
    """What names a search: ten digits of a digest of all that it depends on."""
    return SearchTrial(run="", config=config).name


def run_all(configs: Sequence[SearchConfig], file: Path) -> list[Found]:
    """What every search found, from the file where it is there, else by searching and adding a line to it."""
    known = {line["trial_id"]: line for line in read_lines(file)}
    file.parent.mkdir(parents=True, exist_ok=True)
    for number, config in enumerate(configs, 1):
        identity = trial_id(config)
        if identity not in known:
            known[identity] = {"trial_id": identity, **search(config)}
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(known[identity]) + "\n")
        print(f"{number} of {len(configs)}: {json.dumps(known[identity])}", file=sys.stderr, flush=True)
    return [known[trial_id(config)] for config in configs]


def read_lines(file: Path) -> list[Found]:
    """The file's lines; one that a kill cut off is taken out of it."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        file.write_text(text, encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def search(config: SearchConfig) -> Found:
    """One search, and the architecture that it ends with."""
    began = time.process_time()
    made = Search(config)
    while not made.finished:
        made.run_epoch()
    return {
        "method": config.method,
        "seed": config.seed,
        "arch": to_string(made.space, made.method.architecture()),
        "epochs": made.epoch,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def markdown(found: Sequence[Found], table: AccuracyTable) -> list[str]:
    """Lines of a Markdown table: one row a method in the order of METHODS, then the whole space."""
    lines = [
        f"| method | test accuracy %, {EPOCHS} epochs | rank of {len(table):,} | M macs | CPU s |",
        "|---|---|---|---|---|",
    ]
    for method in METHODS:
        of_method = [line for line in found if line["method"] == method]
        if not of_method:
            continue
        architectures = [from_string(table.space, line["arch"]) for line in of_method]
        accuracies = [100 * table.accuracy(architecture, EPOCHS) for architecture in architectures]
        ranks = [table.rank(architecture, EPOCHS) for architecture in architectures]
        costs = [macs(table.space, architecture, NETWORK) for architecture in architectures]
        seconds = np.mean([line["cpu_seconds"] for line in of_method])
        lines.append(
            f"| `{method}` | {_spread(accuracies, 2)} | {np.median(ranks):,.0f} | {_spread(costs, 1)} | {seconds:.0f} |"
        )
    everything = 100 * table.accuracies(EPOCHS)
    low, median, high = np.percentile(everything, [25, 50, 75])
    costs = [macs(table.space, architecture, NETWORK) for architecture in table.architectures()]
    lines.append(
        f"| all cells | {_spread(everything, 2)}; quartiles {low:.2f}, {median:.2f}, {high:.2f}; best "
        f"{everything.max():.2f} | {(len(table) + 1) / 2:,.0f} | {_spread(costs, 1)} | |"
    )
    return lines


def _spread(values: Sequence[float] | np.ndarray, digits: int) -> str:
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def main() -> int:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="default: nasbench201.parquet in NASRAY_DATA")
    parser.add_argument("--out", type=Path, default=Path("runs/nas_bench_201_methods.jsonl"))
    options = parser.parse_args()
    path = options.table or Path(os.environ.get("NASRAY_DATA", ".")) / "nasbench201.parquet"
    try:
        space: CellSpace = find("space", SPACE, CellSpace)
        table = read_table(path, space, dataset=DATASET)
        found = run_all(configs(), options.out)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(markdown(found, table)))
    print()
    for line in sorted(found, key=lambda line: (list(METHODS).index(line["method"]), line["seed"])):
        accuracy = 100 * table.accuracy(from_string(space, line["arch"]), EPOCHS)
        print(f"{line['method']} {line['seed']}: {line['arch']} {accuracy:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
