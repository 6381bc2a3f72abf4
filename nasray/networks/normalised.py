"""Batch normalisations of which a supernet computes less than modules one by one would: gates go into their scales,
those of several operations are one, and edges that pool the same node share one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def is_plain(module: nn.Module) -> bool:
    """Whether a module is torch's batch normalisation itself, with running statistics: others are left alone."""
    return type(module) is nn.BatchNorm2d and module.running_mean is not None


def scaled(norms: Sequence[nn.BatchNorm2d], x: Tensor, gates: Sequence[Tensor] | None = None) -> Tensor:
    """gate * norm(x) of each of several normalisations: for gamma x + beta by gate gamma and gate beta.

    So nothing is kept for the gradient of a gate, which is that of a scale.

    Args:
        norms: K normalisations of C channels each, alike but for their values.
        x: (N, K C, H, W).
        gates: K scalars; None is no gates.

    Returns:
        (N, K C, H, W).

    Raises:
        ValueError: in training, a channel has one value alone.
    """
    first = norms[0]
    running = [_running(norm) for norm in norms]
    scale = shift = None
    if first.affine:
        scale, shift = torch.stack([norm.weight for norm in norms]), torch.stack([norm.bias for norm in norms])
    if gates is not None:
        gate_K1 = torch.stack(list(gates))[:, None].to(running[0][0].dtype)
        scale = gate_K1.expand(-1, first.num_features) if scale is None else scale * gate_K1
        shift = None if shift is None else shift * gate_K1
    # Contiguous: in channels_last, torch's gradient of a scale of stride 0 reads past it (torch 2.14, CPU).
    scale = ones(x, x.shape[1]) if scale is None else scale.flatten().contiguous()
    shift = None if shift is None else shift.flatten()
    if first.training:
        y, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, first.eps)
        take_statistics(norms, x, mean, inverse)
        return y
    mean, variance = (torch.cat(values) for values in zip(*running, strict=True))
    return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, first.eps)


def of_batch(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """x normalised without scale and shift, and of each channel the mean and the inverse deviation in the batch."""
    return torch.native_batch_norm(x, ones(x, x.shape[1]), None, None, None, True, 0.0, eps)


def ones(x: Tensor, channels: int) -> Tensor | None:
    """The scale of a normalisation that has none: in 16 bits one of 32, for then the statistics are of 32 as well."""
    return None if x.dtype.itemsize >= 4 else torch.ones(channels, device=x.device)


@torch.no_grad()
def take_statistics(norms: Sequence[nn.BatchNorm2d], x: Tensor, mean: Tensor, inverse: Tensor) -> None:
    """Let normalisations see a batch of which the statistics are known already.

    Args:
        norms: K normalisations of C channels each.
        x: the batch, (N, K C, H, W).
        mean: of each channel.
        inverse: 1 / sqrt(variance + eps) of each channel.

    Raises:
        ValueError: a channel has one value alone.
    """
    n = x.numel() // x.shape[1]
    if n == 1:
        raise ValueError(f"a batch normalisation that trains needs more than 1 value per channel, got {tuple(x.shape)}")
    variance = (inverse.square().reciprocal() - norms[0].eps) * (n / (n - 1))
    for norm, mean_C, variance_C in zip(norms, mean.chunk(len(norms)), variance.chunk(len(norms)), strict=True):
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        factor = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)
        running_mean, running_variance = _running(norm)
        running_mean.lerp_(mean_C, factor)
        running_variance.lerp_(variance_C, factor)


def _running(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
