"""Ray's authentication token is its owner's alone.

Ray writes ``~/.ray/auth_token`` with the permissions that the process happens to have, by which on many systems every
local user can read it; whoever has the token runs code as its owner. So the file is made here, before Ray would.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from nasray.errors import InvalidInput
from nasray.runs.events import say

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Permissions of everybody but the owner."""


def private_token(run: str, *, create: bool) -> None:
    """See to it that the token which Ray will use can be read by its owner alone.

    Nothing is done where the environment gives the token itself (RAY_AUTH_TOKEN) or switches authentication off.

    Args:
        run: name of the run, for events: a file that others could read is tightened, with a warning.
        create: make a token where there is none, as Ray would.

    Raises:
        InvalidInput: a Ray of our own needs the file, and it can neither be made nor tightened.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"
    try:
        if not named and (create or path.parent.exists()):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _tighten(path.parent)
        if path.exists():
            if _tighten(path):
                say(
                    "warning",
                    "token_was_readable",
                    run=run,
                    path=path,
                    reason="other users could read Ray's token; they no longer can",
                    then="make a new one (ray get-auth-token --generate) if you do not trust them",
                )
        elif create and not named:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
    except FileExistsError:  # another driver has made it at the same moment
        return
    except OSError as error:
        if not create:  # a cluster's own, in a read-only mount of a container say: whoever made that answers for it
            return
        raise InvalidInput(
            f"Cannot keep Ray's token private in {path} ({error.strerror or error}). Set RAY_AUTH_TOKEN_PATH to a file "
            "that holds a token and that only you can read (chmod 600), or RAY_AUTH_TOKEN to the token itself."
        ) from None
    if named and not path.exists():
        raise InvalidInput(
            f"RAY_AUTH_TOKEN_PATH names {path}, which does not exist. Put a token there "
            f"(python -c 'import secrets; print(secrets.token_hex(32))' > {path}; chmod 600 {path})."
        )


def token() -> str | None:
    """The token that Ray would use; None where there is none, or authentication is off."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return None
    if given := os.environ.get("RAY_AUTH_TOKEN"):
        return given.strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        return (Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _tighten(path: Path) -> bool:
    """Take a file or folder from others; whether they had it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        path.chmod(mode & ~OTHERS)
    return bool(mode & OTHERS)
