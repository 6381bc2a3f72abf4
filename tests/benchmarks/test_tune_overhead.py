"""The benchmark of Tune's overhead, in small."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.cluster
@pytest.mark.slow
def test_it_measures_a_real_sweep() -> None:
    spec = importlib.util.spec_from_file_location("tune_overhead", Path(__file__).with_name("tune_overhead.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.measure(searches=4, seconds=0.2, nodes=2)
    assert found["ideal_seconds"] >= 4 * 0.2 / 2
    assert found["ratio"] > 1
    assert 0 < found["start_to_first_result_seconds"] < found["seconds"]
