"""Separable convolutions as one function: the same as torch's modules one by one, in less memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from nasray import registry
from nasray.gates import Gates, architecture_of, candidate_mask
from nasray.networks import cell, operations, supernet, target_network
from nasray.networks import separable as separable_convolutions
from nasray.networks.operations import Operation, Separable, build_operation
from nasray.networks.separable import FEW, separable
from nasray.spaces import NetworkSize, Normalisation

PLAIN = Normalisation(affine=False, after_pool=True, after_identity=False)


def taken_for_small(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    for module in (operations, separable_convolutions):
        monkeypatch.setattr(module, "FEW", most)


@pytest.fixture
def _nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_for_small(monkeypatch, 0)


def by_modules(operation: Operation, x: Tensor) -> Tensor:
    for module in operation:
        x = module(x)
    return x


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"])
@pytest.mark.parametrize("side", [8, 7, 4, 2])
@pytest.mark.parametrize("few", [0, FEW])
def test_outputs_gradients_and_statistics_are_those_of_the_modules(
    name: str, stride: int, side: int, affine: bool, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_for_small(monkeypatch, few)
    torch.manual_seed(0)
    built = build_operation(name, 3, stride, replace(PLAIN, affine=affine)).double()
    other = build_operation(name, 3, stride, replace(PLAIN, affine=affine)).double()
    other.load_state_dict(built.state_dict())
    x = torch.randn(5, 3, side, side, dtype=torch.float64).to(memory_format=torch.channels_last)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = built(one), by_modules(other, two)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected)
    towards = torch.randn_like(y)
    (y * towards).sum().backward()
    (expected * towards).sum().backward()
    torch.testing.assert_close(one.grad, two.grad)
    for mine, its in zip(built.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad)
    for mine, its in zip(built.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.usefixtures("_nothing_is_small")
@pytest.mark.parametrize(("kernel", "dilation", "stride"), [(3, 1, 1), (3, 2, 1), (5, 2, 2)])
def test_gradients_are_finite_differences(kernel: int, dilation: int, stride: int) -> None:
    torch.manual_seed(0)
    padding = dilation * (kernel - 1) // 2
    depthwise = [nn.Conv2d(2, 2, kernel, stride, padding, dilation, 2, bias=False).double() for _ in range(2)]
    pointwise = [nn.Conv2d(2, 2, 1, bias=False).double() for _ in range(2)]
    norms = [nn.BatchNorm2d(2).double() for _ in range(2)]
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    weights = [one.weight for one in (*depthwise, *pointwise, *norms)]

    def run(x: Tensor, *_: Tensor) -> Tensor:
        return separable(x, depthwise, pointwise, norms)

    assert torch.autograd.gradcheck(run, (x, *weights))


def saved_bytes(run: object) -> int:
    """Bytes of what is kept for the gradients of what a call gives."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)
        return tensor

    held: list[Tensor] = []
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        held.append(run())  # type: ignore[operator]
    return sum(kept.values())


@pytest.mark.usefixtures("_nothing_is_small")
def test_it_keeps_a_third() -> None:
    built = build_operation("sep_conv_5x5", 16, 1, PLAIN)
    x = torch.randn(8, 16, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    gate = torch.tensor(0.3, requires_grad=True)
    before = saved_bytes(lambda: by_modules(built, x) * gate)
    after = saved_bytes(lambda: operations.together([built], x, [gate])[0])
    assert after - x.nbytes <= (before - x.nbytes) / 3 + 10_000


@pytest.mark.parametrize("space", ["darts", "gold", "nas_bench_201"])
@pytest.mark.parametrize("training", [True, False])
def test_together_or_one_by_one_is_the_same(space: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry.find("space", space)
    size = NetworkSize(channels=4, cells=3, input_shape=(3, 8, 8), classes=10)
    results = []
    for most in (0, FEW):
        taken_for_small(monkeypatch, most)
        torch.manual_seed(0)
        network = supernet(found, size).double().train(training)
        values = [torch.rand(candidate_mask(found.cells[kind]).shape) for kind in found.kinds(3)]
        gates = [
            Gates(value.double().requires_grad_(), candidate_mask(found.cells[kind]) & (value.numpy() > 0.3))
            for kind, value in zip(found.kinds(3), values, strict=True)
        ]
        y = network(torch.randn(4, 3, 8, 8, dtype=torch.float64), gates)
        y.square().sum().backward()
        results.append([y, *(one.values_EO.grad for one in gates), *(p.grad for p in network.parameters())])
        results[-1] += list(network.buffers())
    for one, other in zip(*results, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("space", ["darts", "gold"])
def test_so_it_is_in_a_network_without_gates(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry.find("space", space)
    size = NetworkSize(channels=4, cells=3, input_shape=(3, 8, 8), classes=10)
    masks = [candidate_mask(found.cells[kind]) for kind in found.kinds(3)]
    results = []
    for most in (0, FEW):
        taken_for_small(monkeypatch, most)
        torch.manual_seed(0)
        network = target_network(found, architecture_of(found, masks), size).double()
        frozen = next(one for one in network.modules() if isinstance(one, Separable))
        frozen[-1].eval()  # one of several that are else alike
        y = network(torch.randn(4, 3, 8, 8, dtype=torch.float64))
        y.square().sum().backward()
        results.append([y, *(p.grad for p in network.parameters()), *network.buffers()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_every_separable_operation_is_one() -> None:
    for name in ("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5"):
        assert isinstance(build_operation(name, 4, 1, PLAIN), Separable)
    assert cell.together is operations.together


class Doubled(nn.BatchNorm2d):
    """As one that works across processes: torch replaces those of a network by it."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Negative(Operation):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


@pytest.mark.parametrize("at", [2, -1])
@pytest.mark.parametrize("few", [0, FEW])
def test_a_normalisation_of_another_kind_is_run_as_it_is(at: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_for_small(monkeypatch, few)
    torch.manual_seed(0)
    built = build_operation("sep_conv_3x3", 4, 1, PLAIN)
    built[at] = Doubled(4, affine=False)
    x, gate = torch.randn(2, 4, 6, 6), torch.tensor(0.5)
    torch.testing.assert_close(built(x), by_modules(built, x))
    assert built.takes_gate == (at == 2)
    if built.takes_gate:
        torch.testing.assert_close(operations.together([built], x, [gate])[0], gate * by_modules(built, x))


@pytest.mark.parametrize("few", [0, FEW])
def test_a_normalisation_that_is_frozen_keeps_its_statistics(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_for_small(monkeypatch, few)
    torch.manual_seed(0)
    built = build_operation("sep_conv_3x3", 4, 1, PLAIN)
    for norm in (built[2], built[-1]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        norm.eval()
    before = [buffer.clone() for buffer in built.buffers()]
    x, gate = torch.randn(2, 4, 6, 6), torch.tensor(0.5)
    torch.testing.assert_close(built(x), by_modules(built, x))
    torch.testing.assert_close(operations.together([built], x, [gate])[0], gate * by_modules(built, x))
    assert all(torch.equal(one, other) for one, other in zip(before, built.buffers(), strict=True))


def test_an_operation_with_a_forward_of_its_own_is_run_by_it() -> None:
    assert not Negative.of(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).takes_gate
    assert Operation.of(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).takes_gate


@pytest.mark.parametrize("name", ["sep_conv_3x3", "max_pool_3x3", "nor_conv_3x3"])
def test_one_value_per_channel_is_refused_as_by_torch(name: str) -> None:
    built = [build_operation(name, 4, 1, PLAIN) for _ in range(2)]
    x, gates = torch.randn(1, 4, 1, 1), [torch.tensor(0.5)] * 2
    pools = isinstance(built[0], operations.Pool)
    run = operations.Pool.on_edges if pools else partial(operations.together, gates=gates)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        run(built, x)
