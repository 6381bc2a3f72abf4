"""The benchmark of many proposals, with few of them."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [
        f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|" for a, b, c, d, e, f in itertools.product(OPERATIONS, repeat=6)
    ]
    accuracies = [float(60 + index % 34) for index in range(len(cells))]
    path = tmp_path_factory.mktemp("table") / "made_up.parquet"
    pd.DataFrame({"arch": cells, "cifar10_test_acc_200_nats": accuracies}).to_parquet(path)
    return path


@pytest.fixture
def proposals(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("proposals")


@pytest.mark.parametrize(
    ("searcher", "last"),
    [("evolution", 10), *(pytest.param(*one, marks=pytest.mark.slow) for one in (("nsga2", 10), ("gp", 3)))],
)
def test_the_first_and_the_last_proposals_are_timed(
    proposals: ModuleType, table: Path, searcher: str, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "EDGE", 10)
    monkeypatch.setattr(proposals, "SLOW", {"nsga2": 10, "gp": 3})
    made: list[object] = []
    real = proposals._propose
    monkeypatch.setattr(proposals, "_propose", lambda *given: made.append(given) or real(*given))
    found = proposals.measure(table, searcher, 30)
    assert (len(found["first"]), len(found["last"])) == (10, last)
    assert len(made) == (30 if searcher == "evolution" else 10 + last)
    assert min(found["first"]) > 0
    assert found["mebibytes"] > 100
    row = proposals.markdown([{**found, "first": [0.5], "last": [1.0], "told": 2.0, "mebibytes": 1234.5}], 30)[-1]
    assert row == f"| `{searcher}` | 0.5 (0.5) | 1 (1) | 2 s | 1,234 MiB |"
