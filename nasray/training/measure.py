"""Measuring a run: seconds, memory, and the versions and hardware that it ran on."""

from __future__ import annotations

import platform
import re
import socket
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from nasray.errors import InvalidInput


def reset_peak_memory(device: torch.device) -> None:
    """Forget the highest memory use so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    # Linux: 5 resets the process's high-water mark. Elsewhere the mark of the whole process stays.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Highest memory use in bytes since the reset: allocated on the GPU, resident of the process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    import resource

    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def pick_device(name: str = "auto") -> torch.device:
    """The device of a name; ``auto`` is the GPU where there is one.

    Raises:
        InvalidInput: no such device here.
    """
    gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if gpu else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (device.type == "cuda" and not gpu):
        raise InvalidInput(f"device {name!r}: accepted here are auto, cpu{', cuda' if gpu else ''}")
    return device


@cache
def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("nasray", "torch", "torchvision", "numpy", "ray"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def host() -> str:
    """Name of this machine."""
    return socket.gethostname()


def device_name(device: torch.device, threads: int) -> str:
    """Name of the GPU, or of the processor with the number of threads that compute."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {threads} thread{'' if threads == 1 else 's'}"
