"""What a run is a run of: a folder holds one thing, and how and where that is run is no part of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from nasray.errors import InvalidInput, shown
from nasray.runs.schema import TABLES
from nasray.runs.storage import Storage

EXECUTION = "execution"
"""Field of a sweep that says where and how it runs, and changes no number: a resumed run may have another."""

_PARTS = (*TABLES, "trials", "phases", "architectures", "population", "population.json", "front.parquet")
"""What a run's folder has beside run.json."""


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of a sweep, as run.json has it, makes it this sweep and no other."""
    return {name: value for name, value in values.items() if name != EXECUTION}


def differences(sweeps: Sequence[Mapping[str, Any]], *, but: Collection[str] = ()) -> dict[str, list[str]]:
    """In what the identities of sweeps differ: paths such as ``settings.epochs`` to the values, in short.

    Args:
        sweeps: as run.json has them.
        but: names, wherever they stand, in which they may differ.
    """
    parts = [dict(_leaves(identity(values), but)) for values in sweeps]
    found = {}
    for path in sorted({path for part in parts for path in part}):
        values = {shown(part[path]) if path in part else "missing" for part in parts}
        if len(values) > 1 or any(part.get(path) != parts[0].get(path) for part in parts):
            found[path] = sorted(values)
    return found


def check_new(storage: Storage) -> None:
    """Refuse a folder that has parts of a run but no run.json: nobody can tell what these are of.

    Raises:
        InvalidInput: it has some.
    """
    if storage.exists("run.json"):
        return
    found = [name for name in _PARTS if storage.exists(name)]
    if found:
        raise InvalidInput(
            f"{storage} has {', '.join(found)} of a run but no run.json, which says of what run they are. Put run.json "
            "back, or choose another folder or --name."
        )


def _leaves(value: Any, but: Collection[str], path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict | list) or not value:
        yield path, value
        return
    if isinstance(value, list):
        value = {str(place): inner for place, inner in enumerate(value)}
    for name, inner in value.items():
        if name not in but:
            yield from _leaves(inner, but, f"{path}.{name}" if path else name)
