"""Memory that a training step needs, counted on the meta device: no memory is taken, and no GPU is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from nasray.gates import Gates
from nasray.networks import Network

COPIES_OF_WEIGHTS = 3
"""The weights, their gradients, the optimiser's momenta."""


def training_bytes(
    network: Network, input_shape: tuple[int, ...], batch: int, gates: Sequence[Gates] | None = None
) -> int:
    """Bytes that one step of training keeps: weights, gradients, momenta, and what the backward pass needs.

    What a kernel takes while it runs, and what an allocator leaves unused, is not in it: it shows which of several
    networks needs most, and not how much of a GPU that is.

    Args:
        network: built on the meta device (``with torch.device("meta")``), in training mode.
        input_shape: of one example.
        batch: examples of a step.
        gates: under which it is trained, on any device; None computes every operation.
    """
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Several operations may keep the same tensor, or views of it; while it is held here, its address is its own.
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    on_meta = None
    if gates is not None:
        on_meta = [Gates(one.values_EO.detach().to("meta").requires_grad_(), one.active_EO) for one in gates]
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        # The outputs hold the graph, and so what it keeps, until all of it has been counted.
        outputs = network.forward_with_auxiliary(torch.empty(batch, *input_shape, device="meta"), on_meta)
        weights = {weight.untyped_storage()._cdata: weight.nbytes for weight in network.parameters()}
        activations = sum(t.untyped_storage().nbytes() for key, t in saved.items() if key not in weights)
        del outputs
    return activations + COPIES_OF_WEIGHTS * sum(weights.values())
