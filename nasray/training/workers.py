"""Several processes that train one network together, each on its part of every batch. Plain torch.distributed.

Every process draws the same batches, from the same generators, and reads and augments its part of each; gradients are
weighted by the parts and summed, so that they are those of the whole batch. The networks of this field have a few
million weights: their gradients are summed in one piece once the backward pass has ended, for there is little to gain
by overlapping the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn


@dataclass(frozen=True)
class Workers:
    """This process among those of torch.distributed's default group, which must be there already."""

    rank: int
    """Rank of this process, from 0."""
    count: int

    @property
    def part(self) -> slice:
        """This process's examples of each batch."""
        return slice(self.rank, None, self.count)

    def sum(self, *values: Tensor) -> list[Tensor]:
        """Each of some tensors of one number, summed over the processes."""
        together = torch.stack([value.double() for value in values])
        torch.distributed.all_reduce(together)
        return list(together.unbind())

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Sum the gradients that the weights have: the same ones in every process."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view(gradient.shape))
            start += gradient.numel()

    def share_normalisations(self, network: nn.Module) -> None:
        """Let batch normalisations take their statistics of the whole batch.

        Torch can do that on GPUs alone. On the processor each process normalises by its part, and the running
        statistics are averaged once an epoch (:meth:`average_statistics`).
        """
        if next(network.parameters()).device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]

    def average_statistics(self, network: nn.Module) -> None:
        """Average the running statistics over the processes; where they are shared they are equal, and stay."""
        for buffer in network.buffers():
            if buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer /= self.count
