"""Checkpoints: states of searches and trainings, as files that tell whether they are whole.

A state is torch's own format behind one line with its SHA-256. A copy that was cut short, by a kill or a full disk, or
whose bits have flipped is recognised before anything of it is used, wherever it lies.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import torch

from nasray.errors import message
from nasray.runs.outcomes import FOLDER, read_outcomes
from nasray.runs.storage import Storage

KEPT = 2
"""Checkpoints of a trial that are kept."""

_HEAD = b"nasray state 1 sha256 "
_SUFFIX = ".state"


class DamagedState(ValueError):
    """A state that is not whole, or none of nasray's: nothing of it may be used."""


def pack(state: dict[str, Any]) -> bytes:
    """A state as bytes."""
    content = io.BytesIO()
    torch.save(state, content)
    return _HEAD + hashlib.sha256(content.getbuffer()).hexdigest().encode() + b"\n" + content.getvalue()


def unpack(data: bytes) -> dict[str, Any]:
    """The state that :func:`pack` was given, on the CPU; nothing in it is executed.

    Raises:
        DamagedState: bytes are missing or changed, or it holds anything but tensors and plain values.
    """
    line, end, content = data[: len(_HEAD) + 65].partition(b"\n")[0], len(_HEAD) + 65, memoryview(data)
    if not line.startswith(_HEAD) or len(line) != end - 1 or data[end - 1 : end] != b"\n":
        raise DamagedState("its first line is not that of a state")
    if hashlib.sha256(content[end:]).hexdigest().encode() != line.removeprefix(_HEAD):
        raise DamagedState("its SHA-256 is another than was written with it")
    try:
        state = torch.load(io.BytesIO(content[end:]), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on other files, and on what it refuses
        raise DamagedState(f"torch cannot read it ({message(error)})") from error
    if not isinstance(state, dict):
        raise DamagedState(f"it holds a {type(state).__name__}, not a state")
    return state


def save_checkpoint(storage: Storage, trial: str, epoch: int, state: dict[str, Any], kept: int | None = None) -> None:
    """Write a trial's state after an epoch, and delete all but the one before: if this one is damaged, that is used.

    Args:
        storage: the run's folder.
        trial: its name.
        epoch: after which the state is.
        state: to write.
        kept: epoch whose checkpoint stays too, for other trials go on from it.
    """
    storage.write_bytes(_file(trial, epoch), pack(state))
    for name in _checkpoints(storage, trial)[KEPT:]:
        if kept is None or name != _file(trial, kept):
            storage.delete(name)


def checkpoint_at(storage: Storage, trial: str, epoch: int) -> bytes:
    """What lies in a trial's checkpoint after an epoch.

    Raises:
        FileNotFoundError: there is none.
    """
    return storage.read_bytes(_file(trial, epoch))


def newest_epoch(storage: Storage, trial: str) -> int:
    """The epoch after which a trial's newest checkpoint is; 0 where it has none."""
    names = _checkpoints(storage, trial)
    return int(names[0].rpartition("/")[2].removesuffix(_SUFFIX)) if names else 0


def newest_checkpoints(storage: Storage, trial: str) -> Iterator[tuple[str, bytes]]:
    """What lies in a trial's checkpoints, from the newest to the oldest.

    Yields:
        A checkpoint's name and its content; what is gone meanwhile is passed over.
    """
    for name in _checkpoints(storage, trial):
        try:
            yield name.rpartition("/")[2], storage.read_bytes(name)
        except FileNotFoundError:
            continue


def drop_checkpoints(storage: Storage, trial: str) -> None:
    """Delete a trial's checkpoints, which nothing needs once its outcome is final."""
    storage.delete_folder(_folder(trial))


def drop_final_checkpoints(storage: Storage) -> None:
    """Delete the checkpoints of all trials that need none: those that are done, were stopped at a rung, or diverged.

    Called when no trial runs. A trial deletes its own, unless it was killed before it could.
    """
    folders = storage.folders(FOLDER)
    for name, outcome in read_outcomes(storage, only=folders).items():
        if outcome.state in ("done", "stopped", "diverged"):
            drop_checkpoints(storage, name)


def _checkpoints(storage: Storage, trial: str) -> list[str]:
    return sorted(storage.list(_folder(trial), _SUFFIX), reverse=True)


def _file(trial: str, epoch: int) -> str:
    return f"{_folder(trial)}/{epoch:06d}{_SUFFIX}"


def _folder(trial: str) -> str:
    return f"{FOLDER}/{trial}"
