"""An S3-compatible server on loopback whose requests can be made to fail: moto's, as a fixture for tests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
SECRET = "canary-7f3a-secret"
"""Of the account: it must never be seen anywhere."""


BEARS = 31
"""So many failing requests of one operation in a row, in six seconds, are more than pyarrow's client bears."""


def nothing_fails(number: int, path: str) -> str | None:
    return None


class ObjectStore:
    """Counts the requests, and lets those fail that ``fails`` names: ``busy`` is answered 503, ``cut`` not at all.

    ``fails`` is given a request's number and path.
    """

    def __init__(self, application: Any) -> None:
        self.application = application
        self.requests = 0
        self.failed = 0
        self.fails: Callable[[int, str], str | None] = nothing_fails
        self.port = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.requests += 1
        failure = self.fails(self.requests, environ["PATH_INFO"])
        if failure is None:
            return self.application(environ, start_response)  # type: ignore[no-any-return]
        self.failed += 1
        if failure == "busy":
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [BUSY]
        start_response("500 Cut", [])  # which nobody hears any more
        environ["werkzeug.socket"].shutdown(2)
        return []

    def uri(self, path: str, more: str = "") -> str:
        """Of a folder; the first part of the path is the bucket."""
        return f"s3://{path}?endpoint_override=127.0.0.1:{self.port}&scheme=http{more}"


@contextmanager
def serving() -> Iterator[ObjectStore]:
    """A server while a block runs, and its account in the environment."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    werkzeug = pytest.importorskip("werkzeug.serving")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = ObjectStore(server.DomainDispatcherApplication(server.create_backend_app))
    listening = werkzeug.make_server("127.0.0.1", 0, store, threaded=True)
    store.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "canary-account")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield store
    listening.shutdown()
    thread.join()


@pytest.fixture(scope="session")
def object_store_server() -> Iterator[ObjectStore]:
    with serving() as store:
        yield store


@pytest.fixture
def object_store(object_store_server: ObjectStore) -> Iterator[ObjectStore]:
    """A server in order, with whatever earlier tests left in other buckets."""
    object_store_server.fails = nothing_fails
    yield object_store_server
    object_store_server.fails = nothing_fails
