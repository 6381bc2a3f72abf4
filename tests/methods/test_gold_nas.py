from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.gates import Gates
from nasray.methods import Problem
from nasray.methods.gold_nas import GoldNAS
from nasray.spaces import NetworkSize
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

PAPER = NetworkSize(channels=36, cells=14, input_shape=(3, 32, 32), classes=10)
TINY = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
NODES = [range(0, 2), range(2, 5), range(5, 9), range(9, 14)]
"""Edges into every node."""
REDUCTIONS = (4, 9)
BASE_FLOPS = 163.6


def printed_flops(position: int, edge: int, operation: str) -> float:
    """F_op as methods.md 3.3 prints it, M."""
    ci, r = 36, 1 if position < 4 else 2 if position < 9 else 4
    if operation == "sep_conv_3x3":
        return 2 * (ci**2 * 32**2 + 9 * 32**2 * ci / r) * 1e-6
    strided = position in REDUCTIONS and edge in (0, 1, 2, 3, 5, 6, 9, 10)
    return ci**2 * 32**2 * 1e-6 if strided else 0.0


FLOPS = np.array(
    [[[printed_flops(p, e, o) for o in ("skip_connect", "sep_conv_3x3")] for e in range(14)] for p in range(14)]
)


def paper(**changes: Any) -> GoldNAS:
    return GoldNAS(GoldNAS.Config(**changes), Problem(GOLD, PAPER, PAPER, 0))


def put(method: GoldNAS, alpha: np.ndarray, kept: np.ndarray | None = None, strength: float = 0.0) -> None:
    """Set the state of a method as a restored search does."""
    state = method.state_dict()
    state["alpha_CEO"] = torch.from_numpy(alpha)
    if kept is not None:
        state["kept_CEO"] = torch.from_numpy(kept)
    state["_extra_state"] = {**method.get_extra_state(), "strength": strength}
    method.load_state_dict(state)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.maximum(x, -700.0)))


def test_prices_are_the_printed_formula_for_every_operation_of_every_cell():
    ours = np.stack(cost_table(GOLD, PAPER).macs_EO) / 1e6
    np.testing.assert_allclose(ours, FLOPS, rtol=1e-12)
    assert cost_table(GOLD, PAPER).base_macs / 1e6 == pytest.approx(BASE_FLOPS, abs=0.05)


@pytest.mark.parametrize(("reg", "mu"), [(1.0, 0.0), (0.0, 1.0), (0.7, 0.3)])
def test_the_penalty_is_the_printed_one(reg: float, mu: float):
    generator = np.random.default_rng(0)
    method = paper(uniform=reg, mu=mu).double()
    alpha = generator.normal(0, 2, (14, 14, 2))
    alpha[generator.random(alpha.shape) < 0.1] = -9.0  # shares below eta_min, not pruned yet
    kept = generator.random(alpha.shape) < 0.8
    kept[:, [0, 2, 5, 9], 0] = True
    put(method, alpha, kept, strength=0.25)
    inactive = 0

    # methods.md 3.3, cell by cell, node by node, operation by operation; n_j is a number, and has no gradient.
    leaf = torch.from_numpy(np.where(kept, alpha, -10_000.0)).requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for cell in range(14):
        for edges in NODES:
            s_j = sum(torch.sigmoid(leaf[cell, e, o]) for e in edges for o in range(2))
            shares = {(e, o): torch.sigmoid(leaf[cell, e, o]) / s_j for e in edges for o in range(2)}
            active = {key: w for key, w in shares.items() if float(w.detach()) > 0.01}
            inactive += sum(kept[cell, e, o] for e, o in shares) - len(active)
            for (e, o), w in active.items():
                total = total + torch.log(1 + len(active) * w) * (reg + mu * FLOPS[cell, e, o])
    assert inactive > 3
    (0.25 * total).backward()
    assert leaf.grad is not None

    penalty = method.penalty(method.gates())
    assert isinstance(penalty, Tensor)
    penalty.backward()
    assert method.alpha_CEO.grad is not None
    assert float(penalty.detach()) == pytest.approx(0.25 * float(total.detach()), rel=1e-6)
    np.testing.assert_allclose(method.alpha_CEO.grad.numpy(), leaf.grad.numpy(), rtol=1e-5, atol=1e-9)


def test_gates_are_sigmoids_of_what_is_active():
    generator = np.random.default_rng(1)
    method = paper().double()
    alpha = generator.normal(0, 3, (14, 14, 2))
    kept = generator.random(alpha.shape) < 0.7
    kept[:, [0, 2, 5, 9], 1] = True
    put(method, alpha, kept)
    for cell, gates in enumerate(method.gates()):
        sigma = sigmoid(alpha[cell]) * kept[cell]
        for edges in NODES:
            for e in edges:
                share = sigma[e] / sigma[list(edges)].sum()
                np.testing.assert_allclose(gates.values_EO[e].detach().numpy(), np.where(share > 0.01, sigma[e], 0))
        assert (gates.active_EO == kept[cell]).all()


def test_it_starts_with_everything_at_one_half():
    method = paper()
    assert all((gates.values_EO == 0.5).all() and gates.active_EO.all() for gates in method.gates())
    assert method.penalty(method.gates()) == 0.0
    assert len(method.gates()) == 14
    assert len({id(gates.active_EO.base) for gates in method.gates()}) == 1


class Literal:
    """The pseudo-code of methods.md 3.4, as it is printed. A pruned operation's alpha is -10000."""

    eta_min, eta_max = 0.01, 0.05

    def __init__(self, lambda0: float, c0: float, n0: int, min_flops: float) -> None:
        self.lambda_, self.delta, self.t = 0.0, lambda0, 0
        self.lambda0, self.c0, self.n0, self.min_flops = lambda0, c0, n0, min_flops

    def weights(self, alpha: np.ndarray) -> np.ndarray:
        sigma = sigmoid(alpha)
        w = np.zeros_like(sigma)
        for edges in NODES:
            w[:, edges] = sigma[:, edges] / sigma[:, edges].sum(axis=(1, 2), keepdims=True)
        return w

    def epoch(self, alpha: np.ndarray) -> tuple[int, bool, bool]:
        """Prunes alpha in place; gives how many were pruned, whether to log and whether to stop."""
        pruned = 0
        for _ in range(self.n0):
            w = self.weights(alpha)
            smallest, where = math.inf, (0, 0, 0)
            for index in np.ndindex(w.shape):
                if 1e-8 < w[index] <= self.eta_min:
                    alpha[index] = -10_000
                    pruned += 1
                elif self.eta_min < w[index] < smallest:
                    smallest, where = w[index], index
            if smallest <= self.eta_max:
                alpha[where] = -10_000
                pruned += 1
        if pruned >= self.n0:
            self.delta = self.lambda0
            self.lambda_ = self.lambda_ / self.c0
        else:
            self.delta = self.delta * self.c0
            self.lambda_ = self.lambda_ + self.delta
        active = self.weights(alpha) > self.eta_min
        stop = (FLOPS * active).sum() + BASE_FLOPS < self.min_flops
        log = False
        if pruned == 0:
            self.t += 1
        else:
            log = self.t > 3
            self.t = 0
        return pruned, log, stop


@pytest.mark.parametrize("seed", range(6))
def test_pruning_and_schedule_are_the_printed_pseudo_code(seed: int):
    generator = np.random.default_rng(seed)
    c0, n0 = [(2.0, 4), (1.5, 1), (3.0, 7)][seed % 3]
    literal = Literal(1e-5, c0, n0, 240.0)
    method = paper(growth=c0, prune_per_epoch=n0)
    alpha = np.zeros((14, 14, 2))
    drift = np.zeros(alpha.shape)
    seen: dict[str, int] = {"epochs": 0, "pruned": 0, "logged": 0, "calm": 0}
    for epoch in range(300):
        if epoch % 20 == 0:
            drift = generator.normal([0.0, -0.2], 0.4, alpha.shape)
        # Rests, and epochs that move some of the alphas: what is pruned stays where it is.
        if generator.random() < 0.45:
            alpha = np.where(alpha > -5000, alpha + drift * generator.random(), alpha)
        alpha = alpha.astype(np.float32).astype(np.float64)
        put(method, np.where(alpha > -5000, alpha, 0.0), strength=method.get_extra_state()["strength"])
        pruned, log, stop = literal.epoch(alpha)
        end = method.end_epoch(epoch)
        active = literal.weights(alpha) > literal.eta_min
        assert (method.kept_CEO.numpy() == active).all()
        assert method.metrics()["lambda"] == pytest.approx(literal.lambda_, rel=1e-12)
        assert end.finished == stop
        assert len(end.architectures) == log
        expected = {(f"{'reduce' if c in REDUCTIONS else 'normal'}_{c}", e, o) for c, e, o in np.argwhere(active)}
        for architecture in end.architectures:  # taken after the pruning that ends the rest
            graph = GOLD.cells["normal"]
            assert expected == {
                (name, graph.edge_index[s, t], graph.operation_index[o])
                for name, choices in architecture.cells.items()
                for s, t, o in choices
            }
        seen["epochs"] += 1
        seen["pruned"] += pruned
        seen["logged"] += log
        seen["calm"] += pruned == 0
        if stop:
            break
    else:
        pytest.fail("it never stopped")
    assert seen["pruned"] > 100
    assert seen["logged"] > 0
    assert seen["calm"] > 10


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0, 60),
    share_max=st.floats(0, 0.9),
    rounds=st.integers(1, 200),
)
def test_a_node_never_loses_its_last_operation(seed: int, scale: float, share_max: float, rounds: int):
    generator = np.random.default_rng(seed)
    config = GoldNAS.Config(share_max=share_max, share_min=0.01, prune_per_epoch=rounds, stop_macs=0.0)
    method = GoldNAS(config, Problem(GOLD, TINY, TINY, 0))
    before = method.kept_CEO.clone()
    for epoch in range(3):
        put(method, generator.normal(0, scale, (3, 14, 2)), method.kept_CEO.numpy())
        method.end_epoch(epoch)
        kept = method.kept_CEO
        assert not (kept & ~before).any(), "nothing comes back"
        assert all(kept[:, list(edges)].any(dim=2).any(dim=1).all() for edges in NODES)
        method.architecture()
        before = kept.clone()


def test_what_falls_below_every_share_is_pruned_too():
    # The released code's lower bound of 1e-8 marks what is pruned already; the mask does that here.
    method = paper()
    alpha = np.zeros((14, 14, 2))
    alpha[3, 7, 1] = -40
    put(method, alpha)
    method.end_epoch(0)
    assert not method.kept_CEO[3, 7, 1]
    assert int(method.kept_CEO.sum()) == 14 * 14 * 2 - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share_max": 1.0}, r"^share_min 0.01 and share_max 1: expected values with share_max \+ 9 \* share_min"),
        ({"share_min": 0.1}, r"^share_min 0.1 and share_max 0.05: expected"),
        ({"stop_macs": 778.0}, r"^stop_macs 778: expected a value below 777 M, "),
    ],
)
def test_settings_that_no_search_can_meet(changes: dict[str, float], message: str):
    with pytest.raises(InvalidInput, match=message):
        paper(**changes)


def test_it_stops_at_the_released_code_s_limit_at_its_size_and_at_a_like_share_elsewhere() -> None:
    assert paper()._stop_macs == pytest.approx(240.0)
    assert paper(stop_macs=100.0)._stop_macs == 100.0


def test_it_does_not_search_what_it_would_prune_at_the_start():
    assert GoldNAS.unsupported(GOLD) is None
    reason = GoldNAS.unsupported(DARTS)
    assert reason is not None
    assert "35 candidates" in reason


class Recorder:
    """A learner whose loss is a plain function of gates and one weight."""

    learning_rate = 0.1

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.weights = [self.weight]
        self.losses: list[float] = []
        self.seen: list[float] = []

    def loss(self, batch: Any, gates: Sequence[Gates]) -> Tensor:
        loss = self.weight * sum(((i + 1) * g.values_EO).sum() for i, g in enumerate(gates))
        self.losses.append(float(loss.detach()))
        return loss

    def update(self) -> None:
        assert self.weight.grad is not None
        self.seen.append(float(self.weight.grad))
        with torch.no_grad():
            self.weight -= self.learning_rate * self.weight.grad
        self.weight.grad = None

    def lookahead(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        raise AssertionError("one level needs none")


def test_weights_and_gates_learn_from_one_backward_pass():
    method = GoldNAS(GoldNAS.Config(stop_macs=0.0), Problem(GOLD, TINY, TINY, 0)).double()
    put(method, np.zeros((3, 14, 2)), strength=0.5)
    learner = Recorder()
    alpha = torch.zeros(3, 14, 2, dtype=torch.float64)
    weight, velocity = 2.0, torch.zeros_like(alpha)
    batch = (torch.zeros(1), torch.zeros(1))
    for _ in range(3):
        leaf = alpha.clone().requires_grad_()
        sigma = torch.sigmoid(leaf)
        loss = weight * (sigma.sum(dim=(1, 2)) * torch.tensor([1.0, 2.0, 3.0])).sum()
        penalty = 0.0
        for edges in NODES:
            part = sigma[:, list(edges)]
            share = part / part.sum(dim=(1, 2), keepdim=True)
            penalty = penalty + torch.log(1 + 2 * len(edges) * share).sum()
        (gradient,) = torch.autograd.grad(loss + 0.5 * penalty, leaf)
        velocity = 0.9 * velocity + gradient  # SGD, learning rate 1, no decay, not clipped
        method.step(learner, batch, None)
        assert learner.losses[-1] == pytest.approx(float(loss.detach()))
        weight -= 0.1 * float((sigma.detach().sum(dim=(1, 2)) * torch.tensor([1.0, 2.0, 3.0])).sum())
        alpha = alpha - velocity
        assert float(learner.weight.detach()) == pytest.approx(weight)
        torch.testing.assert_close(method.alpha_CEO.detach(), alpha, rtol=1e-6, atol=1e-8)
    assert len(learner.losses) == 3
