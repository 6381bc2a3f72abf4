"""Regularised evolution: who is a parent, what is never proposed, and how good its fronts are on NAS-Bench-201."""

from __future__ import annotations

import math
import os
from itertools import product
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pandas as pd
import pytest

from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.searchers import Feedback, Proposal, Searcher, SearchProblem
from nasray.searchers.evolution import Evolution
from nasray.searchers.random import RandomSearch
from nasray.spaces import Architecture, CellSpace, NetworkSize, to_string
from nasray.spaces.encoding import decode, encode
from search_spaces.architectures.gold import GOLD
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201, OPERATIONS
from tests.small_space import five_cells

CIFAR = NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=10)


def worth(architecture: Architecture) -> tuple[float, float]:
    """Two objectives that pull apart, to be minimised and maximised."""
    text = architecture.to_json()
    return float(text.count("conv_3x3") * 9 + text.count("conv_1x1")), math.sqrt(text.count("conv")) + len(text) / 1e3


def problem(space: CellSpace = NAS_BENCH_201, **changes: Any) -> SearchProblem:
    fields: dict[str, Any] = dict(
        space=space,
        cells=3 if space is GOLD else 15,
        objectives={"macs": "min", "accuracy": "max"},
        epochs=200,
        budget=None,
        macs=lambda architecture: worth(architecture)[0],
        seed=0,
    )
    return SearchProblem(**{**fields, **changes})


def evolve(one: Searcher, evaluations: int) -> list[Architecture]:
    proposed = []
    for _ in range(evaluations):
        proposal = one.ask()
        assert proposal is not None
        proposed.append(proposal.architecture)
        one.tell(proposal, Feedback(state="complete", values=worth(proposal.architecture)))
    return proposed


def distance(one: Architecture, other: Architecture) -> int:
    a, b = encode(NAS_BENCH_201, one), encode(NAS_BENCH_201, other)
    return sum(a[name] != b[name] for name in a)


def test_every_mutant_is_one_change_from_a_living_parent_that_none_living_dominates() -> None:
    proposed = evolve(Evolution(Evolution.Config(population=8, sample=8, initial=5), problem(seed=3)), 100)
    for index in range(5, 100):
        living = proposed[max(0, index - 8) : index]
        values = [worth(one) for one in living]
        front = [
            one
            for one, (low, high) in zip(living, values, strict=True)
            if not any(a <= low and b >= high and (a, b) != (low, high) for a, b in values)
        ]
        # Where all neighbours of the front are known, one is drawn at random.
        neighbours = {
            to_string(NAS_BENCH_201, decode(NAS_BENCH_201, {**encode(NAS_BENCH_201, one), name: operation}, 15))
            for one in front
            for name, operation in product(encode(NAS_BENCH_201, one), OPERATIONS)
        }
        known = {to_string(NAS_BENCH_201, one) for one in proposed[:index]}
        assert min(distance(proposed[index], one) for one in front) == 1 or neighbours <= known


def test_a_sample_of_one_makes_any_living_one_a_parent() -> None:
    proposed = evolve(Evolution(Evolution.Config(population=8, sample=1, initial=8), problem(seed=3)), 60)
    parents = {min(range(1, 9), key=lambda age: distance(proposed[i], proposed[i - age])) for i in range(8, 60)}
    assert len(parents) > 4


@pytest.mark.parametrize(
    ("kind", "space"), [(Evolution, NAS_BENCH_201), (Evolution, GOLD), (RandomSearch, NAS_BENCH_201)]
)
def test_nothing_is_proposed_twice_nor_above_the_budget(kind: type[Searcher], space: CellSpace) -> None:
    size = CIFAR if space is NAS_BENCH_201 else CIFAR.replace(cells=3, channels=4)
    budget = 60.0 if space is NAS_BENCH_201 else 1.5
    one = kind(kind.Config(), problem(space, budget=budget, macs=lambda it: macs(space, it, size), seed=1))
    known = one.ask()
    assert known is not None
    one.tell(known, Feedback(state="complete", values=(1.0, math.nan)))  # not a parent, and not proposed again
    proposed = [known.architecture, *evolve(one, 150)]
    pending = [one.ask() for _ in range(20)]  # asked at once, not yet told
    proposed += [proposal.architecture for proposal in pending if proposal is not None]
    assert len({architecture.id for architecture in proposed}) == 171
    costs = [macs(space, architecture, size) for architecture in proposed]
    assert max(costs) <= budget
    assert min(costs) < budget / 1.5


def test_only_what_was_trained_to_the_end_is_a_parent() -> None:
    one = Evolution(Evolution.Config(initial=4), problem())
    proposals = [one.ask() for _ in range(4)]
    feedback = [
        Feedback(state="complete", values=(1.0, 0.5)),
        Feedback(state="pruned"),
        Feedback(state="failed"),
        Feedback(state="complete", values=(math.inf, 0.5)),
    ]
    for proposal, told in zip(proposals, feedback, strict=True):
        assert proposal is not None
        one.tell(proposal, told)
    assert proposals[0] is not None
    assert [alive.architecture for alive in one.population] == [proposals[0].architecture]


@pytest.mark.parametrize("kind", [Evolution, RandomSearch])
def test_a_budget_that_nothing_meets_is_refused(kind: type[Searcher]) -> None:
    one = kind(kind.Config(), problem(budget=-2.0))
    with pytest.raises(InvalidInput, match=r"^No architecture of 'nas_bench_201' .* of -2 M .* 2 M above\. Give"):
        one.ask()


@pytest.mark.parametrize("config", [Evolution.Config(initial=2), RandomSearch.Config()])
def test_a_small_space_is_gone_through_once(config: Searcher.Config) -> None:
    kind = Evolution if isinstance(config, Evolution.Config) else RandomSearch
    one = kind(config, problem(five_cells()))
    assert len({architecture.id for architecture in evolve(one, 5)}) == 5
    assert one.ask() is None


@pytest.mark.parametrize("name", ["population", "sample", "initial"])
def test_settings_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} 0: "):
        Evolution.Config(**{name: 0})


def test_another_number_of_values_than_of_objectives_is_refused() -> None:
    one = Evolution(Evolution.Config(), problem())
    cell = decode(NAS_BENCH_201, encode(NAS_BENCH_201, evolve(one, 1)[0]), 15)
    with pytest.raises(InvalidInput, match=r"^3 values for 2 objectives: give one for each of macs, accuracy\.$"):
        one.tell(Proposal(cell), Feedback(state="complete", values=(1.0, 2.0, 3.0)))


@pytest.mark.data
def test_on_nas_bench_201_it_comes_within_a_hundredth_of_the_true_front() -> None:
    path = Path(os.environ.get("NASRAY_DATA", "")) / "nasbench201.parquet"
    if not path.is_file():
        pytest.skip("no nasbench201.parquet in NASRAY_DATA")
    table = pd.read_parquet(path)
    row = {text: index for index, text in enumerate(table.arch)}
    # Every convolution costs as much in all of the 15 cells; 7.783 M is the rest.
    costs = (table.n_nor_conv_3x3 + table.n_nor_conv_1x1 / 9) * (9 * 16 * 16 * 32 * 32 * 15 / 1e6) + 7.783
    points = np.column_stack([costs, 100 - table.cifar10_test_acc_200_nats])
    reached = []
    for seed in range(3):
        one = Evolution(Evolution.Config(), problem(objectives={"macs": "min", "error": "min"}, seed=seed))
        found = []
        for _ in range(1000):
            proposal = one.ask()
            assert proposal is not None
            found.append(row[to_string(NAS_BENCH_201, proposal.architecture)])
            one.tell(proposal, Feedback(state="complete", values=tuple(points[found[-1]])))
        reached.append(moocore.hypervolume(points[found], ref=[221.0, 14.0]))
    assert np.median(reached) > 0.99 * moocore.hypervolume(points, ref=[221.0, 14.0])
