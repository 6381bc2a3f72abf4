"""Patience with storage that fails for a while.

What fails in a way that may pass is tried again, longer and longer apart; what does not pass by itself (no rights, no
bucket, a full disk) is not. Each further try is a line in the log `nasray`.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from pyarrow import ArrowException

from nasray.errors import InvalidInput, StorageFailure, message

PATIENCE = 120.0
"""Seconds for which a run goes on trying where its storage fails."""

EVENT = "nasray_event"
"""Attribute of a log record: an event's name and its fields."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Of what a local or network file system says, these pass by themselves.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "EINTR", "EIO", "EBUSY", "ESTALE", "ETIMEDOUT", "ENOTCONN", "ECONNRESET", "ECONNABORTED"),
        *("ECONNREFUSED", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENOLCK", "EREMOTEIO", "EPIPE"),
    )
    if hasattr(errno, name)
)
# And of what object stores say, these do not.
_LASTING = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|"
    r"UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|MISSING_AUTHENTICATION|INCOMPLETE_SIGNATURE|PERMISSION_DENIED|UNAUTHENTICATED|"
    r"NOT_FOUND|INVALID_ARGUMENT|HTTP status 4(?!08|29)\d\d|BucketAlreadyOwnedByYou|credentials|"
    r"[Cc]annot (?:create|delete) bucket"
)

_logger = logging.getLogger("nasray")

T = TypeVar("T")


def patiently(act: Callable[[], T], *, what: str, seconds: float) -> T:
    """What an action on storage gives, tried again where the storage fails in a way that may pass.

    Args:
        act: what may be done several times over.
        what: it is, for messages.
        seconds: for how long; the pauses between the tries grow.

    Raises:
        StorageFailure: it failed for so long, or for a reason that does not pass by itself, such as a full disk.
        FileNotFoundError: as the action says.
    """
    begun, wait = time.monotonic(), _FIRST_WAIT
    while True:
        try:
            return act()
        except (FileNotFoundError, InvalidInput, StorageFailure):
            raise
        except (OSError, ArrowException) as error:
            left = seconds - (time.monotonic() - begun)
            if not _may_pass(error) or left <= 0:
                full = "; the storage is full: the same command goes on once there is room" if _is_full(error) else ""
                raise StorageFailure(f"cannot {what} ({message(error)}){full}") from error
            pause = min(wait, left)
            fields = {
                "what": what,
                "reason": message(error),
                "again_in": f"{pause:.3g} s",
                "left": f"{left:.3g} s",
            }
            told = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())
            _logger.warning("event=storage_retried %s", told, extra={EVENT: ("storage_retried", fields)})
        time.sleep(pause)
        wait = min(2 * wait, _LONGEST_WAIT)


def _is_full(error: BaseException) -> bool:
    return getattr(error, "errno", None) in _FULL


def _may_pass(error: OSError | ArrowException) -> bool:
    if isinstance(error, PermissionError) or _is_full(error):
        return False
    if getattr(error, "errno", None) is not None:
        return error.errno in _PASSING
    # Object stores raise plain OSErrors: what is not known to last may pass.
    return isinstance(error, OSError) and not _LASTING.search(str(error))
