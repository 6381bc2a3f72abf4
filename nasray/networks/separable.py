"""Depthwise-separable convolutions that keep little for their gradients, several of them at once, and take what the
CPU's libraries are slow at to what they are fast at.

Of large inputs a depthwise convolution, a pointwise one, and the normalisation and ReLU before them where there are
any, are one function to autograd. It keeps its input alone: what lies between is computed again for the gradients, and
a third of the memory is left of what the modules one by one would keep (ours). Of small ones memory is no matter, and
computing once is faster.

On the CPU (oneDNN 3, torch 2.14):

- A depthwise convolution of dilation 2 takes three to four times as long, forward and backward, as it does when its
  gradients are those of a plain one (64 x 16 x 32 x 32 and 64 x 32 x 16 x 16, one thread). Of stride 1 it is a plain
  one on the even and one on the odd rows and columns, of stride 2 a plain one on every second pixel.
- The gradient in the weights of a depthwise convolution whose kernel is larger than the image is slow: not so where
  the image comes with its border of zeros.
- A small pointwise convolution is a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nasray.networks.normalised import ones, scaled, take_statistics

_backward = torch.ops.aten.convolution_backward.default
_normalise = torch.ops.aten.native_batch_norm.default
_normalise_backward = torch.ops.aten.native_batch_norm_backward.default
_SMALL = 2**22
"""Most multiply-adds of a pointwise convolution that is taken for a small one: then a product of matrices is faster."""
FEW = 2**18
"""Most numbers in an image batch that is taken for a small one: then calls cost more than memory."""


class _Shape(NamedTuple):
    """What a depthwise convolution is, beside its weights."""

    kernel: int
    stride: int
    dilation: int
    padding: int


_POINT = _Shape(1, 1, 1, 0)


def separable(
    x: Tensor,
    depthwise: Sequence[nn.Conv2d],
    pointwise: Sequence[nn.Conv2d],
    norms: Sequence[nn.BatchNorm2d] | None = None,
) -> Tensor:
    """pointwise(depthwise(x)), of relu(norm(x)) where there are normalisations, of K operations at once, in training.

    Args:
        x: (N, C, H, W), which all read; with normalisations (N, K C, H, W), of which each reads its part.
        depthwise: K, of C groups, without a bias, their padding half of what their kernels span.
        pointwise: K, of kernel 1 and C channels, without a bias.
        norms: K, in training mode; their running statistics are updated.

    Returns:
        (N, K C, H', W'); under torch's autocast of its type, and all between in it, but for normalisations.
    """
    module = depthwise[0]
    kernel, dilation = module.kernel_size[0], module.dilation[0]
    shape = _Shape(kernel, module.stride[0], dilation, dilation * (kernel - 1) // 2)
    each = x.numel() // (1 if norms is None else len(norms))
    if each <= FEW and dilation == 1:
        seen = x if norms is None else F.relu(scaled(norms, x))
        seen = _repeated(seen, sum(one.in_channels for one in depthwise))
        seen = _depthwise(seen, _together([one.weight for one in depthwise]), shape)
        return _pointwise(seen, _together([one.weight for one in pointwise]))
    weights = _together([one.weight for one in depthwise]), _together([one.weight for one in pointwise])
    if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
        lower = torch.get_autocast_dtype(x.device.type)
        x, weights = x.to(lower), (weights[0].to(lower), weights[1].to(lower))
    scale = shift = None
    if norms is not None:
        scale = ones(x, x.shape[1])
        if norms[0].affine:
            scale, shift = _together([norm.weight for norm in norms]), _together([norm.bias for norm in norms])
    z: Tensor
    z, mean, inverse = _Separable.apply(x, scale, shift, *weights, shape, None if norms is None else norms[0].eps)
    if norms is not None:
        take_statistics(norms, x, mean, inverse)
    return z


def _together(weights: Sequence[Tensor]) -> Tensor:
    return weights[0] if len(weights) == 1 else torch.cat(list(weights))


class _Separable(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        depthwise: Tensor,
        pointwise: Tensor,
        shape: _Shape,
        eps: float | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ctx.shape, ctx.eps = shape, eps
        mean = inverse = None
        if eps is None:
            seen = _repeated(x, len(depthwise))
        else:
            seen, mean, inverse = _normalise(x, scale, shift, None, None, True, 0.0, eps)
            seen.relu_()
            ctx.mark_non_differentiable(mean, inverse)
        ctx.save_for_backward(x, scale, shift, depthwise, pointwise, mean, inverse)
        return _pointwise(_depthwise(seen, depthwise, shape), pointwise), mean, inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: object) -> tuple[Tensor | None, ...]:
        x, scale, shift, depthwise, pointwise, mean, inverse = ctx.saved_tensors
        of_x, of_scale, _, of_depthwise, of_pointwise, _, _ = ctx.needs_input_grad
        shape, eps = ctx.shape, ctx.eps
        if eps is None:
            seen = _repeated(x, len(depthwise))
        else:
            variance = inverse.square().reciprocal() - eps
            seen, _, _ = _normalise(x, scale, shift, mean, variance, False, 0.0, eps)
            seen.relu_()
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        pointwise_gradient = depthwise_gradient = None
        if of_pointwise:
            pointwise_gradient = _pointwise_weights(gradient, _depthwise(seen, depthwise, shape), pointwise)
        towards = _pointwise_input(gradient, pointwise)
        seen_gradient, depthwise_gradient = _depthwise_backward(towards, seen, depthwise, shape, of_depthwise)
        if eps is None:
            x_gradient = _summed(seen_gradient, x.shape[1]) if of_x else None
            return x_gradient, None, None, depthwise_gradient, pointwise_gradient, None, None
        x_gradient, scale_gradient, shift_gradient = _normalise_backward(
            torch.ops.aten.threshold_backward(seen_gradient, seen, 0),
            *(x, scale, None, None, mean, inverse, True, eps, [True, of_scale, of_scale]),
        )
        affine = (scale_gradient, shift_gradient) if of_scale else (None, None)
        return x_gradient, *affine, depthwise_gradient, pointwise_gradient, None, None


def _repeated(x: Tensor, channels: int) -> Tensor:
    """(N, C, H, W) to (N, K C, H, W), for each of K operations its own."""
    return x if x.shape[1] == channels else torch.cat([x] * (channels // x.shape[1]), dim=1)


def _summed(gradient: Tensor, channels: int) -> Tensor:
    """The gradient of what was repeated."""
    n, c, h, w = gradient.shape
    return gradient if c == channels else gradient.view(n, c // channels, channels, h, w).sum(dim=1)


def _depthwise(x: Tensor, weight: Tensor, shape: _Shape) -> Tensor:
    if _is_wide(x, shape):
        x, shape = _bordered(x, shape)
    return F.conv2d(x, weight, None, shape.stride, shape.padding, shape.dilation, len(weight))


def _is_wide(x: Tensor, shape: _Shape) -> bool:
    """Whether the kernel is larger than the image, with which the CPU's library is slow."""
    return x.device.type == "cpu" and shape.dilation == 1 and shape.kernel > min(x.shape[-2:])


def _bordered(x: Tensor, shape: _Shape) -> tuple[Tensor, _Shape]:
    """An image with its border of zeros, and the convolution that pads it no more."""
    return F.pad(x, (shape.padding,) * 4), shape._replace(padding=0)


def _is_small(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.numel() * x.shape[1] <= _SMALL


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) in channels_last to (N H W, C), without a copy."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _block_diagonal(weight: Tensor) -> Tensor:
    """(K C, C, 1, 1) to (K C, K C): the K products as one, which for a few channels is faster than K."""
    channels = weight.shape[1]
    whole: Tensor = torch.block_diag(*weight.view(-1, channels, channels))  # type: ignore[no-untyped-call]
    return whole


def _pointwise(x: Tensor, weight: Tensor) -> Tensor:
    n, _, h, w = x.shape
    if _is_small(x):
        return (_rows(x) @ _block_diagonal(weight).t()).view(n, h, w, len(weight)).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, groups=len(weight) // weight.shape[1])


def _pointwise_input(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of a pointwise convolution in its input."""
    n, c, h, w = gradient.shape
    if _is_small(gradient):
        return (_rows(gradient) @ _block_diagonal(weight)).view(n, h, w, c).permute(0, 3, 1, 2)
    groups = len(weight) // weight.shape[1]
    # Of the input it needs the shape alone.
    return _convolution_backward(gradient, gradient, weight, _POINT, groups, [True, False, False])[0]


def _pointwise_weights(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient of a pointwise convolution in its weights."""
    channels = weight.shape[1]
    if _is_small(x):
        whole = (_rows(gradient).t() @ _rows(x)).view(-1, channels, len(weight) // channels, channels)
        return torch.diagonal(whole, dim1=0, dim2=2).permute(2, 0, 1).reshape(weight.shape)
    groups = len(weight) // channels
    return _convolution_backward(gradient, x, weight, _POINT, groups, [False, True, False])[1]


def _depthwise_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, shape: _Shape, of_weight: bool
) -> tuple[Tensor, Tensor | None]:
    """Gradients of a depthwise convolution in its input and, where asked for, in its weights."""
    height, width = x.shape[-2:]
    plain = _Shape(shape.kernel, 1, 1, shape.kernel // 2)
    if x.device.type == "cpu" and shape.dilation == 2:
        if shape.stride == 2:
            seconds = x[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
            of_seconds, of_weights = _depthwise_backward(gradient, seconds, weight, plain, of_weight)
            of_x = torch.zeros_like(x)
            of_x[:, :, ::2, ::2] = of_seconds
            return of_x, of_weights
        if height % 2 == 0 and width % 2 == 0:
            of_phases, of_both = _depthwise_backward(
                _phases(gradient), _phases(x), torch.cat([weight, weight]), plain, of_weight
            )
            return _joined(of_phases), None if of_both is None else of_both[: len(weight)] + of_both[len(weight) :]
    mask, border = [True, of_weight, False], 0
    if _is_wide(x, shape):
        border, (x, shape) = shape.padding, _bordered(x, shape)
    of_x, of_weights, _ = _convolution_backward(gradient, x, weight, shape, len(weight), mask)
    return of_x[:, :, border : border + height, border : border + width], of_weights


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, shape: _Shape, groups: int, mask: list[bool]
) -> tuple[Tensor, Tensor, None]:
    sizes = ([shape.stride] * 2, [shape.padding] * 2, [shape.dilation] * 2)
    found: tuple[Tensor, Tensor, None] = _backward(gradient, x, weight, None, *sizes, False, [0, 0], groups, mask)
    return found


def _phases(x: Tensor) -> Tensor:
    """(N, C, H, W) to (2N, 2C, H/2, W/2): even and odd rows as examples of their own, even and odd columns as channels.

    In channels_last the columns cost nothing, and rows are copied whole.
    """
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2 * c).permute(2, 0, 1, 3, 4)
    return rows.reshape(2 * n, h // 2, w // 2, 2 * c).permute(0, 3, 1, 2)


def _joined(phases: Tensor) -> Tensor:
    """The inverse of :func:`_phases`."""
    n, c, h, w = phases.shape
    rows = phases.permute(0, 2, 3, 1).reshape(2, n // 2, h, w * c).permute(1, 2, 0, 3)
    return rows.reshape(n // 2, 2 * h, 2 * w, c // 2).permute(0, 3, 1, 2)
