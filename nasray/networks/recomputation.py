"""Cells of which only what enters them is kept: the rest is computed again, cell by cell, when gradients are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nasray.networks.eager import without_compiler

without_compiler(checkpoint)


def recomputed(module: nn.Module, *arguments: Any, draws: bool) -> Tensor:
    """module(*arguments), run again in the backward pass, by torch's checkpoint.

    Args:
        module: whose batch normalisations see each batch once, though they are run twice.
        arguments: to it.
        draws: whether it draws random numbers, which must then be the same ones again.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _without_statistics(module)

    found = checkpoint(module, *arguments, use_reentrant=False, preserve_rng_state=draws, context_fn=contexts)
    return cast(Tensor, found)


@contextmanager
def _without_statistics(module: nn.Module) -> Iterator[None]:
    """Within it the running statistics of batch normalisations stay as they are: none of a batch counts."""
    norms: list[Any] = [one for one in module.modules() if getattr(one, "num_batches_tracked", None) is not None]
    kept = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
