"""ISTA-NAS, one-stage: freezing, the guard, the schedule, and the network that comes out."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasray import registry
from nasray.costs.table import count_params
from nasray.errors import InvalidInput
from nasray.methods.ista_nas_one_stage import NORMALISATION, ISTANASOneStage
from nasray.methods.method import Problem, joint_step
from nasray.networks import target_network
from nasray.networks.operations import Operation
from nasray.spaces import CellGraph, CellSpace, NetworkSize
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig

TINY = {
    "epochs": 3,
    "final_epochs": 2,
    "batch_size": 64,
    "channels": 4,
    "cells": 3,
    "train_examples": 128,
    "gamma": 1e-4,
    "max_params": None,
}
SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Networks this small are slower on two.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def space() -> CellSpace:
    found: CellSpace = registry.find("space", "darts")
    return found


def method(**changes: Any) -> ISTANASOneStage:
    config = ISTANASOneStage.Config(**TINY | changes)
    return ISTANASOneStage(config, Problem(space(), SIZE, SIZE, seed=0))


def search(seed: int = 0, **changes: Any) -> Search:
    settings = ISTANASOneStage.Config(**TINY | changes)
    config = SearchConfig(method="ista_nas_one_stage", space="darts", dataset="digits", settings=settings, seed=seed)
    return Search(config)


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


def move(made: ISTANASOneStage, nodes: list[int]) -> None:
    """What an epoch of training does to some of the compressed variables."""
    generator = torch.Generator().manual_seed(len(nodes))
    with torch.no_grad():
        for j in nodes:
            made.coding.b[j].add_(torch.randn(7, generator=generator))


def norms(made: Search) -> dict[tuple[int, str], list[nn.BatchNorm2d]]:
    """By position and operation."""
    return {
        (position, key): [m for m in operation.modules() if isinstance(m, nn.BatchNorm2d)]
        for position, cell in enumerate(made.learner.network.cells)
        for key, operation in cell.operations.items()
    }


def test_defaults_are_the_target_networks() -> None:
    config = ISTANASOneStage.Config()
    assert (config.channels, config.cells, config.batch_size, config.final_epochs) == (36, 20, 96, 600)
    assert (config.learning_rate, config.learning_rate_min, config.drop_path) == (0.025, 0.001, 0.2)
    assert (config.auxiliary_weight, config.augmentation, config.max_params) == (0.4, "cutout", 3.7)
    with pytest.raises(InvalidInput, match="final_epochs 3: expected fewer than epochs 3"):
        method(final_epochs=3)


def test_nodes_whose_codes_rest_are_frozen_and_stay() -> None:
    made = method(epochs=50)
    gates = [g.values_EO.detach().clone() for g in made.gates()]
    move(made, [1, 2, 3, 5, 6, 7])
    made.end_epoch(0)
    assert [not b.requires_grad for b in made.coding.b] == [True, False, False, False, True, False, False, False]
    assert made.metrics() == {"frozen_nodes": 2.0}
    assert made.schedule_epoch(1) == (0, 2)

    # Edges into the first node, 0 and 1, are trained in cells of both kinds.
    for mask in made.trainable_affine():
        assert mask[:2, 1:].all()
        assert not mask[:2, 0].any()
        assert not mask[2:].any()
    z = made.coding.z_JN.clone()
    move(made, [0, 1, 2, 3])  # even if b of a frozen node is moved by force, its code stays
    made.end_epoch(1)
    assert [not b.requires_grad for b in made.coding.b] == [True, False, False, False, True, True, True, True]
    assert torch.equal(made.coding.z_JN[[0, 4]], z[[0, 4]])
    assert not torch.equal(made.coding.z_JN[1], z[1])
    for position, kind in enumerate(("normal", "reduce", "reduce")):
        mask = made.trainable_affine()[position]
        assert mask[2:].any() == (kind == "reduce")
        assert mask[:2, 1:].all()
    assert not torch.equal(made.gates()[0].values_EO, gates[0])

    move(made, [])
    made.end_epoch(2)
    assert not any(b.requires_grad for b in made.coding.b)
    assert made.schedule_epoch(3) == (0, 2)
    assert made.schedule_epoch(4) == (1, 2)
    assert not made.end_epoch(3).finished
    assert made.end_epoch(4).finished


@pytest.mark.parametrize("distance", [0.06, 0.02])
def test_the_distance_is_that_of_the_whole_codes(distance: float) -> None:
    made = method(epochs=50, freeze_distance=distance)
    move(made, list(range(8)))
    made.end_epoch(0)
    before = made.coding.z_JN.double().clone()
    with torch.no_grad():
        for j, b in enumerate(made.coding.b):
            b.add_(0.01 * j)
    z_JN, _ = made.coding.recover()
    distances = [
        math.sqrt(sum((float(n) - float(o)) ** 2 for n, o in zip(*pair, strict=True)))
        for pair in zip(z_JN, before, strict=True)
    ]
    frozen = [not b.requires_grad for b in made.coding.b]
    made.end_epoch(1)
    wanted = [was or d <= distance for was, d in zip(frozen, distances, strict=True)]
    assert [not b.requires_grad for b in made.coding.b] == wanted
    assert any(wanted)
    assert not all(wanted)


def test_a_frozen_b_keeps_its_value_under_adam_with_weight_decay() -> None:
    made = search(epochs=50, architecture_weight_decay=0.1, architecture_learning_rate=0.01)
    made.learner.start_epoch(0)
    batch = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    one = made.method
    joint_step(one, made.learner, batch)  # Adam has momenta of all
    move(one, [1, 2, 3, 4, 5, 6])
    one.coding.z_JN[[0, 7]] = one.coding.recover()[0][[0, 7]]
    one.end_epoch(0)
    kept = [b.detach().clone() for b in one.coding.b]
    for _ in range(3):
        joint_step(one, made.learner, batch)
    assert [torch.equal(b, old) for b, old in zip(one.coding.b, kept, strict=True)] == [True] + [False] * 6 + [True]


def test_b_and_weights_are_updated_from_the_same_backward_pass() -> None:
    made, other = search(), search()
    batch = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    for one in (made, other):
        one.learner.start_epoch(0)
    torch.manual_seed(0)
    made.method.step(made.learner, batch, None)
    b, weights = list(other.method.parameters()), other.learner.weights
    loss = other.learner.loss(batch, other.method.gates())
    found = torch.autograd.grad(loss, [*b, *weights], allow_unused=True)
    for parameter, gradient, after in zip(b, found, made.method.parameters(), strict=False):
        full = gradient + 1e-3 * parameter
        torch.testing.assert_close(after, parameter - 3e-4 * full / (full.abs() + 1e-8), rtol=0, atol=1e-7)
    by_weights = found[len(b) :]
    norm = math.sqrt(sum(float(g.square().sum()) for g in by_weights if g is not None))  # b is not clipped
    clip = min(1.0, 5.0 / (norm + 1e-6))
    for weight, gradient, after in zip(weights, by_weights, made.learner.weights, strict=True):
        wanted = weight if gradient is None else weight - 0.025 * (clip * gradient + 3e-4 * weight)
        torch.testing.assert_close(after, wanted, rtol=1e-5, atol=1e-6)


def test_guard_rejects_a_recovery_with_as_many_parameters_and_counts_the_paper_s_network() -> None:
    free = method()
    start = free.coding.selected_JN.clone()
    move(free, list(range(8)))
    free.end_epoch(0)
    network = target_network(space(), free.architecture(), SIZE, auxiliary=True, normalisation=NORMALISATION)
    found = sum(p.numel() for name, p in network.named_parameters() if "auxiliary" not in name) / 1e6
    plain = count_params(target_network(space(), free.architecture(), SIZE)) / 1e6
    assert plain < found  # some pooling or identity is among the operations
    for limit, adopted in ((found, False), (found + 1e-6, True), (None, True)):
        made = method(max_params=limit)
        move(made, list(range(8)))
        made.end_epoch(0)
        assert torch.equal(made.coding.selected_JN, free.coding.selected_JN if adopted else start)


def test_normalisations_rest_until_their_node_is_frozen_and_learn_then() -> None:
    made = search(epochs=4, final_epochs=2, learning_rate=0.1, architecture_learning_rate=0.3)
    made.method.coding.b[1].requires_grad_(False)  # rests in the first epoch: the second node of normal cells
    made.run_epoch()
    assert made.method.get_extra_state()["frozen"] == [j == 1 for j in range(8)]
    for group in norms(made).values():
        for norm in group:
            assert not norm.weight.requires_grad
            assert norm.weight.eq(1).all()
            assert norm.bias.eq(0).all()
    assert not made.learner.network.stem.layers[1].weight.eq(1).all()

    made.run_epoch()
    learned = {at for at, group in norms(made).items() if any(not norm.weight.eq(1).all() for norm in group)}
    graph = space().graph("normal")
    active = made.method.gates()[0].active_EO
    assert learned == {
        (0, f"{graph.edges[edge][0]}_3_{graph.operations[index]}")
        for edge, index in np.argwhere(active)
        if graph.edges[edge][1] == 3
    }
    assert len(learned) == 2
    made.run_epoch()  # the search's end was reached: all nodes are frozen
    learned = {at for at, group in norms(made).items() if any(not norm.weight.eq(1).all() for norm in group)}
    assert len(learned) == 3 * 4 * 2
    assert all(p.requires_grad for p in made.learner.network.parameters())


def test_schedule_begins_once_all_nodes_are_frozen() -> None:
    made = search(epochs=9, final_epochs=4, drop_path=0.2, train_examples=64)
    seen = []
    while not made.finished:
        if made.epoch == 2:  # nodes rest from here on
            for b in made.method.coding.b:
                b.requires_grad_(False)
        elif made.epoch < 2:
            move(made.method, list(range(8)))
        made.run_epoch()
        seen.append((made.learner.learning_rate, made.learner.network.drop_path))
    cosine = [0.001 + 0.024 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    wanted = [(0.025, 0.0)] * 3 + list(zip(cosine, [0.0, 0.05, 0.1, 0.15], strict=True))
    np.testing.assert_allclose(seen, wanted, rtol=1e-12)


@pytest.mark.slow
def test_saved_and_restored_in_both_phases_it_continues_bit_for_bit() -> None:
    def made() -> Search:
        return search(epochs=4, drop_path=0.2, architecture_learning_rate=0.02)

    whole, states = made(), {}
    while not whole.finished:
        if whole.epoch in (1, 3):
            states[whole.epoch] = state(whole)
        last = whole.run_epoch()
    assert whole.epoch == 4
    for epoch, phase in ((1, 0), (3, 1)):  # while it searches, and between the two final epochs
        restored = made()
        restored.load_state_dict(states[epoch])
        assert restored.method.schedule_epoch(epoch) == (phase, 2)
        assert [b.requires_grad for b in restored.method.coding.b] == [phase == 0] * 8
        while not restored.finished:
            again = restored.run_epoch()
        assert_equal(restored.state_dict(), whole.state_dict())
        assert again.candidates == last.candidates


def test_what_comes_out_is_the_evaluated_network() -> None:
    made = search(seed=1, drop_path=0.2, learning_rate=0.1, auxiliary_weight=0.4)
    while not made.finished:
        assert made.trained_network() is None
        epoch = made.run_epoch()
    assert np.isfinite(epoch.metrics["loss"])
    (candidate,) = epoch.candidates
    assert candidate.gap == 0.0
    trained = made.trained_network()
    assert trained is not None
    assert trained.architecture == candidate.architecture
    assert trained.epochs == 2
    assert trained.accuracy == candidate.accuracy
    assert 0 <= trained.test_accuracy <= 1

    network = trained.network.eval()
    plain = target_network(space(), trained.architecture, made.size, normalisation=NORMALISATION)
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert len([m for m in network.modules() if isinstance(m, Operation)]) == 3 * 4 * 2
    assert trained.params == count_params(plain) / 1e6
    x = torch.randn(32, 1, 8, 8)
    with torch.no_grad():
        wanted = made.learner.network.eval()(x, made.method.gates())
        torch.testing.assert_close(network(x), wanted, rtol=0, atol=1e-5)
    # The search goes on from where it was: nothing of it was changed.
    assert made.trained_network().accuracy == trained.accuracy


def test_another_seed_gives_another_architecture() -> None:
    def found(seed: int) -> str:
        made = search(seed=seed, epochs=2, final_epochs=1, train_examples=64)
        while not made.finished:
            epoch = made.run_epoch()
        return epoch.candidates[-1].architecture.id

    assert found(0) != found(1)


def test_spaces_with_an_operation_that_cannot_absorb_are_refused(tmp_path: Path) -> None:
    assert ISTANASOneStage.unsupported(space()) is None
    assert ISTANASOneStage.unsupported(registry.find("space", "gold")) is None
    file = tmp_path / "operations.py"
    file.write_text(
        "from torch import nn\n"
        "from nasray.networks.operations import Operation\n"
        "def bare(channels, stride, normalisation):\n"
        "    return Operation.of(nn.AvgPool2d(3, stride, 1))\n"
    )
    graph = CellGraph(inputs=2, nodes=1, operations=("sep_conv_3x3", f"{file}:bare"))
    reason = ISTANASOneStage.unsupported(replace(space(), cells={"normal": graph}))
    assert reason is not None
    assert "bare" in reason
    assert "absorb" in reason
