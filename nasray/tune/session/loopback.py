"""A Ray of our own that nobody else can reach: all of its processes listen on the loopback interface alone.

Ray lets its processes listen on every interface, for other nodes to join, unless the node's address is a loopback one;
and it replaces such an address by the machine's own, except where Ray clusters are switched off, as they are by default
on macOS and Windows. The switch has the name of these, and works on Linux too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""In the environment; Ray reads it when it is imported, and so do the processes that it starts."""


@contextmanager
def loopback_only() -> Iterator[None]:
    """Inside, ``ray.init(address="local")`` starts a Ray that listens on loopback alone.

    Where the environment has the switch, what it says holds.
    """
    if SWITCH in os.environ:
        yield
        return
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[SWITCH], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        del os.environ[SWITCH]
        ray_constants.ENABLE_RAY_CLUSTER = before
