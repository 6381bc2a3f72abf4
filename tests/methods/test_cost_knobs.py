"""Which setting moves the cost of what a method finds, of every registered one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nasray
from nasray import registry
from nasray.errors import InvalidInput
from nasray.methods import CostKnob
from nasray.trials.search_config import find_method

METHODS = sorted(registry.names("method"))
TINY: dict[str, Any] = {
    **{"batch_size": 32, "channels": 2, "cells": 3, "evaluation_channels": 4, "evaluation_cells": 3, "epochs": 3},
    **{"auxiliary_weight": 0.0, "augmentation": "standard", "train_examples": 64},
}
OWN: dict[str, dict[str, Any]] = {
    # So short a search reaches no limit but those that are lowered.
    "gold_nas": {"epochs": 6, "stop_macs": 0.001},
    "ista_nas_one_stage": {"final_epochs": 1, "max_params": None, "drop_path": 0.0},
    "pc_darts": {"channels": 4},
    "dso_nas": {"cells": 5, "evaluation_cells": 5, "rebuild_epochs": 1},
}
SPACES = {"gold_nas": "gold", "dso_nas": "dso"}


def cost_knob(method: str) -> CostKnob:
    found = find_method(method).cost_knob
    assert found is not None
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_knob_is_a_setting_that_accepts_its_range(method: str) -> None:
    knob, config = cost_knob(method), find_method(method).Config
    for value in (knob.within.low, knob.within.high):
        kept = getattr(config(**{knob.name: value}), knob.name)
        assert kept == value
        assert isinstance(kept, int) is knob.within.integer
    if knob.name in config.knobs():
        declared = config.knobs()[knob.name]
        assert (declared.log, declared.integer) == (knob.within.log, knob.within.integer)
    default = getattr(config(), knob.name)
    assert knob.within.low <= default <= knob.within.high
    with pytest.raises(InvalidInput):
        config(**{knob.name: "much"})


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_cost_at_the_ends_of_the_range_differs_as_declared(method: str, tmp_path: Path) -> None:
    knob = cost_knob(method)
    low, high = (
        nasray.search(
            *(method, SPACES.get(method, "darts"), "digits"),
            **{**TINY, **OWN.get(method, {}), knob.name: value},
            out=tmp_path / str(value),
            quiet=True,
        )
        .candidates.sort_values("epoch")["macs"]
        .iloc[-1]
        for value in (knob.within.low, knob.within.high)
    )
    cheap, dear = (high, low) if knob.falls else (low, high)
    assert cheap < 0.8 * dear
