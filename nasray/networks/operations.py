"""Candidate operations by their published names, with the exact structure of the released codes (methods.md 0.2).

The ReLU that begins a published operation is left to the cell: several operations that leave one node share
one, computed once. ``activated`` says which operations expect it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray import registry
from nasray.errors import InvalidInput, reason
from nasray.networks.normalised import is_plain, of_batch, scaled, take_statistics
from nasray.networks.separable import FEW, separable
from nasray.spaces import Normalisation

Builder = Callable[[int, int, Normalisation], "Operation"]
"""(channels, stride, normalisation) to an operation that keeps the number of channels."""


class Operation(nn.Sequential):
    """A candidate operation: a sequence of modules, and what the cell has to know of it."""

    activated: bool = False
    """Whether the input goes through a ReLU first."""
    is_identity: bool = False
    """Whether it passes its input on: such paths are never dropped by drop path."""

    @property
    def takes_gate(self) -> bool:
        """Whether it is its modules one after the other, the last a batch normalisation, whose scale a gate can be."""
        one_by_one = type(self).forward in (nn.Sequential.forward, Separable.forward)
        return one_by_one and len(self) > 0 and is_plain(self[-1])

    @classmethod
    def before_norm(cls, operations: Sequence[Self], x: Tensor) -> Tensor:
        """What the last normalisations of K operations that are built alike see: (N, K C, H, W)."""
        outputs = []
        for operation in operations:
            y = x
            for module in operation[:-1]:
                y = module(y)
            outputs.append(y)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    @classmethod
    def of(cls, *modules: nn.Module, activated: bool = False, is_identity: bool = False) -> Self:
        """An operation made of modules."""
        operation = cls(*modules)
        operation.activated = activated
        operation.is_identity = is_identity
        return operation


class Separable(Operation):
    """One or two depthwise-separable convolutions, each with its normalisation, and a ReLU between them."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        return cast(Tensor, self[-1](self.before_norm([self], x)))

    @classmethod
    def before_norm(cls, operations: Sequence[Self], x: Tensor) -> Tensor:
        """As every operation's, of all K at once; in training as :mod:`nasray.networks.separable` does it."""
        if not operations[0]._trains():
            return super().before_norm(operations, x)

        def modules(at: int) -> Any:
            return [operation[at] for operation in operations]

        y = separable(x, modules(0), modules(1))
        return y if len(operations[0]) == 3 else separable(y, modules(4), modules(5), modules(2))

    def _trains(self) -> bool:
        # A normalisation that is frozen in evaluation mode in a network that trains has statistics of its own.
        return self.training and torch.is_grad_enabled() and is_plain(self[2]) and self[2].training


class ConvNorm(Operation):
    """A convolution and its normalisation."""

    @classmethod
    def before_norm(cls, operations: Sequence[Self], x: Tensor) -> Tensor:
        """As every operation's, of all K at once."""
        convolutions = [cast(nn.Conv2d, operation[0]) for operation in operations]
        weight, first = torch.cat([one.weight for one in convolutions]), convolutions[0]
        return F.conv2d(x, weight, None, first.stride, first.padding)


class Pool(Operation):
    """A pooling, and a batch normalisation where the space has one."""

    @property
    def takes_gate(self) -> bool:
        """Never: what is normalised is the same for all edges that leave a node."""
        return False

    @classmethod
    def on_edges(cls, operations: Sequence[Self], x: Tensor) -> list[Tensor]:
        """The outputs of all that pool the same input: in training they differ in scale and shift alone."""
        y = operations[0][0](x)
        if len(operations[0]) == 1:
            return [y] * len(operations)
        norms = [cast(nn.BatchNorm2d, operation[1]) for operation in operations]
        if not norms[0].training or norms[0].affine or not is_plain(norms[0]):
            return [norm(y) for norm in norms]
        normalised, mean, inverse = of_batch(y, norms[0].eps)
        for norm in norms:
            take_statistics([norm], y, mean, inverse)
        return [normalised] * len(operations)


def together(operations: Sequence[Operation], x: Tensor, gates: Sequence[Tensor] | None = None) -> Sequence[Tensor]:
    """gate * operation(x) of operations of one kind, which all take gates and read the same.

    Small ones are computed together, for a call costs more than what it computes; of large ones that would only move
    memory (ours).

    Args:
        operations: K, built alike.
        x: (N, C, H, W).
        gates: K scalars; None is no gates.
    """
    if len(operations) > 1 and (x.numel() > FEW or _differ(operations)):
        singly = [None] * len(operations) if gates is None else [[gate] for gate in gates]
        return [together([one], x, gate)[0] for one, gate in zip(operations, singly, strict=True)]
    y = type(operations[0]).before_norm(operations, x)
    norms = [cast(nn.BatchNorm2d, operation[-1]) for operation in operations]
    return scaled(norms, y, gates).chunk(len(operations), dim=1)


def _differ(operations: Sequence[Operation]) -> bool:
    """Whether some of their modules train and others are frozen."""
    return len({module.training for operation in operations for module in operation}) > 1


class FactorizedReduce(nn.Module):
    """Two 1x1 convolutions of stride 2, the second shifted by one pixel, concatenated; then normalised.

    An odd resolution is padded by one (our choice: the released code knows only even ones). The stride is taken
    before the convolutions: in channels_last, oneDNN's gradient of a strided 1x1 convolution of fewer channels than
    a vector register holds writes past its workspace (uxlfoundation/oneDNN#6035).
    """

    def __init__(self, channels_in: int, channels_out: int, affine: bool) -> None:
        super().__init__()
        half = channels_out // 2
        self.first = nn.Conv2d(channels_in, half, 1, bias=False) if half else None
        self.second = nn.Conv2d(channels_in, channels_out - half, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W), after its ReLU, to (N, channels_out, ceil(H/2), ceil(W/2))."""
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        second = self.second(x[:, :, 1::2, 1::2])
        halves = second if self.first is None else torch.cat([self.first(x[:, :, ::2, ::2]), second], dim=1)
        normalised: Tensor = self.norm(halves)
        return normalised


def relu_conv_norm(
    channels_in: int, channels_out: int, affine: bool, kernel: int = 1, stride: int = 1
) -> nn.Sequential:
    """ReLU, convolution, batch normalisation; as a 1x1 convolution it brings a cell's inputs to its channels."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out, affine=affine),
    )


def _separable(channels: int, kernel: int, stride: int, dilation: int, affine: bool) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def _nor_conv(kernel: int) -> Builder:
    def build(channels: int, stride: int, normalisation: Normalisation) -> Operation:
        _, *after_relu = relu_conv_norm(channels, channels, normalisation.affine, kernel, stride)
        return ConvNorm.of(*after_relu, activated=True)

    return build


def _sep_conv(kernel: int) -> Builder:
    def build(channels: int, stride: int, normalisation: Normalisation) -> Operation:
        return Separable.of(
            *_separable(channels, kernel, stride, 1, normalisation.affine),
            nn.ReLU(),
            *_separable(channels, kernel, 1, 1, normalisation.affine),
            activated=True,
        )

    return build


def _dil_conv(kernel: int) -> Builder:
    def build(channels: int, stride: int, normalisation: Normalisation) -> Operation:
        return Separable.of(*_separable(channels, kernel, stride, 2, normalisation.affine), activated=True)

    return build


def _pool(module: Callable[[int], nn.Module]) -> Builder:
    def build(channels: int, stride: int, normalisation: Normalisation) -> Operation:
        norm = [nn.BatchNorm2d(channels, affine=normalisation.affine)] if normalisation.after_pool else []
        return Pool.of(module(stride), *norm)

    return build


def _skip_connect(channels: int, stride: int, normalisation: Normalisation) -> Operation:
    if stride > 1:
        return Operation.of(FactorizedReduce(channels, channels, normalisation.affine), activated=True)
    norm = [nn.BatchNorm2d(channels, affine=normalisation.affine)] if normalisation.after_identity else []
    return Operation.of(*norm, is_identity=True)


_BUILDERS: dict[str, Builder] = {
    "max_pool_3x3": _pool(lambda stride: nn.MaxPool2d(3, stride, padding=1)),
    "avg_pool_3x3": _pool(lambda stride: nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)),
    "skip_connect": _skip_connect,
    "nor_conv_1x1": _nor_conv(1),
    "nor_conv_3x3": _nor_conv(3),
    "sep_conv_3x3": _sep_conv(3),
    "sep_conv_5x5": _sep_conv(5),
    "sep_conv_7x7": _sep_conv(7),
    "dil_conv_3x3": _dil_conv(3),
    "dil_conv_5x5": _dil_conv(5),
}


def module_name(operation: str) -> str:
    """An operation's name as part of a module's: a user's ``file.py:NAME`` may hold dots, a module's name not."""
    return operation.replace(".", "_")


def build_operation(name: str, channels: int, stride: int, normalisation: Normalisation) -> Operation:
    """A candidate operation by its name, or by that of a registered ``nasray.operations`` or ``file.py:NAME``.

    Raises:
        InvalidInput: there is no such operation, or it fails or gives another module.
    """
    if name in _BUILDERS:
        return _BUILDERS[name](channels, stride, normalisation)
    builder: Builder = registry.find("operation", name)
    try:
        built: object = builder(channels, stride, normalisation)
    except Exception as error:  # somebody's own code may fail in any way
        said = registry.own_failure(error) or reason(error)
        raise InvalidInput(f"operation {name!r} cannot be built: {said}") from error
    if not isinstance(built, Operation):
        raise InvalidInput(
            f"operation {name!r} gave {type(built).__qualname__}: expected nasray.networks.operations.Operation, as "
            "Operation.of(module, ...) makes it"
        )
    return built
