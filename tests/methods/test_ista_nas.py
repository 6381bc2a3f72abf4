"""ISTA-NAS, two-stage: the identity of the compressed space, sparsity in execution, and whole searches."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from nasray import registry
from nasray.errors import InvalidInput, NonFiniteLoss
from nasray.gates import candidate_mask
from nasray.methods.ista_nas import ISTANAS, SparseCoding, measurement_matrix
from nasray.methods.method import Problem
from nasray.networks.operations import Operation
from nasray.spaces import CellSpace, NetworkSize
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from tests.executed import executed

TINY = {"epochs": 2, "batch_size": 64, "channels": 4, "cells": 3, "train_examples": 128, "gamma": 1e-4}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Networks this small are slower on two.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def space(name: str = "darts") -> CellSpace:
    found: CellSpace = registry.find("space", name)
    return found


def problem(name: str = "darts", seed: int = 0) -> Problem:
    size = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
    return Problem(space(name), size, size, seed)


def coding(name: str = "darts", **changes: Any) -> SparseCoding:
    settings: dict[str, Any] = {"sparsity": 2, "projections": 7, "measurement": "uniform", "gamma": 1e-5}
    return SparseCoding(problem(name), **settings | changes)


def search(seed: int = 0, **changes: Any) -> Search:
    settings = ISTANAS.Config(**TINY | changes)
    return Search(SearchConfig(method="ista_nas", space="darts", dataset="digits", settings=settings, seed=seed))


def state(search: Search) -> dict[str, Any]:
    """What a checkpoint would bring back."""
    saved = io.BytesIO()
    torch.save(search.state_dict(), saved)
    saved.seek(0)
    loaded: dict[str, Any] = torch.load(saved, weights_only=True)
    return loaded


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a.keys() - {"seconds", "peak_memory_bytes"}:  # the clock of a run is no part of what it computes
            assert_equal(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def random_b(made: SparseCoding, scale: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for b in made.b:
            b.copy_(scale * torch.randn(b.shape, generator=generator))


def test_measurement_laws() -> None:
    generator = np.random.default_rng(0)
    uniform = measurement_matrix("uniform", 100, 200, generator)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)
    gaussian = measurement_matrix("gaussian", 100, 200, generator)
    np.testing.assert_allclose(np.linalg.norm(gaussian, axis=0), 1.0)
    assert gaussian.mean() == pytest.approx(0.0, abs=0.01)
    assert (gaussian < 0).any()


def test_a_node_has_seven_columns_for_every_incoming_edge_and_none_has_no_column() -> None:
    made = coding()
    graph = space().graph("normal")
    assert len(made.b) == 8
    assert all(b.shape == (7,) for b in made.b)
    for j in range(8):
        node = graph.targets[j % 4]
        wanted = [
            edge * 8 + graph.operation_index[operation]
            for edge, (_, target) in enumerate(graph.edges)
            for operation in graph.operations
            if target == node and operation != "none"
        ]
        assert len(wanted) == 7 * (j % 4 + 2)
        assert made.A_JMN[j].any(dim=0).nonzero().flatten().tolist() == wanted


@pytest.mark.parametrize("measurement", ["uniform", "gaussian"])
def test_gates_are_the_identity_of_the_compressed_space(measurement: str) -> None:
    """methods.md 1.2 as the released code computes it: w = A_S^T b - E^T z_S with E = (A^T A - I), columns in S."""
    made = coding(measurement=measurement)
    random_b(made)
    made.adopt(*made.recover())
    with torch.no_grad():
        for b in made.b:
            b.add_(0.1 * torch.randn(b.shape))  # as training does between recoveries
    gates = made.gates()
    for j, b in enumerate(made.b):
        A, z, S = made.A_JMN[j].double().numpy(), made.z_JN[j].double().numpy(), made.selected_JN[j].numpy()
        z_S, A_S = np.where(S, z, 0.0), np.where(S, A, 0.0)
        E = np.where(S, A.T @ A - np.eye(len(S)), 0.0)
        w = A_S.T @ b.detach().double().numpy() - E.T @ z_S
        values = gates[0 if j < 4 else 1].values_EO.flatten()
        enters = A.any(axis=0)
        np.testing.assert_allclose(values.detach().numpy()[enters], w[enters], rtol=0, atol=1e-5)
        assert not w[~S].any()
        assert np.abs(w[S]).min() > 0


def test_gradients_reach_b_through_the_selected_columns_alone() -> None:
    made = coding()
    random_b(made)
    made.adopt(*made.recover())
    graph = space().graph("normal")
    for j, b in enumerate(made.b):
        values = made.gates()[0 if j < 4 else 1].values_EO.flatten()
        for column in made.A_JMN[j].any(dim=0).nonzero().flatten().tolist():
            (gradient,) = torch.autograd.grad(values[column], b, retain_graph=True)
            wanted = made.A_JMN[j, :, column] * made.selected_JN[j, column]
            torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-6)
    assert [name for name, _ in made.named_parameters()] == [f"b.{j}" for j in range(8)]
    assert made.gates()[0].values_EO.shape == (len(graph.edges), len(graph.operations))


@pytest.mark.parametrize("sparsity", [1, 2, 3, 5, 7, 20])
def test_the_largest_entries_are_selected_and_only_non_zero_ones(sparsity: int) -> None:
    made = coding(sparsity=sparsity)
    random_b(made)
    z_JN, selected_JN = made.recover()
    for z, selected in zip(z_JN.tolist(), selected_JN.tolist(), strict=True):
        order = sorted(range(len(z)), key=lambda k: -abs(z[k]))
        wanted = {k for k in order[:sparsity] if z[k] != 0}
        assert {k for k, chosen in enumerate(selected) if chosen} == wanted
        assert 1 <= len(wanted) <= 7


def test_a_node_whose_code_is_zero_keeps_the_candidate_that_would_enter_first() -> None:
    made = coding(gamma=100.0)
    random_b(made)
    z_JN, selected_JN = made.recover()
    assert not z_JN.any()
    assert selected_JN.sum(dim=1).tolist() == [1] * 8
    smaller = coding(gamma=100.0)
    random_b(smaller)
    largest_J = torch.einsum("jmn,jm->jn", made.A_JMN, torch.stack(tuple(made.b)).detach()).abs().amax(dim=1)
    for j in range(8):
        smaller._gamma = 0.999 * float(largest_J[j])
        entered = smaller.recover()[0][j].nonzero().flatten().tolist()
        assert selected_JN[j].nonzero().flatten().tolist() == entered


def test_matrices_depend_on_the_seed_alone() -> None:
    size = NetworkSize(channels=16, cells=8, input_shape=(3, 32, 32), classes=10)
    config = ISTANAS.Config()
    torch.manual_seed(1)
    one = ISTANAS(config, problem(seed=5))
    torch.manual_seed(2)
    other = ISTANAS(config, Problem(space(), size, size, 5))
    assert torch.equal(one.coding.A_JMN, other.coding.A_JMN)
    assert not torch.equal(one.coding.A_JMN, ISTANAS(config, problem(seed=6)).coding.A_JMN)


def test_b_that_is_no_number_ends_the_search_as_a_loss_would() -> None:
    made = coding()
    with torch.no_grad():
        made.b[2][0] = float("nan")
    with pytest.raises(NonFiniteLoss, match="compressed variables"):
        made.recover()


def test_any_sparsity_from_one_up_is_accepted() -> None:
    assert ISTANAS.Config(sparsity=30).sparsity == 30
    assert ISTANAS.Config.knobs()["sparsity"].high == 7
    with pytest.raises(InvalidInput, match="sparsity 0"):
        ISTANAS.Config(sparsity=0)


@pytest.mark.parametrize("sparsity", [1, 2, 3])
def test_only_the_selected_operations_run_and_get_gradients(sparsity: int) -> None:
    made = search(sparsity=sparsity, epochs=1)
    random_b(made.method.coding)
    made.method.coding.adopt(*made.method.coding.recover())
    operations = [m for m in made.learner.network.modules() if isinstance(m, Operation)]
    before = {module: [p.clone() for p in module.parameters()] for module in operations}
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(8, 1, 8, 8, generator=generator), torch.arange(8)
    made.learner.start_epoch(0)
    with executed(made.learner.network) as computed:
        made.method.step(made.learner, batch, batch)
    times = Counter(computed)
    # 4 nodes in each of 3 cells, once for b and once for the weights.
    assert len(times) == 3 * 4 * sparsity
    assert set(times.values()) == {2}
    assert len(operations) == 3 * 14 * 7
    for module in operations:
        if module not in times:
            assert all(torch.equal(p, q) for p, q in zip(module.parameters(), before[module], strict=True))


def test_step_is_adam_on_b_then_sgd_on_the_weights() -> None:
    made = search(epochs=1)
    method, learner, other = made.method, made.learner, search(epochs=1)
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 10) for _ in range(2)]
    learner.start_epoch(0)
    other.learner.start_epoch(0)
    method.step(learner, batches[0], batches[1])

    b = list(other.method.parameters())
    gradients = torch.autograd.grad(other.learner.loss(batches[1], other.method.gates()), b)
    for parameter, gradient, after in zip(b, gradients, method.parameters(), strict=True):
        full = gradient + 1e-3 * parameter  # weight decay
        # Adam's first step is lr * g / (|g| + eps).
        wanted = parameter - 6e-4 * full / (full.abs() + 1e-8)
        torch.testing.assert_close(after, wanted, rtol=0, atol=1e-7)
        parameter.data.copy_(after)
    weights = other.learner.weights
    loss = other.learner.loss(batches[0], other.method.gates())
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    norm = torch.sqrt(sum(g.square().sum() for g in found if g is not None))
    clip = min(1.0, 5.0 / (float(norm) + 1e-6))
    for weight, gradient, after in zip(weights, found, learner.weights, strict=True):
        wanted = weight if gradient is None else weight - 0.1 * (clip * gradient + 3e-4 * weight)
        torch.testing.assert_close(after, wanted, rtol=1e-5, atol=1e-6)


def test_weights_selected_later_are_trained_beside_earlier_ones() -> None:
    """Torch's fused SGD alone refuses them; the plain one is what it must equal."""
    made = search(epochs=1)
    learner = made.learner
    learner.start_epoch(0)
    plain = [w.detach().clone().requires_grad_() for w in learner.weights]
    sgd = torch.optim.SGD(plain, lr=0.1, momentum=0.9, weight_decay=3e-4, foreach=False, fused=False)
    generator = torch.Generator().manual_seed(0)
    for with_gradient in ([0, 1], [0, 1, 2], [2, 3]):
        for index in with_gradient:
            gradient = 1e-3 * torch.randn(plain[index].shape, generator=generator)
            plain[index].grad, learner.weights[index].grad = gradient.clone(), gradient.clone()
        learner.update()
        sgd.step()
        sgd.zero_grad()
    for weight, wanted in zip(learner.weights, plain, strict=True):
        torch.testing.assert_close(weight.detach(), wanted.detach(), rtol=1e-6, atol=1e-8)


def test_saved_and_restored_it_continues_bit_for_bit() -> None:
    whole = search(architecture_learning_rate=0.02)
    first = whole.run_epoch()
    restored = search(architecture_learning_rate=0.02)
    restored.load_state_dict(state(whole))
    assert [a.active_EO.tolist() for a in restored.method.gates()] == [
        a.active_EO.tolist() for a in whole.method.gates()
    ]
    one, other = whole.run_epoch(), restored.run_epoch()
    assert whole.finished
    assert restored.finished
    assert_equal(whole.state_dict(), restored.state_dict())
    assert one.candidates == other.candidates
    assert np.isfinite([first.metrics["loss"], one.metrics["loss"]]).all()
    (candidate,) = one.candidates
    by_node: dict[tuple[str, int], int] = {}
    for cell, choices in candidate.architecture.cells.items():
        for _, target, _ in choices:
            by_node[cell, target] = by_node.get((cell, target), 0) + 1
    assert set(by_node.values()) == {2}
    assert len(by_node) == 8
    assert whole.trained_network() is None


def test_another_seed_gives_another_architecture() -> None:
    def found(seed: int) -> str:
        made = search(seed=seed, epochs=1, train_examples=128)
        return made.run_epoch().candidates[-1].architecture.id

    assert found(0) != found(1)


def test_patience_ends_a_search_whose_selection_rests() -> None:
    made = search(epochs=50, architecture_learning_rate=0.0, patience=2, train_examples=64)
    epochs = [made.run_epoch() for _ in range(2)]
    assert made.finished
    assert [e.metrics["unchanged_epochs"] for e in epochs] == [1.0, 2.0]
    assert not epochs[0].candidates
    assert epochs[1].candidates


def test_every_position_of_a_space_may_have_its_own_code() -> None:
    made = coding("gold", sparsity=1)
    assert len(made.b) == 3 * 4
    for position in made.gates():
        assert position.active_EO.sum() == 4
        assert not (position.active_EO & ~candidate_mask(space("gold").cells["normal"])).any()
