"""Which operations of a network are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from torch import Tensor, nn

from nasray.networks import cell
from nasray.networks.operations import Operation, Pool


@contextmanager
def executed(network: nn.Module) -> Iterator[list[Operation]]:
    """Every operation that is computed meanwhile, alone or together with others, once for each time."""
    ran: list[Operation] = []
    computed, pooled = cell.together, Pool.on_edges

    def together(operations: Sequence[Operation], x: Tensor, *gates: Sequence[Tensor]) -> Sequence[Tensor]:
        ran.extend(operations)
        return computed(operations, x, *gates)

    def on_edges(operations: Sequence[Pool], x: Tensor) -> list[Tensor]:
        ran.extend(operations)
        return pooled(operations, x)

    operations = [module for module in network.modules() if isinstance(module, Operation)]
    hooks = [module.register_forward_hook(lambda module, *_: ran.append(module)) for module in operations]  # type: ignore
    with mock.patch.object(cell, "together", together), mock.patch.object(Pool, "on_edges", on_edges):
        yield ran
    for hook in hooks:
        hook.remove()
