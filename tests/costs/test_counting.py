"""What is counted, against closed forms: whatever code computes it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

from nasray.costs.counting import count, count_built
from nasray.errors import InvalidInput

C, H, W = 4, 6, 5
"""Of every input below."""


class Own(nn.Module):
    """A user's operation: weights of given shapes, and a function of them and the input."""

    def __init__(self, forward: Callable[..., Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.empty(shape) for shape in shapes])
        self.function = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.weights)


def unfolded(x: Tensor, w: Tensor) -> Tensor:
    return (w @ F.unfold(x, 3, padding=1)).view(1, 7, H, W)


def strided(x: Tensor, w: Tensor) -> Tensor:
    # Every window of three in a row, as a view.
    x = F.pad(x, (1, 1))
    return x.as_strided((1, C, H, W, 3), (*x.stride(), 1)) @ w


def attention(x: Tensor, w: Tensor) -> Tensor:
    tokens = F.linear(x.flatten(2).transpose(1, 2), w)
    q, k, v = tokens.chunk(3, dim=2)
    return F.scaled_dot_product_attention(q, k, v)


def with_bias(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.conv2d(x, w, b, padding=1)


def looks_at(_: nn.Module, given: tuple[Tensor]) -> None:
    given[0].sum().item()


class Sequence(nn.Module):
    """Torch's modules on the pixels as a sequence."""

    def __init__(self, module: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.module = module()

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        of_attention = isinstance(self.module, nn.MultiheadAttention)
        found = self.module(tokens, tokens, tokens) if of_attention else self.module(tokens)
        return found[0] if isinstance(found, tuple) else found


P = H * W
CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "conv2d": (lambda: Own(lambda x, w: F.conv2d(x, w, padding=1), (7, C, 3, 3)), P * 7 * C * 9),
    "bias": (lambda: Own(with_bias, (7, C, 3, 3), (7,)), P * 7 * C * 9),
    "groups": (lambda: nn.Conv2d(C, 8, 3, padding=1, groups=2), P * 8 * 2 * 9),
    "stride": (lambda: nn.Conv2d(C, 8, 3, stride=2, padding=1), 3 * 3 * 8 * C * 9),
    "transposed": (lambda: nn.ConvTranspose2d(C, 6, 3, 2, groups=2), P * C * 3 * 9),
    "conv1d": (lambda: Own(lambda x, w: F.conv1d(x.flatten(2), w, padding=1), (7, C, 3)), P * 7 * C * 3),
    "conv3d": (lambda: Own(lambda x, w: F.conv3d(x[:, None], w, padding=1), (2, 1, 3, 3, 3)), C * P * 2 * 27),
    "linear": (lambda: Own(lambda x, w: F.linear(x, w), (3, W)), C * H * W * 3),
    "unfold": (lambda: Own(unfolded, (7, 9 * C)), P * 7 * 9 * C),
    "as_strided": (lambda: Own(strided, (3, 8)), C * P * 3 * 8),
    "matmul with a vector": (lambda: Own(lambda x, w: x @ w, (W,)), C * H * W),
    "dot": (lambda: Own(lambda x, w: torch.dot(x.flatten(), w)[None], (C * P,)), C * P),
    "bmm": (lambda: Own(lambda x, w: torch.bmm(x[0], w), (C, W, 2)), C * H * W * 2),
    "einsum": (lambda: Own(lambda x, w: torch.einsum("nchw,cd->ndhw", x, w), (C, 7)), P * C * 7),
    "bilinear": (lambda: Own(lambda x, w: F.bilinear(x, x, w), (3, W, W)), C * H * 3 * W * W),
    "attention": (lambda: Own(attention, (3 * C, C)), P * 3 * C * C + 2 * P * P * C),
    "MultiheadAttention": (
        lambda: Sequence(lambda: nn.MultiheadAttention(C, 2, batch_first=True)),
        4 * P * C * C + 2 * P * P * C,
    ),
    "encoder": (
        lambda: Sequence(lambda: nn.TransformerEncoderLayer(C, 2, 16, batch_first=True)),
        4 * P * C * C + 2 * P * P * C + 2 * P * C * 16,
    ),
    "LSTM": (lambda: Sequence(lambda: nn.LSTM(C, 3, batch_first=True)), P * 4 * 3 * (C + 3)),
    "deformable": (
        lambda: Own(
            lambda x, w: torchvision.ops.deform_conv2d(x, x.new_zeros(1, 18, H, W), w, padding=1), (7, C, 3, 3)
        ),
        P * 7 * C * 9,
    ),
    "distances": (lambda: Own(lambda x, w: torch.cdist(x, w), (3, W)), C * H * W * 3),
    "normalisation": (lambda: nn.BatchNorm2d(C), 0),
    "pooling": (lambda: nn.AvgPool2d(3), 0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_it_is_the_closed_form(name: str, device: str) -> None:
    build, macs = CASES[name]

    def built() -> nn.Module:
        module = build()
        # What needs numbers cannot run on the meta device: it is counted on the CPU.
        if device == "cpu":
            module.register_forward_pre_hook(looks_at)
        return module

    found = count_built(built, (C, H, W), "it")
    assert found.macs == macs
    assert found.params == sum(weight.numel() for weight in build().parameters())


def test_weights_that_a_module_shares_are_counted_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(W, W), nn.Linear(W, W)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    found = count_built(Tied, (C, H, W), "it")
    assert (found.macs, found.params) == (2 * C * H * W * W, W * W + 2 * W)


def test_it_is_counted_as_it_runs_when_it_is_evaluated() -> None:
    class Differs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.training_only = nn.Conv2d(C, C, 1), nn.Conv2d(C, C, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.training_only(x) if self.training else self.conv(x)

    assert count_built(Differs, (C, H, W), "it").macs == P * C * C


def test_constants_from_numpy_are_no_hindrance() -> None:
    class Blur(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.from_numpy(np.full((C, 1, 3, 3), 1 / 9, dtype=np.float32)))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.kernel, padding=1, groups=C)

    assert count_built(Blur, (C, H, W), "it").macs == P * C * 9


def test_counting_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    count_built(lambda: Own(lambda x, w: x * x.sum().item() @ w.T, (3, W)), (C, H, W), "it")
    assert torch.equal(torch.get_rng_state(), before)


def test_normalisations_are_as_they_were() -> None:
    module = nn.Sequential(nn.Conv2d(C, C, 1), nn.BatchNorm2d(C, affine=True))
    x = torch.randn(2, C, H, W)
    before = module(x)
    count(module, x[:1])
    assert torch.equal(module.train()(x), before)


@torch.library.custom_op("nasray_test::foreign", mutates_args=())
def foreign(x: Tensor) -> Tensor:
    return x.clone()


@torch.library.custom_op("nasray_test::known", mutates_args=())
def known(x: Tensor) -> Tensor:
    return x.clone()


foreign.register_fake(lambda x: torch.empty_like(x))
known.register_fake(lambda x: torch.empty_like(x))
register_flop_formula(torch.ops.nasray_test.known)(lambda x, **_: 2 * 17)


def test_an_operation_from_outside_of_torch_needs_a_formula() -> None:
    with pytest.raises(
        InvalidInput,
        match=r"^it calls nasray_test.foreign, whose .*register_flop_formula\(torch.ops.nasray_test.foreign\)$",
    ):
        count_built(lambda: Own(foreign), (C, H, W), "it")
    assert count_built(lambda: Own(known), (C, H, W), "it").macs == 17


def test_weights_without_multiply_adds_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def build() -> nn.Module:
        return Own(lambda x, w: (x[:, :, None, None] * w).sum(1), (3, 7, 1, 1))

    with caplog.at_level(logging.WARNING, logger="nasray"):
        logging.getLogger("nasray").addHandler(caplog.handler)
        for _ in range(2):
            count_built(build, (3, H, W), "operation 'by_hand'")
        count_built(lambda: nn.Sequential(nn.BatchNorm2d(C), nn.PReLU(C)), (C, H, W), "operation 'scale'")
        logging.getLogger("nasray").removeHandler(caplog.handler)
    (message,) = {record.getMessage() for record in caplog.records}
    assert message.startswith('event=operation_counts_nothing operation="operation \'by_hand\'" reason="it has 21 ')


def test_what_cannot_be_counted_is_refused_in_one_line() -> None:
    shared = nn.Conv2d(C, C, 1)
    with pytest.raises(InvalidInput, match=r"^it has the same weights each time that it is built: its builder must"):
        count_built(lambda: shared, (C, H, W), "it")
    with pytest.raises(
        InvalidInput, match=r"^it does not run on an input of shape \(1, 4, 6, 5\): RuntimeError: .*"
    ) as e:
        count_built(lambda: nn.Conv2d(C + 1, C, 1), (C, H, W), "it")
    assert "\n" not in str(e.value)
