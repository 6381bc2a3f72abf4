"""Ray's token can be read by its owner alone, before Ray starts."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from nasray.errors import InvalidInput
from nasray.tune.session import token as module
from nasray.tune.session.token import private_token, token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder as many systems make it: others may look in."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "say", lambda level, event, **fields: events.append({"event": event, **fields}))
    return events


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_token_is_its_owners(home: Path, said: list[dict[str, Any]]) -> None:
    private_token("run", create=True)
    file = home / ".ray" / "auth_token"
    assert (mode(file.parent), mode(file)) == (0o700, 0o600)
    assert len(file.read_text()) == 64
    kept = file.read_text()
    private_token("run", create=True)
    assert file.read_text() == kept
    assert said == []


@pytest.mark.parametrize("named", [False, True])
def test_one_that_others_can_read_is_tightened_and_said(
    home: Path, said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir(mode=0o755)
    file.write_text("as Ray leaves it")
    file.chmod(0o644)
    if named:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    private_token("run", create=not named)
    assert mode(file) == 0o600
    assert [event["event"] for event in said] == ["token_was_readable"]


def test_one_that_cannot_be_tightened_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "token"
    file.write_text("x")
    file.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(InvalidInput, match=r"Cannot keep Ray's token private in .*\(Operation not permitted\)"):
        private_token("run", create=True)
    private_token("run", create=False)  # of a cluster that somebody else set up


def test_a_home_that_cannot_be_written_is_named_with_its_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home / "file" / "home"))
    (home / "file").write_text("no folder")
    with pytest.raises(InvalidInput, match="Set RAY_AUTH_TOKEN_PATH to a file") as refused:
        private_token("run", create=True)
    assert "\n" not in str(refused.value)


def test_a_named_file_that_is_missing_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "nothing"))
    with pytest.raises(InvalidInput, match=r"RAY_AUTH_TOKEN_PATH names .*nothing, which does not exist"):
        private_token("run", create=True)


@pytest.mark.parametrize(("name", "value"), [("RAY_AUTH_TOKEN", "x" * 64), ("RAY_AUTH_MODE", "disabled")])
def test_where_no_file_is_used_none_is_made(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    private_token("run", create=True)
    assert not (home / ".ray").exists()


def test_the_token_is_found_as_ray_finds_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_token("run", create=True)
    assert token() is None  # at an address Ray wants to be told that there is one
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert token() == (home / ".ray" / "auth_token").read_text()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    assert token() == "mine"
