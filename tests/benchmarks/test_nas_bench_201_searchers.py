"""The benchmarks of searchers and of ParetoASHA on NAS-Bench-201: going on after a kill, and what they count."""

from __future__ import annotations

import importlib
import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import moocore
import numpy as np
import pandas as pd
import pytest

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells; what is best after 12 epochs is not what is best after 200."""
    draw = np.random.default_rng(0)
    rows = []
    for a, b, c, d, e, f in itertools.product(OPERATIONS, repeat=6):
        convolutions = sum(name.startswith("nor_conv") for name in (a, b, c, d, e, f))
        accuracy = 86 + 1.2 * convolutions + draw.normal()
        rows.append(
            {
                "arch": f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|",
                "cifar10_test_acc_12": accuracy - 20 + draw.normal(),
                "cifar10_test_acc_200_nats": accuracy,
            }
        )
    path = tmp_path_factory.mktemp("table") / "made_up.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.fixture
def searchers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("nas_bench_201_searchers")


@pytest.fixture
def halving(searchers: ModuleType) -> ModuleType:
    return importlib.import_module("pareto_asha_nas_bench_201")


def test_shares_are_of_the_hypervolume_of_all_cells(searchers: ModuleType, table: Path) -> None:
    cells = searchers.Cells(searchers.ready_sweep(table))
    assert len(cells.macs) == 15_625
    assert cells.share(range(15_625)) == 1.0
    # One cell: a rectangle below the reference point of 221 M and 86 %, beside that of all points.
    truth = pd.read_parquet(table)["cifar10_test_acc_200_nats"].to_numpy() / 100
    best = int(truth.argmax())
    everything = moocore.hypervolume(np.stack([cells.macs, -truth], axis=1), ref=[221.0, -0.86])
    assert cells.share([best]) == pytest.approx((221 - cells.macs[best]) * (truth[best] - 0.86) / everything)
    assert cells.share([]) == 0.0


def test_a_killed_run_goes_on_behind_a_line_that_was_cut_off(
    searchers: ModuleType, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searchers, "CHECKPOINTS", (3, 6))
    sweep = searchers.ready_sweep(table)
    cells = searchers.Cells(sweep)
    begun: list[tuple[str, int]] = []
    real = searchers.search

    def search(sweep: Any, cells: Any, searcher: str, seed: int, evaluations: int) -> Any:
        begun.append((searcher, seed))
        if len(begun) == 4:
            raise KeyboardInterrupt
        return real(sweep, cells, searcher, seed, evaluations)

    monkeypatch.setattr(searchers, "search", search)
    goals = {"evolution": 6, "nsga2": 3}
    file = tmp_path / "runs" / "found.jsonl"
    with pytest.raises(KeyboardInterrupt):
        searchers.run_all(sweep, cells, goals, 2, file)
    text = file.read_text()
    assert text.count("\n") == 5  # two of evolution, twice, and one of NSGA-II
    file.write_text(text[:-20])
    searchers.run_all(sweep, cells, goals, 2, file)
    assert begun[4:] == [("evolution", 1), ("nsga2", 1)]
    lines = searchers.read_lines(file)
    found = sorted((line["searcher"], line["seed"], line["evaluations"]) for line in lines)
    assert found == [*itertools.product(["evolution"], [0, 1], [3, 6]), ("nsga2", 0, 3), ("nsga2", 1, 3)]
    # What had been cut off came out as it was.
    assert json.loads(text.splitlines()[-1])["share"] == next(
        line["share"] for line in lines if (line["searcher"], line["seed"], line["evaluations"]) == ("evolution", 1, 6)
    )


def test_the_table_has_medians_and_quartiles_and_how_many_there_were(searchers: ModuleType) -> None:
    lines = [
        {"searcher": "gp", "seed": i, "evaluations": 100, "share": share, "different": 90 + i, "cpu_seconds": 1.0 + i}
        for i, share in enumerate((0.5, 0.9, 0.6, 0.7, 0.8))
    ]
    lines.append({**lines[0], "evaluations": 300, "share": 0.95, "different": 280, "cpu_seconds": 9.0})
    *_, row = searchers.markdown(lines)
    assert row == "| `gp` | 0.7000 (0.6000 to 0.8000; 5) | 0.9500 (0.9500 to 0.9500; 1) |  | 280 of 300 | 9.0 |"


@pytest.mark.parametrize("searcher", ["evolution", "tpe"])
def test_what_is_stopped_is_counted_by_its_epochs_and_told_as_pruned(
    halving: ModuleType, searchers: ModuleType, table: Path, searcher: str
) -> None:
    sweep = searchers.ready_sweep(table, (*searchers.COLUMNS, "cifar10_test_acc_12=12"))
    cells = searchers.Cells(sweep)
    trials = 40
    halved = halving.halve(sweep, cells, searcher, 0, trials)
    ended = sum(halved.complete)
    assert 5 < ended < 35
    share, same, other, spent = halving.figures(cells, halved, halved.rows, trials)
    assert spent == pytest.approx((200 * ended + 12 * (trials - ended)) / (200 * trials))
    assert same == other == pytest.approx(share / cells.share(halved.rows))
    assert 0 < same <= 1
    if searcher == "tpe":
        assert halved.stopped_as_complete == 0
        assert halved.by_ray == trials - ended
    else:
        assert halved.by_ray is None
