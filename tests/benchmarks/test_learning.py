"""The benchmark of learning against not learning: its law, and one small repetition."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("learning")


def test_a_stronger_search_ends_cheaper_and_the_best_rate_is_the_law_s(learning: ModuleType) -> None:
    law = learning.Law.drawn(3)
    base = {"lambda0": 0.01, "learning_rate": 0.05, "growth": law.growth, "schedule": "cosine"}
    weak, strong = (law.search({**base, "lambda0": strength}) for strength in (1e-4, 1.0))
    assert weak[-1][0] > 10 * strong[-1][0]
    for gave in (weak, strong):
        assert [macs for macs, _ in gave] == sorted((macs for macs, _ in gave), reverse=True)
    best = max(
        (0.005 * 100 ** (k / 200) for k in range(201)),
        key=lambda rate: law.search({**base, "learning_rate": rate})[-1][1],
    )
    assert best == pytest.approx(2.718281828**law.rate, rel=0.02)


@pytest.mark.parametrize("searcher", ["latin", "tpe", "nsga2"])
def test_figures_are_hypervolumes_and_repeat(learning: ModuleType, searcher: str) -> None:
    best, front = learning.on_law(searcher, 8, 0)
    assert 0 < best < 600 * 0.9
    assert 0 < front < 600 * 0.9
    assert learning.on_law(searcher, 8, 0) == (best, front)
    assert learning.on_law(searcher, 8, 1) != (best, front)


def test_the_table_pairs_repetitions_and_says_what_is_chance(learning: ModuleType) -> None:
    lines = [
        {"problem": "table", "count": 9, "searcher": name, "seed": seed, "figures": [0.5 + gain * (seed + 1) / 100]}
        for name, gain in (("random_search", 0), ("tpe", 1))
        for seed in range(8)
    ]
    *_, row = learning.markdown(lines, "table", 9, 8)
    # All of eight won: two of 2^8 equally likely signs.
    assert row == "| `tpe` | 0.545 (0.5275 to 0.5625) | 8 of 8 | 0.0078 |"
