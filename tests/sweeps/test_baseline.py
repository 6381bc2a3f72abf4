"""The random baseline: what is drawn beside an architecture."""

from __future__ import annotations

import numpy as np
import pytest

from nasray import registry
from nasray.costs import Budget, macs
from nasray.gates import architecture_of
from nasray.methods.random import random_mask
from nasray.spaces import Architecture, CellSpace, NetworkSize
from nasray.sweeps.baseline import random_like

SIZE = NetworkSize(channels=8, cells=7, input_shape=(3, 32, 32), classes=10)


def any_architecture(space: CellSpace, seed: int, operations: int = 2) -> Architecture:
    generator = np.random.default_rng(seed)
    layout = space.layout(SIZE.cells)
    drawn = {name: random_mask(space.graph(name), operations, generator) for name in dict.fromkeys(layout)}
    return architecture_of(space, [drawn[name] for name in layout])


@pytest.mark.parametrize("name", registry.names("space"))
def test_a_baseline_costs_about_as_much_and_is_another(name: str) -> None:
    space = registry.find("space", name)
    for seed in range(3):
        architecture = any_architecture(space, seed)
        drawn = random_like(space, SIZE, architecture)
        assert drawn is not None
        assert drawn.architecture.id != architecture.id
        assert macs(space, drawn.architecture, SIZE) == pytest.approx(macs(space, architecture, SIZE), rel=0.05)
        assert drawn == random_like(space, SIZE, architecture)


def test_a_baseline_obeys_the_budget_and_avoids_what_is_taken() -> None:
    space = registry.find("space", "gold")
    architecture = any_architecture(space, 0, operations=4)
    budget = 0.9 * macs(space, architecture, SIZE)
    taken: list[str] = []
    for _ in range(4):
        drawn = random_like(space, SIZE, architecture, budget=Budget(budget), taken=taken)
        assert drawn is not None
        assert macs(space, drawn.architecture, SIZE) <= budget
        assert drawn.architecture.id not in taken
        taken.append(drawn.architecture.id)
    assert random_like(space, SIZE, architecture, budget=Budget(1e-6)) is None
