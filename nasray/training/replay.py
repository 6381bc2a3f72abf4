"""Steps of training that a GPU replays: what one of them launched is launched again at once, on other examples.

A step of a search launches ten thousand kernels and more, most of which a GPU computes faster than Python launches
them. CUDA graphs hold all launches of a step, with the memory that they work on, as one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from nasray.networks import Batch


class Replay:
    """The steps of one epoch, which compute the same on other numbers.

    The first is made as it is, which also settles what torch chooses when it first meets a shape; the second is
    captured; it and all others are replayed. Nothing that a step does in Python beside launching lasts, and what it
    takes from Python, such as a learning rate, stays as it was: so that an epoch has a replay of its own.

    Args:
        step: makes a step with batches, each of which may be None.
        enabled: whether to replay; else every step is made as it is.
    """

    def __init__(self, step: Callable[..., None], enabled: bool) -> None:
        self._step, self._enabled = step, enabled
        self._shapes: list[tuple[torch.Size, torch.Size] | None] | None = None
        self._inputs: tuple[Batch | None, ...] = ()
        self._launch: Callable[[], None] | None = None

    def __call__(self, *batches: Batch | None) -> None:
        """Make one step."""
        shapes = [None if batch is None else (batch[0].shape, batch[1].shape) for batch in batches]
        if not self._enabled or shapes != self._shapes:
            self._shapes, self._launch = shapes, None
            self._step(*batches)
            return
        if self._launch is None:
            self._inputs = tuple(None if one is None else (one[0].clone(), one[1].clone()) for one in batches)
            self._launch = captured(lambda: self._step(*self._inputs))
        else:
            for held, given in zip(self._inputs, batches, strict=True):
                if held is not None and given is not None:
                    held[0].copy_(given[0])
                    held[1].copy_(given[1])
        self._launch()


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """What launches again all that some work launches on this process's GPU; the work itself is not done yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
