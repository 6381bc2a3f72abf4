"""Which processes are alive, as far as one on this machine can tell."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from functools import cache
from pathlib import Path


def here() -> str:
    """What names this machine's boot and its namespace of processes, so that containers can be distinguished."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode()}"


def start_of(pid: int) -> str | None:
    """When a process of this machine started, as text that no later one of the same id has; None if it is gone."""
    try:
        # After the name, which may hold anything, come the state (Z is dead, but not yet asked for) and 19 more.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if Path("/proc/self").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return ""
    return ""


def signature() -> str:
    """This process as a part of a file's name: digest of where process ids mean the same, id, start."""
    return _signature(os.getpid())


def is_gone(signature: str) -> bool | None:
    """Whether the process of a signature has ended; None where this machine cannot tell."""
    place, pid, start = signature.split("-")
    if place != _place():
        return None
    return start_of(int(pid)) != start


@cache
def _signature(pid: int) -> str:
    return f"{_place()}-{pid}-{start_of(pid) or ''}"


@cache
def _place() -> str:
    return hashlib.sha256(here().encode()).hexdigest()[:12]
