"""A cluster that does not let us in is told by its cause; a Ray Client's server that died is asked for again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import ray

from nasray.errors import InvalidInput
from nasray.tune.session import connection as module
from nasray.tune.session.connection import check_address, connection, explained

# What Ray 2.60 raised when it happened.
DIED = "Starting Ray client server failed. See ray_client_server_23001.err for detailed logs."


class Connected:
    dashboard_url = ""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Exception]], list[str]]:
    """Lets Ray raise these, one at every try, before it connects; gives the addresses that were tried."""

    def make(errors: list[Exception]) -> list[str]:
        tried: list[str] = []

        def init(address: str, **_: Any) -> Connected:
            tried.append(address)
            if errors:
                raise errors.pop(0)
            return Connected()

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", init)
        monkeypatch.setattr(ray, "shutdown", lambda: None)
        monkeypatch.setattr(module, "check_address", lambda address: None)
        return tried

    return make


def test_a_client_server_that_died_is_asked_for_again(given: Callable[[list[Exception]], list[str]]) -> None:
    tried = given([RuntimeError(DIED), RuntimeError(DIED)])
    with connection("ray://head:10001", "run"):
        assert tried == ["ray://head:10001"] * 3


def test_not_for_ever(given: Callable[[list[Exception]], list[str]]) -> None:
    tried = given([RuntimeError(DIED) for _ in range(10)])
    with pytest.raises(InvalidInput, match="Starting Ray client server failed"), connection("ray://head:10001", "run"):
        pass
    assert len(tried) == 4


def test_another_error_is_told_at_once(given: Callable[[list[Exception]], list[str]]) -> None:
    tried = given([RuntimeError("versions differ")])
    with pytest.raises(InvalidInput, match="versions differ"), connection("ray://head:10001", "run"):
        pass
    assert len(tried) == 1


@contextmanager
def head(code: grpc.StatusCode | None) -> Iterator[str]:
    """Stands for a cluster's head: answers the first question with a code; None is well."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked.append(dict(context.invocation_metadata()))
        if code is not None:
            context.abort(code, "no")
        return b""

    asked: list[dict[str, str]] = []
    server = grpc.server(ThreadPoolExecutor(1))
    methods = {"GetClusterId": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


def test_a_head_that_answers_is_connected_to() -> None:
    with head(None) as address:
        check_address(address)
    check_address("auto")  # which Ray looks for itself


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("token", "does not accept this token. Put the cluster's own into"),
        (None, "asks for a token. Set RAY_AUTH_MODE=t"),
    ],
)
def test_a_token_that_is_missing_or_wrong_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, mode: str | None, told: str
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with head(grpc.StatusCode.UNAUTHENTICATED) as address, pytest.raises(InvalidInput) as refused:
        check_address(address)
    assert told in str(refused.value)
    assert address in str(refused.value)


def test_what_listens_but_is_no_ray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=r"is not a Ray cluster, or does not answer. Give the address"):
            check_address(address)


VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.9.0
    Python: 3.10.2
This process on node 10.0.0.1 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ConnectionRefusedError(111, "Connection refused"),
            "No Ray cluster answers at address 'a:1' (Connection refused). C",
        ),
        (
            RuntimeError(VERSIONS),
            "another version of Ray or Python than this process (Ray: 2.9.0 Python: 3.10.2 Ray: 2.60.0 Python: 3.11.7)",
        ),
        (ConnectionError("Could not find any running Ray instance. Please"), "No Ray runs on this machine for address"),
        (RuntimeError("Unauthenticated: RPC error: InvalidAuthToken: Authentication token is missing"), "token"),
    ],
)
def test_every_cause_is_one_line_with_its_remedy(error: Exception, told: str) -> None:
    assert told in explained("a:1", error)
    assert "\n" not in explained("a:1", error)
