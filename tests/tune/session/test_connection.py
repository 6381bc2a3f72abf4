"""A Ray Client's server that died at its start is asked for again; other errors, and one too many, are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import ray

from nasray.errors import InvalidInput
from nasray.tune.session import connection as module
from nasray.tune.session.connection import connection

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
        monkeypatch.setattr(module, "_answers", lambda address: None)
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
