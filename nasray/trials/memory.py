"""Which memory an error says was short."""

from __future__ import annotations

from typing import Literal

import torch

Memory = Literal["gpu", "host"]

_SHORT_OF_GPU = ("torch.OutOfMemoryError", "CUDA out of memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
_SHORT_OF_HOST = (
    "DefaultCPUAllocator: can't allocate",
    "\nMemoryError",
    "OutOfMemoryError",
    "node running low on memory",
)
"""What errors say for want of memory that have no class of their own, and what Ray's memory monitor says of a kill."""


def short_of_memory(error: BaseException | str) -> Memory | None:
    """The memory that was short: the GPU's, or the node's; None where the error says nothing of it.

    Args:
        error: an error, or the text of one that another process raised.
    """
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in _SHORT_OF_GPU):
        return "gpu"
    return "host" if isinstance(error, MemoryError) or any(sign in text for sign in _SHORT_OF_HOST) else None
