"""DSO-NAS: its steps on problems with a known solution, and small searches on digits."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor, nn

from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.gates import Gates
from nasray.methods import Batch, Problem
from nasray.methods.darts import DARTS
from nasray.methods.dso_nas import DSONAS
from nasray.methods.random import Random
from nasray.spaces import Architecture, NetworkSize
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from search_spaces.architectures.darts import DARTS as DARTS_SPACE
from search_spaces.architectures.dso import BLOCK, DSO, DSO_FULL

SIZE = NetworkSize(channels=4, cells=5, input_shape=(1, 8, 8), classes=10)
BATCH: Batch = (torch.zeros(1), torch.zeros(1))
SCALED = [edge for edge, (_, target) in enumerate(BLOCK.edges) if target > 4]
OUTPUT = 17


class GivenLoss:
    """A learner whose loss is a function of the gates alone; it counts the weights' steps."""

    def __init__(self, loss: Callable[[Sequence[Gates]], Tensor], learning_rate: float = 0.1) -> None:
        self.loss_of = loss
        self.learning_rate = learning_rate
        self.weights: list[nn.Parameter] = []
        self.updates = 0

    def loss(self, batch: Batch, gates: Sequence[Gates]) -> Tensor:
        found = self.loss_of(gates)
        return found if found.requires_grad else found.clone().requires_grad_()

    def update(self) -> None:
        self.updates += 1

    def lookahead(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        raise NotImplementedError


def method(space: Any = DSO, **settings: Any) -> DSONAS:
    return DSONAS(DSONAS.Config(**settings), Problem(space, SIZE, SIZE, seed=0))


def nothing(gates: Sequence[Gates]) -> Tensor:
    return sum((0.0 * g.values_EO.sum() for g in gates), torch.zeros(()))


def test_the_factors_reach_the_non_negative_lasso_solution() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((300, len(SCALED)))
    truth = generator.standard_normal(len(SCALED)) * (generator.random(len(SCALED)) < 0.3)
    y = x @ truth + 0.1 * generator.standard_normal(300)
    gamma = 0.2
    expected = Lasso(alpha=gamma, fit_intercept=False, positive=True, tol=1e-12, max_iter=1_000_000).fit(x, y).coef_
    x_t, y_t = torch.from_numpy(x), torch.from_numpy(y)

    def loss(gates: Sequence[Gates]) -> Tensor:
        return (x_t @ gates[0].values_EO[SCALED, 0] - y_t).square().mean() / 2

    search = method(gamma=gamma, regularisation="plain", pretraining=0.0, factor_clip=100.0).double()
    search.start_epoch(0)
    learner = GivenLoss(loss, learning_rate=len(y) / float(np.linalg.norm(x, 2)) ** 2)
    for _ in range(600):
        search.step(learner, BATCH, BATCH)
    found = search.gates()[0].values_EO[SCALED, 0].detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert ((found == 0) == (expected == 0)).all()
    assert 0 < (expected == 0).sum() < len(SCALED)


def test_unscaled_connections_and_the_last_one_of_a_reduction_stay() -> None:
    search = method(gamma=5.0, regularisation="plain", pretraining=0.0, rebuild_epochs=1, factor_clip=50.0)
    search.start_epoch(0)
    preferred = DSO.cells["reduce_1"].edge_index[2, 3]

    def loss(gates: Sequence[Gates]) -> Tensor:
        return nothing(gates) - 0.1 * gates[1].values_EO[preferred].sum()

    learner = GivenLoss(loss)
    for _ in range(20):
        search.step(learner, BATCH, BATCH)
    gates = search.gates()
    assert (gates[0].values_EO[:4] == 1).all()
    assert not gates[0].values_EO[SCALED].any()
    search.end_epoch(0)
    assert search.architecture().cells["normal"] == ()
    assert search.architecture().cells["reduce_1"] == ((0, 2, "connect"), (2, 3, "connect"))
    assert not search.gates()[0].active_EO.any()
    # What is removed stays removed, whatever the loss wants.
    wanted = GivenLoss(lambda gates: -50.0 * sum((g.values_EO.sum() for g in gates), torch.zeros(())))
    search.step(wanted, BATCH, BATCH)
    assert search.architecture().cells["normal"] == ()


def strengths(search: DSONAS) -> list[Tensor]:
    """gamma of every connection of every position, from one step without any gradient from rest: the factors fall by
    (1 + momentum) eta gamma."""
    search.start_epoch(0)
    before = [g.values_EO[:, 0].detach().clone() for g in search.gates()]
    search.step(GivenLoss(nothing), BATCH, BATCH)
    after = [g.values_EO[:, 0].detach() for g in search.gates()]
    return [(b - a) / (1.9 * 0.1) for b, a in zip(before, after, strict=True)]


def test_adaptive_flops_is_the_released_count() -> None:
    search = method(DSO_FULL, gamma=0.01, regularisation="flops", pretraining=0.0, momentum=0.9).double()
    sizes = [len(DSO_FULL.cells[kind].edges) for kind in DSO_FULL.kinds(5)]
    zero = torch.from_numpy(np.random.default_rng(0).random(sum(sizes)) < 0.8)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    with torch.no_grad():
        for position in (0, 2, 4):
            zero[starts[position] : starts[position] + 4] = False  # the first level is not scaled
        for position in (1, 3):
            zero[starts[position] : starts[position + 1]] = False
        search.lambda_K[zero] = 0.0
    values = [g.values_EO[:, 0].detach().clone() for g in search.gates()]
    found = strengths(search)
    for position in (0, 2, 4):
        left = {BLOCK.edges[e] for e in np.flatnonzero(values[position].numpy())}
        count = 2  # of the first level
        for level in (1, 2, 3):
            for operation in (0, 1):
                node = 1 + 4 * level + operation
                count += any(target == node for _, target in left)
        count += sum(target == OUTPUT for _, target in left)
        positive = [e for e in SCALED if values[position][e] > 0]
        torch.testing.assert_close(
            found[position][positive], torch.full((len(positive),), 0.01 * (1 + count) / 25, dtype=torch.float64)
        )
    for position in (1, 3):
        torch.testing.assert_close(found[position][2:], torch.full((2,), 0.01, dtype=torch.float64))
        assert (found[position][:2] == 0).all()


def test_adaptive_mac_is_the_released_table() -> None:
    found = strengths(method(gamma=0.01, regularisation="mac", pretraining=0.0).double())
    table = {"sep_3x3": 0.986, "sep_5x5": 1.0, "max_pool_3x3": 0.447, "avg_pool_3x3": 0.447}
    for edge in SCALED:
        target = BLOCK.edges[edge][1]
        expected = 0.448 if target == OUTPUT else table[BLOCK.node_operations[target - 1]]
        assert float(found[0][edge]) == pytest.approx(0.01 * expected, rel=1e-6)
    assert found[1][2:].tolist() == pytest.approx([0.01, 0.01], rel=1e-6)


def test_gradients_are_clipped_entry_by_entry() -> None:
    search = method(gamma=1e-5, pretraining=0.0, regularisation="plain").double()
    search.start_epoch(0)
    search.step(GivenLoss(lambda gates: -50.0 * gates[0].values_EO.sum()), BATCH, BATCH)
    # From rest a step is (1 + momentum) eta g.
    moved = search.gates()[0].values_EO[SCALED].detach() - 1
    torch.testing.assert_close(moved, torch.full_like(moved, 1.9 * 0.1 * (2.0 - 1e-5)))


def test_pretraining_trains_weights_alone_on_both_halves_and_then_steps_alternate() -> None:
    search = method(epochs=4, pretraining=0.5, weight_steps=3, gamma=1.0)
    learner = GivenLoss(nothing)
    search.start_epoch(1)
    search.step(learner, BATCH, BATCH)
    assert learner.updates == 2
    assert (search.lambda_K == 1).all()
    search.start_epoch(2)
    changed = []
    for _ in range(6):
        before = search.lambda_K.detach().clone()
        search.step(learner, BATCH, BATCH)
        changed.append(not torch.equal(before, search.lambda_K))
    assert changed == [False, False, True, False, False, True]
    assert learner.updates == 2 + 6


def test_spaces_are_refused_with_a_reason() -> None:
    assert DSONAS.unsupported(DSO) is None
    assert "operations are on edges" in str(DSONAS.unsupported(DARTS_SPACE))
    assert "nodes carry operations" in str(DARTS.unsupported(DSO))
    with pytest.raises(InvalidInput, match="method 'darts' on space 'dso'"):
        SearchConfig(method="darts", space="dso", dataset="digits", settings=DARTS.Config())


@pytest.mark.parametrize("space", [DSO, DSO_FULL], ids=lambda space: space.name)
@pytest.mark.parametrize("operations", [1, 2, 16])
def test_random_draws_blocks_without_dead_connections(space: Any, operations: int) -> None:
    ids = set()
    for seed in range(5):
        drawn = Random(Random.Config(operations_per_node=operations), Problem(space, SIZE, SIZE, seed))
        ids.add(drawn.architecture().id)  # made by Architecture.of, which refuses what is dead
        assert len([c for c in next(iter(drawn.architecture().cells.values())) if c[1] == OUTPUT]) == operations
    assert len(ids) == (1 if operations == 16 and space is DSO else len(ids))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Blocks of a few pixels are many small operations: two threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(**changes: Any) -> SearchConfig:
    settings: dict[str, Any] = {
        "epochs": 3,
        "pretraining": 0.4,
        "rebuild_epochs": 1,
        "gamma": 4.0,
        "channels": 2,
        "cells": 5,
        "batch_size": 16,
        "train_examples": 64,
        "augmentation": "none",
    }
    return SearchConfig(
        method="dso_nas",
        space="dso",
        dataset="digits",
        settings=DSONAS.Config(**{**settings, **changes}),
        evaluation_channels=2,
        evaluation_cells=5,
    )


def saved(search: Search) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(search.state_dict(), buffer)
    buffer.seek(0)
    state: dict[str, Any] = torch.load(buffer, weights_only=True)
    return state


@pytest.mark.usefixtures("one_thread")
def test_a_search_prunes_and_continues_bit_for_bit() -> None:
    whole = Search(config(), device="cpu")
    first = whole.run_epoch()
    assert first.metrics["connections"] == 1.0
    second = whole.run_epoch()
    assert second.metrics["connections"] < 1.0
    state = saved(whole)
    third = whole.run_epoch()
    assert whole.finished
    assert third.metrics["active_operations"] < first.metrics["active_operations"]
    (candidate,) = third.candidates
    assert candidate.architecture == Architecture.from_json(whole.space, candidate.architecture.to_json())
    assert candidate.macs == macs(whole.space, candidate.architecture, whole.evaluation_size)

    restored = Search(config(), device="cpu")
    restored.load_state_dict(state)
    again = restored.run_epoch()
    assert again.candidates == third.candidates
    assert again.metrics["loss"] == third.metrics["loss"]
    expected, found = saved(whole), saved(restored)
    assert torch.equal(expected["method"]["lambda_K"], found["method"]["lambda_K"])
    assert torch.equal(expected["method"]["velocity_K"], found["method"]["velocity_K"])
    for name, value in expected["learner"]["network"].items():
        assert torch.equal(value, found["learner"]["network"][name]), name
