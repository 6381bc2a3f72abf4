"""The connection to Ray, and what Ray Tune takes from the environment."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from nasray.errors import InvalidInput
from nasray.runs.events import note, say
from nasray.tune.session.interruption import run_interruptibly
from nasray.tune.session.own_ray import own_ray
from nasray.tune.session.token import private_token, token

ANSWER_SECONDS = 10.0
"""How long an address may take to answer. Ray itself would wait for minutes, and then end the process."""


@contextmanager
def connection(address: str | None, run: str, meanwhile: Callable[[], object] = bool) -> Iterator[None]:
    """A connection to Ray: the one there is, the cluster at an address, or a Ray of our own on this machine.

    Args:
        address: of a cluster; None is the environment's RAY_ADDRESS, or a Ray of our own.
        run: name of the run, for events.
        meanwhile: called while a Ray of our own starts, which takes seconds; by default nothing happens.

    Raises:
        InvalidInput: no connection can be made; the message names the cause and its remedy.
    """
    import ray
    from ray.job_config import JobConfig

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    job = JobConfig(metadata={"job_name": f"nasray run {run}"})  # the dashboard's pages of jobs show it
    arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "job_config": job}
    with ExitStack() as session:
        if address == "local":
            note("starting Ray on this machine (about 10 s) ...")
            own = session.enter_context(own_ray(run))
            meanwhile()
            connect = partial(own.connect, **arguments)
        else:
            note(f"connecting to Ray at {address} ...")
            private_token(run, create=False)
            connect = partial(_connect_to, address, run, arguments)
        # Before the own Ray's end, and also where the connection is cut off half-way.
        session.callback(ray.shutdown)
        # In a thread of its own: else Ray replaces Python's handler of SIGTERM, and a signal would wait for Ray.
        context = run_interruptibly(connect)
        _handle_sigterm_in_python()
        if context.dashboard_url:
            note(f"dashboard: http://{context.dashboard_url}")
        yield


def _handle_sigterm_in_python() -> None:
    """Let Python have SIGTERM back: Ray's library has put a handler before it, which prints and aborts."""
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGTERM, handler)


def _connect_to(address: str, run: str, arguments: dict[str, Any]) -> Any:
    # Through a Ray Client, Tune runs on the cluster's head. A driver that is killed must not leave it there for long:
    # the same command, run again, would find it at work.
    os.environ.setdefault("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "5")
    if "://" in address:  # Tune then runs in a process of the cluster's head: that one says how far it is
        arguments = {**arguments, "log_to_driver": True, "runtime_env": {"env_vars": tune_environment()}}
        del arguments["job_config"]  # a Ray Client makes its own, and takes none
    try:
        check_address(address)
        return _init(run, {"address": address, **arguments})
    except InvalidInput:
        raise
    except Exception as error:  # Ray raises plain ones
        raise InvalidInput(explained(address, error)) from None


def check_address(address: str) -> None:
    """Ask the cluster at HOST:PORT whether it lets us in, as Ray does first of all but answers only after many tries.

    Raises:
        OSError: nothing listens there.
        InvalidInput: it does not take the token.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    if "://" in address:
        return
    import grpc

    mine = token()
    metadata = [] if mine is None else [("authorization", f"Bearer {mine}")]
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")
        try:
            ask(b"", metadata=metadata, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise InvalidInput(_of_token(address)) from None
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise InvalidInput(
                    f"What listens at address {address!r} is not a Ray cluster, or does not answer. Give the address "
                    "that `ray start --head` printed, with the port of the cluster and not of its dashboard."
                ) from None


def _of_token(address: str) -> str:
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return (
            f"The cluster at address {address!r} asks for a token. Set RAY_AUTH_MODE=token, and put the cluster's "
            "token into ~/.ray/auth_token (or RAY_AUTH_TOKEN)."
        )
    return (
        f"The cluster at address {address!r} does not accept this token. Put the cluster's own into ~/.ray/auth_token "
        "(or RAY_AUTH_TOKEN, or the file that RAY_AUTH_TOKEN_PATH names)."
    )


def explained(address: str, error: Exception) -> str:
    """Why no connection could be made, with the remedy, in one line."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and isinstance(cause, Exception):
        chain.append(cause)
    text = "\n".join(str(one) for one in chain)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    reason = lines[-1] if lines[0].endswith(":") else lines[0]
    if "Version mismatch" in text or "version mismatch" in text:
        theirs = " ".join(line.strip() for line in text.splitlines() if "Ray:" in line or "Python:" in line)
        return (
            f"The cluster at address {address!r} runs another version of Ray or Python than this process "
            f"({theirs or reason}). Install the cluster's versions here."
        )
    if "authenticat" in text.lower() or "InvalidAuthToken" in text:
        return _of_token(address)
    if "Could not find any running Ray instance" in text:
        return "No Ray runs on this machine for address 'auto'. Start one (ray start --head), or leave --address out."
    if isinstance(error, OSError):
        reason = error.strerror or reason
    return f"No Ray cluster answers at address {address!r} ({reason}). Check the address, and that the cluster runs."


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


@contextmanager
def quiet_tune() -> Iterator[None]:
    """Within it Tune logs errors alone, also in a user's own Ray: what it warns of is how nasray uses it on purpose."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray.air")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logging.ERROR, logger.level))
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def tune_environment() -> dict[str, str]:
    """What Tune reads from the environment of the process in which it runs."""
    return {
        # Its loggers would write the same figures three times over for every trial.
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        # Its other way of printing prints even where it is asked to be silent.
        "RAY_AIR_NEW_OUTPUT": "0",
        # What is measured at the end, and what is refused for its cost, lacks objectives on the way.
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        # Failures are reported in one line; their tracebacks are in the trials' folders.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        # Nothing reads its state: it is written once, at the end, and deleted.
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    }
