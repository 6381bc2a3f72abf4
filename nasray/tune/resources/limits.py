"""What a trial may take of the GPU that it shares with others. Its CPUs are only reserved: how many threads compute is
a setting of what it runs (:mod:`nasray.training.computing`)."""

from __future__ import annotations

import torch

CONTEXT_BYTES = 512 * 2**20
"""What a process keeps on a GPU outside of torch's allocator, at most (our bound): CUDA's context, loaded kernels."""


def limit_gpu_memory(share: float) -> None:
    """Let this process's torch hold no more of the GPU than its share leaves beside what else the process keeps there.

    Without a GPU, and where the whole of one is meant, there is no limit.
    """
    if not torch.cuda.is_available() or not share > 0:
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(memory_fraction(share, total))


def memory_fraction(share: float, total_bytes: int) -> float:
    """The fraction of a GPU's memory that torch's allocator may hold, of a process with a share of the GPU.

    Beside the allocator a process keeps up to :data:`CONTEXT_BYTES`; of a share that is little more than that, half is
    left to the allocator.
    """
    if share >= 1:
        return 1.0
    return max(share - CONTEXT_BYTES / total_bytes, share / 2)


def free_gpu_memory() -> None:
    """Give back what torch's allocator keeps for later, and lift the limit."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0)
