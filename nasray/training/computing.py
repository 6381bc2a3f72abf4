"""What a computation may use of the machine, for as long as it runs: threads of the processor, precision of the GPU.

Sums over several threads are added in another order, and rounded multiplications are others: both are settings of a
search or training, so that a trial gives the same numbers whatever it shares its machine with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from nasray.settings import TrainingSettings


@contextlib.contextmanager
def computing(settings: TrainingSettings) -> Iterator[None]:
    """Torch, and the native libraries that are loaded, with the threads and the precision of settings; what they had
    before is put back afterwards."""
    threads, matmul, convolutions = (
        torch.get_num_threads(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )
    rounded = settings.precision == "tf32"
    with _native_threads(settings.threads):
        torch.set_num_threads(settings.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = rounded
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolutions
            torch.set_num_threads(threads)


def _native_threads(threads: int) -> contextlib.AbstractContextManager[object]:
    """OpenMP's, OpenBLAS's and MKL's threads; they stay as they are where threadpoolctl is not installed."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    return threadpool_limits(threads)  # type: ignore[no-any-return]
