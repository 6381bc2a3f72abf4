"""The benchmark of filling a front, with fewer seeds."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("fill")


def test_nearly_all_targets_of_every_form_are_met_in_twenty_searches(fill: ModuleType) -> None:
    for name, method in fill.METHODS.items():
        found = [fill.fill(method, seed) for seed in range(2)]
        assert all(one.searches <= 20 for one in found)
        missed = sum(one.targets - one.met for one in found)
        assert missed <= 1, f"{name}: {missed} missed"


def test_targets_are_costs_that_the_method_has(fill: ModuleType) -> None:
    for method in fill.METHODS.values():
        costs = [method.cost(value) for value in method.values(20_001)]
        assert set(method.targets()) <= set(costs)
        assert costs == sorted(costs, reverse=method.falls)
