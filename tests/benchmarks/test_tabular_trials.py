"""The benchmark of looked-up trials: that it runs what the command line runs, and how it reads the memory's growth."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from nasray.runs import EVALUATIONS, Storage, compact, write_row
from nasray.sweeps.proposals import proposals
from tests.run_files import Row


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("tabular_trials")


def test_it_is_one_search_of_so_many_trials(benchmark: ModuleType, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    pd.DataFrame({"arch": [cell], "cifar10_test_acc_200_nats": [10.0]}).to_csv(table)
    sweep = benchmark.sweep_of(table, "nsga2", 1000, str(tmp_path))
    assert [(one.method, one.evaluations) for one in proposals(sweep)] == [("nsga2", 1000)]
    assert sweep.searches() == []


def test_growth_is_the_slope_once_everything_is_imported(benchmark: ModuleType) -> None:
    draw = np.random.default_rng(0)
    # 300 MB of imports in the first trials, then 50 kB a trial and noise.
    seen = [(rows, 100_000_000 * min(rows, 3) // 3) for rows in range(0, 90, 10)]
    seen += [(rows, int(400_000_000 + 50_000 * rows + draw.normal(0, 10_000))) for rows in range(100, 1001, 25)]
    assert benchmark.bytes_a_trial(seen, 1000) == pytest.approx(50_000, rel=0.01)
    assert np.isnan(benchmark.bytes_a_trial(seen[:5], 1000))


def test_resident_bytes_grow_with_what_is_kept(benchmark: ModuleType) -> None:
    before = benchmark.resident_bytes()
    kept = np.ones(50_000_000)
    assert benchmark.resident_bytes() - before > 0.9 * kept.nbytes


def test_rows_are_counted_before_and_after_they_are_put_together(
    benchmark: ModuleType, storage: Storage, evaluation: Row
) -> None:
    folder = Path(str(storage), "evaluations")
    for number in range(7):
        assert benchmark.rows_in(folder) == number
        write_row(storage, EVALUATIONS, evaluation(architecture_id=f"a{number}"))
        if number % 3 == 2:
            compact(storage, EVALUATIONS)
