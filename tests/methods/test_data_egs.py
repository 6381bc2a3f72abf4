"""DATA: what is drawn and executed, the loss of the architecture parameters, the derivation, and whole searches."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray import registry
from nasray.costs import macs
from nasray.gates import Gates
from nasray.methods.data_egs import DataEGS, derive_cell
from nasray.methods.ensemble_gumbel import Sample
from nasray.methods.method import Problem
from nasray.networks import Network, supernet
from nasray.networks.cell import Cell
from nasray.spaces import CellGraph, NetworkSize
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from tests.executed import executed

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
SHORT: dict[str, Any] = {"epochs": 2, "channels": 4, "cells": 3, "train_examples": 120, "batch_size": 16}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def method_of(space: str, **settings: Any) -> DataEGS:
    torch.manual_seed(0)
    return DataEGS(DataEGS.Config(**settings), Problem(registry.find("space", space), SIZE, SIZE, seed=0))


def search_of(space: str, seed: int = 0, **settings: Any) -> Search:
    # A rate at which architectures change within two epochs.
    config = DataEGS.Config(**{**SHORT, "architecture_learning_rate": 0.1, **settings})
    small = {"evaluation_channels": 4, "evaluation_cells": 3}
    where = {"method": "data_egs", "space": space, "dataset": "digits"}
    return Search(SearchConfig(settings=config, seed=seed, **where, **small), device="cpu")


class Recorder:
    """A learner whose loss is linear in the gates of every position, and that keeps what it was given."""

    learning_rate = 0.1

    def __init__(self, slopes: list[Tensor]) -> None:
        self.slopes = slopes
        self.weights = [nn.Parameter(torch.zeros(()))]
        self.losses: list[tuple[Any, Any]] = []
        self.updates = 0

    def loss(self, batch: Any, gates: Any) -> Tensor:
        self.losses.append((batch, gates))
        total: Tensor = sum((g.values_EO * s).sum() for g, s in zip(gates, self.slopes, strict=True)) + self.weights[0]
        return total

    def update(self) -> None:
        self.updates += 1

    def lookahead(self, gradients: Any) -> list[Tensor]:
        raise AssertionError("the search is of first order")


@pytest.mark.parametrize("scope", ["edge", "node"])
@pytest.mark.parametrize("probabilities", ["relu", "softmax"])
@pytest.mark.parametrize("space", ["darts", "gold"])
def test_gates_are_one_over_the_number_drawn(space: str, probabilities: str, scope: str) -> None:
    method = method_of(space, probabilities=probabilities, scope=scope, samples=3)
    seen = set()
    for epoch in range(12):
        method.start_epoch(epoch)
        for name, gates in zip(method.problem.layout, method.gates(), strict=True):
            graph = method.problem.space.graph(name)
            groups = [[e] for e in range(len(graph.edges))] if scope == "edge" else list(graph.incoming.values())
            for edges in groups:
                values, active = gates.values_EO[list(edges)], gates.active_EO[list(edges)]
                number = int(active.sum())
                assert number <= 3
                assert np.array_equal(values.detach().numpy() != 0, active)
                given = {round(v, 6) for v in values[torch.from_numpy(active)].tolist()}
                # With relu, a drawn none counts too.
                accepted = [number] if graph.none is None or probabilities == "softmax" else range(number, 4)
                assert not given or given in [{round(1 / n, 6)} for n in accepted]
                seen.add((number, *given))
            if graph.none is not None:
                assert not gates.active_EO[:, graph.operation_index[graph.none]].any()
    numbers = {number for number, *_ in seen}
    assert numbers >= ({1, 2} if graph.none is None else {0, 1, 2, 3})


def test_probabilities_by_hand() -> None:
    alpha = torch.tensor([[3.0, 1.0], [-2.0, 4.0]])
    by_scope = {
        ("relu", "edge"): [[0.75, 0.25], [0.0, 1.0]],
        ("relu", "node"): [[0.375, 0.125], [0.0, 0.5]],
        ("softmax", "edge"): torch.softmax(alpha, 1).tolist(),
        ("softmax", "node"): torch.softmax(alpha.flatten(), 0).view(2, 2).tolist(),
    }
    for (probabilities, scope), expected in by_scope.items():
        method = method_of("gold", probabilities=probabilities, scope=scope)
        with torch.no_grad():
            method.alphas["reduce_2"][:2] = alpha
        p_A = method._probabilities().flatten()[method._place_A]
        begin = method._cells["reduce_2"].start
        torch.testing.assert_close(p_A[begin : begin + 4].view(2, 2), torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_temperature_follows_the_release() -> None:
    method = method_of("darts")
    for epoch, expected in [(0, 5.0), (75, 3.0), (99, 2.36), (150, 1.0), (160, 1.0)]:
        method.start_epoch(epoch)
        assert method.temperature == pytest.approx(expected)


def test_regularisation_by_hand() -> None:
    method = method_of("darts")
    with torch.no_grad():
        for alpha in method.alphas.values():
            alpha.fill_(1.0)
            alpha[0] = torch.tensor([2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    p_GK = method._probabilities()
    weights = torch.zeros(28, 8)
    weights[:, 3] = 1.0
    drawn = Sample(weights, weights.numpy() > 0)
    # First edge: |1/2| + |1/2| + |1|; the 13 others: 7/8 + 7 * 1/8 each; 112 entries; two kinds of cell.
    assert method.regularisation(p_GK, drawn).item() == pytest.approx(0.1 * 2 * (2.0 + 13 * 1.75) / 112, rel=1e-5)


def test_regularisation_of_own_cells_averages_over_a_kind() -> None:
    method = method_of("gold", regulariser=1.0)  # normal_0, reduce_1, reduce_2
    with torch.no_grad():
        for alpha in method.alphas.values():
            alpha.fill_(1.0)
    weights = torch.full((3, 14, 2), 0.5)
    weights[0, :, 0], weights[0, :, 1] = 1.0, 0.0  # normal_0: 1/2 everywhere
    weights[2, 0] = torch.tensor([0.0, 1.0])  # reduce_2: 1/2 on the first of 14 edges
    drawn = Sample(weights.view(42, 2), weights.view(42, 2).numpy() > 0)
    given = method.regularisation(method._probabilities(), drawn).item()
    assert given == pytest.approx(0.5 + 0.5 / 28, rel=1e-5)


@pytest.mark.parametrize("regulariser", [0.0, 0.1])
def test_a_step_descends_the_estimated_gradient_then_trains_the_weights(regulariser: float) -> None:
    method = method_of("gold", regulariser=regulariser, samples=2, architecture_learning_rate=1e-3)
    method.start_epoch(30)
    slopes = [torch.randn(14, 2, generator=torch.Generator().manual_seed(c)) for c in range(3)]
    before = {name: alpha.detach().clone() for name, alpha in method.alphas.items()}
    noise = np.random.default_rng([0, 30, 0]).gumbel(size=(2, 42, 2))
    learner = Recorder(slopes)
    method.step(learner, "weights", "architecture")  # type: ignore[arg-type]
    assert [batch for batch, _ in learner.losses] == ["architecture", "weights"]
    assert learner.updates == 1
    assert learner.weights[0].grad == 1.0  # of the second loss alone
    assert not any(gates.values_EO.requires_grad for gates in learner.losses[1][1])
    # The straight-through gradient, written out anew for two candidates and two samples at T = 5 - 4 * 30 / 150.
    alpha = torch.stack(list(before.values())).view(42, 2).requires_grad_()
    p = alpha / alpha.sum(1, keepdim=True)
    y = torch.softmax((p.log() + torch.from_numpy(noise).float()) / 4.2, dim=2)
    hard = torch.nn.functional.one_hot(y.argmax(2), 2).float()
    first = torch.where(hard[0] >= hard[1], y[0], y[1])
    union = hard.amax(0) + first - first.detach()
    w = union / union.sum(1, keepdim=True)
    share = torch.tensor([1 / 28, 1 / 56, 1 / 56]).repeat_interleave(14)[:, None]
    loss = (w * torch.cat(slopes)).sum() + regulariser * ((p - w.detach()).abs() * share).sum()
    (gradient,) = torch.autograd.grad(loss, alpha)
    moved = torch.cat([(method.alphas[name] - before[name]).detach() for name in before])
    # Adam's first step is the rate times g / (|g| + eps).
    torch.testing.assert_close(moved, -1e-3 * gradient / (gradient.abs() + 1e-8), rtol=1e-2, atol=1e-6)


def test_only_the_first_none_of_a_node_is_trained_in_scope_node() -> None:
    method = method_of("darts", scope="node", samples=7)
    for epoch in range(3):
        method.start_epoch(epoch)
        sum(g.values_EO.square().sum() for g in method.gates()).backward()  # type: ignore[union-attr]
    for alpha in method.alphas.values():
        assert alpha.grad is not None
        assert [e for e in range(14) if alpha.grad[e, 0]] == [0, 2, 5, 9]
        assert (alpha.grad[:, 1:] != 0).all()


@pytest.mark.parametrize("space", ["darts", "gold"])
def test_what_is_drawn_is_what_is_executed(space: str) -> None:
    method = method_of(space, samples=2)
    network = supernet(method.problem.space, SIZE)
    places = {
        operation: (position, key)
        for position, cell in enumerate(network.cells)
        for key, operation in cell.operations.items()  # type: ignore[union-attr,operator]
    }
    for epoch in range(3):
        method.start_epoch(epoch)
        gates = method.gates()
        with executed(network) as computed:
            network(torch.randn(2, 1, 8, 8), gates).sum().backward()
        expected = set()
        for position, (name, g) in enumerate(zip(method.problem.layout, gates, strict=True)):
            graph = method.problem.space.graph(name)
            for edge, index in np.argwhere(g.values_EO.detach().numpy() > 0):
                source, target = graph.edges[edge]
                expected.add((position, f"{source}_{target}_{graph.operations[index]}"))
        assert sorted(places[one] for one in computed) == sorted(expected)


class OnNetwork(Recorder):
    """A learner on a network, with its cross-entropy as the loss."""

    def __init__(self, network: Network) -> None:
        super().__init__([])
        self.network = network

    def loss(self, batch: tuple[Tensor, Tensor], gates: list[Gates]) -> Tensor:
        self.losses.append((batch, gates))
        return F.cross_entropy(self.network(batch[0], gates), batch[1])


def restated(network: Network, x: Tensor, weights: dict[str, Tensor], layout: tuple[str, ...], dropped: bool) -> Tensor:
    """Logits with every operation computed and multiplied by its weight; or the outputs of those of weight zero
    replaced by zeros."""
    before_last, last = network.stem(x)
    for cell, name in zip(network.cells, layout, strict=True):
        assert isinstance(cell, Cell)
        states = [m(s) for m, s in zip(cell.preprocess, (before_last, last), strict=True)]
        for node in cell.graph.targets:
            terms = []
            for edge, (source, target) in enumerate(cell.graph.edges):
                for k, operation in enumerate(cell.graph.operations):
                    weight = weights[name][edge, k]
                    if target != node or operation == "none":
                        continue
                    module = cell.operations[f"{source}_{target}_{operation}"]
                    y = module(F.relu(states[source]) if module.activated else states[source])
                    terms.append(weight * (torch.zeros_like(y) if dropped and weight == 0 else y))
            states.append(torch.stack(terms).sum(dim=0))
        before_last, last = last, torch.cat(states[2:], dim=1)
    logits: Tensor = network.classifier(network.final(last).mean(dim=(2, 3)))
    return logits


def restated_gradient(
    method: DataEGS, network: Network, batch: tuple[Tensor, Tensor], epoch: int, dropped: bool
) -> Tensor:
    """Of the cross-entropy, by the formulas of methods.md 4.2; (edges of normal, then of reduce; operations)."""
    config = method.config
    noise = torch.from_numpy(np.random.default_rng([0, epoch, 0]).gumbel(size=(config.samples, 28, 8)))
    alpha = torch.cat([method.alphas[kind].detach() for kind in ("normal", "reduce")]).requires_grad_()
    positive = torch.relu(alpha) if config.probabilities == "relu" else torch.exp(alpha)
    p = positive / (positive.sum(1, keepdim=True) + (1e-7 if config.probabilities == "relu" else 0.0))
    scores = torch.exp((torch.log(p + 1e-10) + noise) / (5 - 4 * epoch / 150))
    y = scores / scores.sum(2, keepdim=True)
    union = torch.max(F.one_hot(y.argmax(2), 8) + (y - y.detach()), dim=0).values
    number = (union[:, 1:] if config.probabilities == "softmax" else union).sum(1, keepdim=True)
    w = union / torch.where(number > 0, number, 1.0)
    weights = {"normal": w[:14], "reduce": w[14:]}
    loss = F.cross_entropy(restated(network, batch[0], weights, method.problem.layout, dropped), batch[1])
    (gradient,) = torch.autograd.grad(loss, alpha)
    return gradient


def architecture_gradient(method: DataEGS, learner: OnNetwork, batch: tuple[Tensor, Tensor]) -> Tensor:
    """What a step gives the optimiser of the architecture parameters."""
    seen: list[Tensor] = []
    assert method.optimizer is not None
    method.optimizer.step = lambda: seen.extend(alpha.grad for alpha in method.alphas.values())  # type: ignore
    method.step(learner, batch, batch)  # type: ignore[arg-type]
    return torch.cat(seen)


@pytest.mark.parametrize("probabilities", ["relu", "softmax"])
@pytest.mark.parametrize("samples", [1, 4])
def test_the_gradient_is_the_published_estimators_with_every_operation_computed(
    samples: int, probabilities: str
) -> None:
    torch.manual_seed(3)
    size = SIZE.replace(channels=2)
    network = supernet(registry.find("space", "darts"), size).double()
    batch = (torch.randn(8, 1, 8, 8, dtype=torch.float64), torch.randint(10, (8,)))
    gradients = {}
    for skip in (False, True):
        settings = {"samples": samples, "probabilities": probabilities, "regulariser": 0.0}
        method = method_of("darts", skip_undrawn=skip, **settings).double()
        method.start_epoch(30)
        expected = restated_gradient(method, network, batch, epoch=30, dropped=skip)
        gradients[skip] = architecture_gradient(method, OnNetwork(network), batch)
        assert (gradients[skip] - expected).abs().max() <= 1e-9 * expected.abs().max()
    # Another estimator: at M = 1 the two are nearly at right angles.
    cosine = F.cosine_similarity(gradients[False].flatten(), gradients[True].flatten(), dim=0)
    assert cosine < (0.5 if samples == 1 else 0.9)


@pytest.mark.parametrize("skip", [False, True])
def test_the_architecture_step_computes_all_and_the_weight_step_what_was_drawn(skip: bool) -> None:
    method = method_of("darts", skip_undrawn=skip)
    learner = OnNetwork(supernet(method.problem.space, SIZE))
    method.step(learner, (torch.randn(4, 1, 8, 8), torch.arange(4)), (torch.randn(4, 1, 8, 8), torch.arange(4)))  # type: ignore[arg-type]
    (_, of_architecture), (_, of_weights) = learner.losses
    for one in of_architecture:
        drawn = one.values_EO.detach().numpy() != 0
        assert np.array_equal(one.active_EO, drawn if skip else np.arange(8)[None].repeat(14, 0) > 0)
    for one in of_weights:
        assert np.array_equal(one.active_EO, one.values_EO.numpy() != 0)


def brute_force(graph: CellGraph, p_EO: np.ndarray, samples: int) -> np.ndarray:
    """The derivation, by adding up all outcomes of the draws over a node's candidates with pooled ``none``."""
    mask = np.zeros(p_EO.shape, dtype=bool)
    for edges in graph.incoming.values():
        p = {(e, o): p_EO[e, o] for e in edges for o in range(p_EO.shape[1]) if graph.operations[o] != graph.none}
        best_real = max(p, key=lambda candidate: p[candidate])
        if graph.none is not None:
            p[-1, -1] = sum(p_EO[e, graph.operation_index[graph.none]] for e in edges)
        total = sum(p.values())
        law: dict[frozenset[tuple[int, int]], float] = {}
        for draws in itertools.product(p, repeat=samples):
            key = frozenset(draws)
            law[key] = law.get(key, 0.0) + prod(p[c] / total for c in draws)
        order = sorted(p, key=lambda candidate: -p[candidate])
        best = max(range(1, samples + 1), key=lambda k: law.get(frozenset(order[:k]), 0.0))
        for candidate in [c for c in order[:best] if c != (-1, -1)] or [best_real]:
            mask[candidate] = True
    return mask


@pytest.mark.parametrize("none", ["none", None])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_derivation_matches_brute_force(samples: int, none: str | None) -> None:
    graph = CellGraph(inputs=2, nodes=2, operations=("none", "a", "b") if none else ("a", "b"), none=none)
    generator = np.random.default_rng([samples, none is None])
    kept = set()
    for concentration in (0.1, 0.5, 2.0, 50.0) * 3:
        p_EO = generator.gamma(concentration, size=(5, len(graph.operations)))
        mask = derive_cell(graph, p_EO, samples)
        assert np.array_equal(mask, brute_force(graph, p_EO, samples))
        kept |= {int(mask[list(edges)].sum()) for edges in graph.incoming.values()}
    assert samples == 1 or len(kept) > 1


def test_a_node_that_prefers_none_keeps_its_most_likely_operation() -> None:
    graph = CellGraph(inputs=2, nodes=1, operations=("none", "a", "b"), none="none")
    mask = derive_cell(graph, np.array([[0.98, 0.01, 0.01], [0.97, 0.01, 0.02]]), 4)
    assert np.argwhere(mask).tolist() == [[1, 2]]
    assert derive_cell(graph, np.zeros((2, 3)), 4).sum() == 1


def test_derivation_of_a_search_pools_over_edges_of_equal_mass() -> None:
    # Whatever the scale of an edge's alpha, its p adds up to one: the edges of a node compete on equal terms.
    method = method_of("gold", samples=1)
    with torch.no_grad():
        for alpha in method.alphas.values():
            alpha[:] = torch.tensor([50.0, 40.0])
            alpha[3] = torch.tensor([0.1, 0.3])
    choices = method.architecture().cells["normal_0"]
    assert [(s, t, o) for s, t, o in choices if t == 3] == [(1, 3, "sep_conv_3x3")]


def assert_same_gates(given: list[Gates], expected: list[Gates]) -> None:
    for one, other in zip(given, expected, strict=True):
        assert torch.equal(one.values_EO, other.values_EO)
        assert np.array_equal(one.active_EO, other.active_EO)


def test_a_space_without_a_choice_on_its_edges_is_refused() -> None:
    darts = registry.find("space", "darts")
    graph = CellGraph(inputs=2, nodes=2, operations=("skip_connect",))
    assert DataEGS.unsupported(darts) is None
    assert "one candidate" in (DataEGS.unsupported(replace(darts, cells={"normal": graph})) or "")


@pytest.mark.parametrize("space", [pytest.param("darts", marks=pytest.mark.slow), "gold"])
def test_two_epochs_saved_and_restored_bit_for_bit(space: str) -> None:
    search = search_of(space)
    first = search.run_epoch()
    buffer = io.BytesIO()
    torch.save(search.state_dict(), buffer)
    outside = torch.get_rng_state()
    for _ in range(3):  # asking disturbs nothing
        asked = search.method.gates()
        search.method.metrics()
    last = search.run_epoch()
    assert torch.equal(torch.get_rng_state(), outside)
    buffer.seek(0)
    restored = search_of(space)
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    assert_same_gates(restored.method.gates(), asked)
    again = restored.run_epoch()
    weights = restored.learner.network.state_dict()
    for name, tensor in search.learner.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    for name, alpha in search.method.alphas.items():
        assert torch.equal(alpha, restored.method.alphas[name])
    timed = {"seconds", "train_seconds", "examples_per_second", "peak_memory_bytes"}
    assert {k: v for k, v in last.metrics.items() if k not in timed} == {
        k: v for k, v in again.metrics.items() if k not in timed
    }
    assert all(np.isfinite(list(epoch.metrics.values())).all() for epoch in (first, last))
    ended = search_of(space)
    ended.load_state_dict(search.state_dict())
    assert_same_gates(ended.method.gates(), search.method.gates())
    assert ended.method.metrics() == search.method.metrics()
    (candidate,) = last.candidates
    assert candidate == again.candidates[0]
    assert candidate.macs == macs(search.space, candidate.architecture, search.evaluation_size)
    for name, choices in candidate.architecture.cells.items():
        targets = Counter(target for _, target, _ in choices)
        assert set(targets) == set(search.space.graph(name).targets)
        assert max(targets.values()) <= 4


@pytest.mark.parametrize("settings", [{"probabilities": "softmax"}, {"scope": "node"}], ids=str)
@pytest.mark.slow
def test_same_seed_same_architecture(settings: dict[str, Any]) -> None:
    found = []
    for seed in (1, 1, 2):
        search = search_of("gold", seed=seed, **settings)
        while not search.finished:
            epoch = search.run_epoch()
        found.append((epoch.candidates[0].architecture.id, epoch.metrics["loss"]))
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
