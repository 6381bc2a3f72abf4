"""Which memory an error says was short."""

from __future__ import annotations

import pytest
import torch
from ray.exceptions import OutOfMemoryError, RayActorError

from nasray.trials.memory import short_of_memory


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "gpu"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "gpu"),
        (RuntimeError("CUDA error: out of memory"), "gpu"),
        (MemoryError(), "host"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "host"),
        (RuntimeError("the disk is on fire"), None),
        (RayActorError(error_msg="The actor died\ntorch.OutOfMemoryError: CUDA out of memory"), "gpu"),
        (OutOfMemoryError("Task was killed due to the node running low on memory."), "host"),
    ],
)
def test_which_memory_was_short(error: Exception, memory: str | None) -> None:
    assert short_of_memory(error) == memory
    if not isinstance(error, MemoryError):  # which says nothing
        assert short_of_memory(str(error)) == memory or isinstance(error, torch.OutOfMemoryError)
