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

from nasray.errors import InvalidInput, shown


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
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    # Of other kinds neither memory nor time is measured, and no random state is saved; on meta nothing is computed.
    accepted = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{index}" for index in range(gpus))]
    if name not in accepted:
        raise InvalidInput(
            f"device {shown(name)}: nasray runs on processors and CUDA GPUs; give {', '.join(['auto', *accepted])}"
        )
    return torch.device(name)


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
