"""Temporary files that a process left which was killed while it wrote: who holds a run's lease sweeps them up.

A write goes to a hidden file whose name says which process writes it. That of a process of this machine that has ended
is deleted at once. Of one elsewhere nothing is known, so its file is deleted when nothing was added to it for an hour,
by the file system's own clock: a write takes minutes at the most, also where the storage makes it wait.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator

from pyarrow import ArrowException, fs

from nasray.runs.processes import is_gone
from nasray.runs.storage import OBJECT_STORES, Storage

SILENT_SECONDS = 3600.0
"""A file of another machine's process that did not change for so long is nobody's."""

_NAME = re.compile(r"\.[0-9a-f]{32}(?:\.([0-9a-f]{12}-[0-9]+-[0-9]*))?\.(?:tmp|probe)")


def sweep_up(storage: Storage, *, silent_seconds: float = SILENT_SECONDS) -> int:
    """Delete what killed processes left in a run's folder, and give how many files that were.

    Only for who holds the lease. What fails is left for the next: nothing depends on it.
    """
    if storage.filesystem.type_name in OBJECT_STORES:
        return 0  # an object is there when all of it has arrived
    deleted = 0
    with contextlib.suppress(OSError, ArrowException):
        now: int | None = None
        for path in _hidden(storage):
            match = _NAME.fullmatch(path.rpartition("/")[2])
            gone = None if match is None or match[1] is None else is_gone(match[1])
            if match is None or gone is False:
                continue
            with contextlib.suppress(OSError):
                if gone is None:
                    now = _now(storage) if now is None else now
                    info = storage.filesystem.get_file_info(path)
                    if info.mtime_ns is None or now - info.mtime_ns < silent_seconds * 1e9:
                        continue
                storage.filesystem.delete_file(path)
                deleted += 1
    return deleted


def _hidden(storage: Storage) -> Iterator[str]:
    if isinstance(storage.filesystem, fs.LocalFileSystem):
        # Links are not followed: what is outside of the run's folder is nobody's business.
        for folder, _, names in os.walk(storage.base):
            yield from (f"{folder}/{name}" for name in names if name.startswith("."))
        return
    selector = fs.FileSelector(storage.base, recursive=True, allow_not_found=True)
    for info in storage.filesystem.get_file_info(selector):
        if info.type == fs.FileType.File and info.base_name.startswith("."):
            yield info.path


def _now(storage: Storage) -> int:
    """What time it is for the file system, in nanoseconds: this machine's clock may be another."""
    path = f"{storage.base}/.{uuid.uuid4().hex}.probe"
    try:
        with storage.filesystem.open_output_stream(path) as stream:
            stream.write(b"")
        return int(storage.filesystem.get_file_info(path).mtime_ns or 0)
    finally:
        with contextlib.suppress(OSError):
            storage.filesystem.delete_file(path)
