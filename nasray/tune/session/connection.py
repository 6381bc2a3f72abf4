"""The connection to Ray, and what Ray Tune takes from the environment."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from nasray.errors import InvalidInput
from nasray.runs.events import say
from nasray.tune.session.loopback import loopback_only
from nasray.tune.session.stopping import handlers_kept


def _answers(address: str) -> None:
    """Raise OSError where nothing listens at a host and port: Ray would wait for minutes, and then end the process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def connection(address: str | None, run: str) -> Iterator[None]:
    """A connection to Ray: the one there is, the cluster at an address, or a Ray of our own on this machine."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # Through a Ray Client, Tune runs on the cluster's head. A driver that is killed must not leave it there for long:
    # the same command, run again, would find it at work.
    os.environ.setdefault("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "5")
    # A sweep's objects are small: the store takes what its smallest size is, not a third of the memory.
    own: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": True} if address == "local" else {}
    try:
        _answers(address)
        if "://" in address:  # Tune then runs in a process of the cluster's head: that one says how far it is
            own = {"log_to_driver": True, "runtime_env": {"env_vars": tune_environment()}}
        with handlers_kept(), loopback_only() if address == "local" else nullcontext():
            context = _init(run, {"address": address, "log_to_driver": False, "logging_level": logging.ERROR, **own})
    except Exception as error:  # Ray raises plain ones where a process of its own does not come up
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = lines[-1] if lines[0].endswith(":") else lines[0]
        raise InvalidInput(f"address {address!r} ({reason}): accepted is that of a running Ray cluster") from None
    if context.dashboard_url:
        print(f"dashboard: http://{context.dashboard_url}", file=sys.stderr)
    try:
        yield
    finally:
        ray.shutdown()


def _init(run: str, arguments: dict[str, Any], tries: int = 4) -> Any:
    """Connect to Ray; where the server that a Ray Client is given has died at its start, to another one.

    The head forks it beside threads that gRPC holds locks in, so that now and then it is dead at once and Ray waits for
    it in vain (ray-project/ray#63202). GRPC_ENABLE_FORK_SUPPORT=0 in the head's environment keeps that from happening.
    """
    import ray

    for left in reversed(range(tries)):
        try:
            return ray.init(**arguments)
        except RuntimeError as error:
            if left == 0 or "Starting Ray client server failed" not in str(error):
                raise
            say("warning", "ray_client_tried_again", run=run, address=arguments["address"], tries_left=left)
    raise AssertionError


def tune_environment() -> dict[str, str]:
    """What Tune reads from the environment of the process in which it runs."""
    return {
        # Its loggers would write the same figures three times over for every trial.
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        # Its other way of printing says things even where it is told to say nothing.
        "RAY_AIR_NEW_OUTPUT": "0",
        # What is measured at the end, and what is refused for its cost, lacks objectives on the way.
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        # Failures are said in one line; their tracebacks are in the trials' folders.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        # Ctrl-C comes to us as SIGTERM does (stopping.py).
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # That every second checkpoint writes Tune's state is what makes a driver's end cheap.
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
