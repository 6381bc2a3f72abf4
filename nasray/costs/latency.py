"""Latency: how long a network takes over one batch, measured.

Multiply-adds are a network's own; latency is also the machine's, the batch's and the number of threads', and varies
from run to run. So it is the median of repeated runs, with the quartiles, and with what it was measured on.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from nasray.errors import InvalidInput
from nasray.networks import Network, target_network
from nasray.spaces import Architecture, CellSpace, NetworkSize


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What was measured, and on what."""

    median_ms: float
    low_ms: float
    """The lower quartile."""
    high_ms: float
    """The upper quartile."""
    repeats: int
    """Runs that were timed, those of the warm-up not among them."""
    batch: int
    """Examples that go through the network at once."""
    threads: int
    """Number of processor threads."""
    device: str
    """Name of the GPU, or of the processor."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How often a network is run; the numbers are our choice, two seconds for most networks."""

    warm_up_runs: int = 5
    warm_up_seconds: float = 0.3
    """The warm-up lasts for at least this many runs and seconds: libraries have chosen their kernels then, and
    processors their clock."""
    least_runs: int = 20
    least_seconds: float = 1.5
    """At least this many runs and seconds are timed."""
    most_runs: int = 1000
    most_seconds: float = 30.0
    """Neither lasts for more runs or, by more than one run, for more seconds."""


def architecture_latency(
    space: CellSpace,
    architecture: Architecture,
    size: NetworkSize,
    *,
    batch: int = 1,
    threads: int | None = None,
    device: str | torch.device = "cpu",
    repeats: Repeats | None = None,
) -> Latency:
    """Latency of an architecture's target network at a size, with random weights. The caller's random state is left
    alone.

    Args:
        space: of the architecture.
        architecture: what is built.
        size: at which it is built.
        batch: examples that go through the network at once.
        threads: of the processor; None is as many as torch uses now.
        device: a processor or a CUDA GPU.
        repeats: how often it is run; None is the defaults.

    Raises:
        InvalidInput: the architecture fixes another number of cells, ``batch`` or ``threads`` are below 1, or there is
            no such device.
    """
    _check_device(device)
    with torch.random.fork_rng(devices=[]):
        network = target_network(space, architecture, size)
    return network_latency(network.to(device), size.input_shape, batch=batch, threads=threads, repeats=repeats)


def network_latency(
    network: Network,
    input_shape: tuple[int, ...],
    *,
    batch: int = 1,
    threads: int | None = None,
    repeats: Repeats | None = None,
) -> Latency:
    """Latency of a network in evaluation mode, without gradients, where it is.

    Its mode and the number of threads are put back afterwards. Other work on the machine slows it: the quartiles show
    how much.

    Args:
        network: as :func:`nasray.networks.target_network` builds it.
        input_shape: (channels, height, width).
        batch: examples that go through the network at once.
        threads: of the processor; None is as many as torch uses now.
        repeats: how often it is run; None is the defaults.

    Raises:
        InvalidInput: ``batch`` or ``threads`` are below 1, or the network is on another device than a processor or a
            CUDA GPU.
    """
    threads_before, was_training = torch.get_num_threads(), network.training
    threads = threads_before if threads is None else threads
    for name, value in (("batch", batch), ("threads", threads)):
        if value < 1:
            raise InvalidInput(f"{name} {value} of a latency: expected a whole number from 1 up")
    device = next(network.parameters()).device
    _check_device(device)
    x_NCHW = torch.rand(batch, *input_shape, generator=torch.Generator().manual_seed(0))
    x_NCHW = x_NCHW.to(device).contiguous(memory_format=torch.channels_last)
    timed = partial(_on_gpu, torch.cuda.current_stream(device)) if device.type == "cuda" else _on_host
    network.eval()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            milliseconds = repeated(partial(timed, partial(network, x_NCHW)), repeats or Repeats())
    finally:
        torch.set_num_threads(threads_before)
        network.train(was_training)
    low, median, high = (float(value) for value in np.percentile(milliseconds, [25, 50, 75]))
    return Latency(
        median_ms=median,
        low_ms=low,
        high_ms=high,
        repeats=len(milliseconds),
        batch=batch,
        threads=threads,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
    )


def repeated(timed: Callable[[], float], repeats: Repeats) -> list[float]:
    """Milliseconds of each run after the warm-up.

    Args:
        timed: runs once, and gives how long it took (ms).
        repeats: how often.
    """
    _many(timed, repeats.warm_up_runs, repeats.warm_up_seconds, repeats)
    return _many(timed, repeats.least_runs, repeats.least_seconds, repeats)


def _many(timed: Callable[[], float], runs: int, seconds: float, repeats: Repeats) -> list[float]:
    taken = [timed()]
    passed = taken[0]
    while (len(taken) < runs or passed < 1e3 * seconds) and (
        len(taken) < repeats.most_runs and passed < 1e3 * repeats.most_seconds
    ):
        taken.append(timed())
        passed += taken[-1]
    return taken


def _check_device(device: str | torch.device) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    # On the meta device nothing runs; others return before they are done, and their clocks are not read here.
    if kind != "cpu" and not (kind == "cuda" and torch.cuda.is_available()):
        raise InvalidInput(
            f"device {str(device)!r} of a latency: it is measured on cpu{', cuda' if torch.cuda.is_available() else ''}"
        )


def _on_host(run: Callable[[], object]) -> float:
    began = perf_counter()
    run()
    return 1e3 * (perf_counter() - began)


def _on_gpu(stream: torch.cuda.Stream, run: Callable[[], object]) -> float:
    # The time that the host takes to launch the kernels is in it, where the GPU waits for them.
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    stream.synchronize()
    began.record(stream)
    run()
    ended.record(stream)
    ended.synchronize()
    return float(began.elapsed_time(ended))


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else f"{platform.machine()} CPU"
