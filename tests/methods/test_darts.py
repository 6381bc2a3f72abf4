from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasray.gates import Gates
from nasray.methods import Problem
from nasray.methods.darts import DARTS, derive
from nasray.spaces import CellSpace, NetworkSize
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from search_spaces.architectures.darts import DARTS as SPACE
from search_spaces.architectures.gold import GOLD

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)


@pytest.mark.parametrize("space", [SPACE, GOLD], ids=lambda s: s.name)
@pytest.mark.parametrize("edges_per_node", [1, 2, 3])
def test_deriving_is_the_best_choice_of_edges_and_operations(space: CellSpace, edges_per_node: int):
    generator = np.random.default_rng(0)
    graph = space.cells["reduce"]
    usable = [i for i, name in enumerate(graph.operations) if name != graph.none]
    for _ in range(10):
        logits = generator.normal(size=(14, len(graph.operations)))
        strengths = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        mask = derive(graph, strengths, edges_per_node)
        for node in graph.targets:
            edges = [i for i, (_, target) in enumerate(graph.edges) if target == node]
            count = min(edges_per_node, len(edges))
            # Every way to keep so many edges with one operation each: the strongest together.
            best = max(
                (
                    list(zip(kept, chosen, strict=True))
                    for kept in combinations(edges, count)
                    for chosen in product(usable, repeat=count)
                ),
                key=lambda pairs: sum(strengths[e, o] for e, o in pairs),
            )
            found = [(e, o) for e, o in np.argwhere(mask) if e in edges]
            assert sorted(found) == sorted(best)


def test_gates_are_a_softmax_over_an_edges_operations_with_none_among_them():
    torch.manual_seed(0)
    method = DARTS(DARTS.Config(), Problem(SPACE, SIZE, SIZE, 0)).double()
    for name, alpha in method.alphas.items():
        # The start of the released code: 1e-3 * N(0, 1).
        assert 2e-4 < float(alpha.detach().std()) < 2e-3
        with torch.no_grad():
            alpha.copy_(torch.randn(14, 8))
        gates = method.gates()[SPACE.layout(3).index(name)]
        powers = alpha.detach().exp()
        torch.testing.assert_close(gates.values_EO.detach(), powers / powers.sum(dim=1, keepdim=True))
        assert gates.active_EO[:, 1:].all()
        assert not gates.active_EO[:, 0].any()
    # One table for all cells of a kind.
    assert set(method.alphas) == {"normal", "reduce"}
    first, second, third = method.gates()
    assert second is third
    assert first is not second


def test_the_architectures_optimiser_is_the_papers():
    method = DARTS(DARTS.Config(), Problem(SPACE, SIZE, SIZE, 0))
    assert isinstance(method.optimizer, torch.optim.Adam)
    (group,) = method.optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)
    assert len(group["params"]) == 2


class Toy:
    """A smooth problem in float64: gated sums of tanh units, least squares, SGD with momentum and decay."""

    learning_rate, momentum, decay = 0.3, 0.9, 0.01

    def __init__(self, generator: torch.Generator) -> None:
        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=torch.float64, generator=generator)

        self.weights = [nn.Parameter(normal(14, 8, 3)) for _ in range(3)]
        self.buffers = [normal(14, 8, 3) for _ in range(3)]
        self.batches = [(normal(20, 3), normal(20)) for _ in range(2)]
        self.log: list[str] = []

    def predict(self, x: Tensor, weights: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        terms = [
            (v[:, 1:] * torch.tanh(torch.einsum("nd,eod->neo", x, w[:, 1:]))).sum(dim=(1, 2))
            for w, v in zip(weights, values, strict=True)
        ]
        return torch.stack(terms).sum(dim=0)

    def loss_at(self, batch: tuple[Tensor, Tensor], weights: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        return (self.predict(batch[0], weights, values) - batch[1]).square().mean()

    def loss(self, batch: tuple[Tensor, Tensor], gates: Sequence[Gates]) -> Tensor:
        self.log.append("train" if batch is self.batches[0] else "architecture")
        return self.loss_at(batch, self.weights, [g.values_EO for g in gates])

    def step_of(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        return [
            w - self.learning_rate * (g + self.decay * w + self.momentum * b)
            for w, g, b in zip(weights, gradients, self.buffers, strict=True)
        ]

    @torch.no_grad()
    def lookahead(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        assert all(g is not None for g in gradients)
        return self.step_of(self.weights, [g for g in gradients if g is not None])

    def update(self) -> None:
        self.log.append("update")


@pytest.mark.parametrize("seed", range(3))
def test_the_second_order_gradient_is_that_of_the_bilevel_problem(seed: int):
    generator = torch.Generator().manual_seed(seed)
    method = DARTS(DARTS.Config(second_order=True), Problem(SPACE, SIZE, SIZE, 0)).double()
    with torch.no_grad():
        for alpha in method.parameters():
            alpha.copy_(torch.randn(14, 8, generator=generator))
    toy = Toy(generator)
    before = [w.detach().clone() for w in toy.weights]
    found = method._unrolled_gradients(toy, *toy.batches)
    assert all(torch.equal(w, kept) for w, kept in zip(toy.weights, before, strict=True))

    # Through the inner step, by automatic differentiation.
    alphas = list(method.parameters())
    values = [torch.softmax(method.alphas[name], dim=1) for name in SPACE.layout(3)]
    inner = torch.autograd.grad(toy.loss_at(toy.batches[0], toy.weights, values), toy.weights, create_graph=True)
    outer = toy.loss_at(toy.batches[1], toy.step_of(toy.weights, inner), values)
    exact = torch.autograd.grad(outer, alphas)
    for mine, theirs in zip(found, exact, strict=True):
        assert mine is not None
        assert float((mine - theirs).norm() / theirs.norm()) < 1e-3
    # The correction matters here: without it the gradient is another.
    ahead = [w.detach() for w in toy.step_of(before, [g.detach() for g in inner])]
    direct = torch.autograd.grad(
        toy.loss_at(toy.batches[1], ahead, [torch.softmax(method.alphas[n], dim=1) for n in SPACE.layout(3)]), alphas
    )
    assert all(float((d - e).norm() / e.norm()) > 0.05 for d, e in zip(direct, exact, strict=True))


def test_first_order_steps_the_architecture_on_its_batch_then_the_weights():
    generator = torch.Generator().manual_seed(0)
    method = DARTS(DARTS.Config(), Problem(SPACE, SIZE, SIZE, 0)).double()
    toy = Toy(generator)
    reference = {name: alpha.detach().clone().requires_grad_() for name, alpha in method.alphas.items()}
    adam = torch.optim.Adam(reference.values(), lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    for _ in range(3):
        method.step(toy, *toy.batches)
        adam.zero_grad()
        values = [torch.softmax(reference[name], dim=1) for name in SPACE.layout(3)]
        toy.loss_at(toy.batches[1], [w.detach() for w in toy.weights], values).backward()
        adam.step()
        for name, alpha in reference.items():
            torch.testing.assert_close(method.alphas[name].detach(), alpha.detach(), rtol=1e-9, atol=1e-12)
    assert toy.log == ["architecture", "train", "update"] * 3


def test_the_unrolled_step_leaves_the_weights_of_a_supernet_bit_for_bit():
    settings: dict[str, Any] = {"epochs": 1, "channels": 2, "cells": 3, "batch_size": 16, "train_examples": 64}
    config = SearchConfig(
        method="darts", space="gold", dataset="digits", settings=DARTS.Config(second_order=True, **settings)
    )
    search = Search(config, device="cpu")
    method, learner = search.method, search.learner
    assert isinstance(method, DARTS)
    search.run_epoch()  # with momentum
    learner.start_epoch(0)
    batches = [next(search._batches(part, 0)) for part in ("train", "architecture")]
    before = [w.detach().clone() for w in learner.weights]
    gradients = method._unrolled_gradients(learner, batches[0], batches[1])
    assert all(torch.equal(w, kept) for w, kept in zip(learner.weights, before, strict=True))
    assert all(w.grad is None for w in learner.weights)
    assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)
