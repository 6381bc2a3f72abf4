"""What is typed as an argument and lies somewhere: a run, an architecture; and the shape of an input."""

from __future__ import annotations

import contextlib
import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasray.errors import InvalidInput

if TYPE_CHECKING:
    from nasray.runs import Storage
    from nasray.spaces import Architecture, CellSpace, NetworkSize

RUNS = "runs"
"""Folder of the runs, where none is given."""


def find_run(run: str) -> Storage:
    """A run's folder by its path, its URI or its name.

    Raises:
        InvalidInput: no run lies there.
    """
    from nasray.runs import open_storage

    for place in (run, f"{RUNS}/{run}"):
        storage = open_storage(place)
        if storage.exists("run.json"):
            return storage
    near = difflib.get_close_matches(run.removeprefix(f"{RUNS}/"), open_storage(RUNS).folders(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected a run's folder or URI, or the name of one in {RUNS}/"
    raise InvalidInput(f"no run {run!r:.200}: {hint}")


def find_architecture(space: CellSpace, text: str, storage: str) -> Architecture:
    """An architecture of a space, however it is given.

    Args:
        space: of the architecture.
        text: an architecture in any form that :func:`nasray.spaces.read_architecture` reads, a file of one, or an id.
        storage: folder of the runs in which an id is looked for.

    Raises:
        InvalidInput: it is none of these, or of another space.
    """
    from nasray.spaces import known_forms, parse_architecture, read_architecture

    path = Path(text)
    with contextlib.suppress(OSError):  # a name that is too long for one, or a file that may not be read
        if text not in space.references and "\0" not in text and path.is_file() and path.stat().st_size <= 4_000_000:
            try:
                return read_architecture(space, path.read_text(encoding="utf-8"))
            except UnicodeDecodeError:
                raise InvalidInput(f"{path} is not text: expected an architecture as JSON") from None
    if re.fullmatch(r"[0-9a-f]{12}", text):
        found = row_of(text, storage)
        if found is not None:
            return parse_architecture(space, str(found[0]["architecture"]))
    elif text in space.references or re.search(r"[{|(]", text):
        return read_architecture(space, text)
    near = difflib.get_close_matches(text, space.references, n=1)
    if near:
        raise InvalidInput(f"architecture {text!r:.80} of space {space.name}: did you mean {near[0]}?")
    raise InvalidInput(
        f"architecture {text!r:.80}: expected {', '.join([*known_forms(space), 'a file of JSON'])}, JSON, or the id of "
        f"one in a run below {storage}/"
    )


def row_of(id: str, storage: str) -> tuple[dict[str, Any], Storage] | None:
    """A row of an architecture, a training's before a search's, and the run that has it; None where none has.

    Args:
        id: of the architecture.
        storage: folder of the runs.
    """
    from nasray.runs import load, open_storage

    for run in sorted(Path(storage).glob("*/run.json")):
        for table in ("evaluations", "candidates"):
            rows = load(run.parent, table)
            rows = rows[rows["architecture_id"] == id]
            if len(rows):
                return {str(name): value for name, value in rows.iloc[0].items()}, open_storage(run.parent)
    return None


def size_of_id(text: str, storage: str) -> NetworkSize | None:
    """The size at which an architecture's row was counted; None of what is no id, or where it cannot be told."""
    from nasray.results.row_size import size_of_row

    found = row_of(text, storage) if re.fullmatch(r"[0-9a-f]{12}", text) else None
    if found is None:
        return None
    row, run = found
    with contextlib.suppress(InvalidInput, KeyError, TypeError, ValueError):  # a run of before, or a damaged one
        return size_of_row(row, run.read_json("run.json")["data"])
    return None


def shape_of(text: str) -> tuple[int, ...]:
    """The shape that a text such as ``3x32x32`` means.

    Raises:
        InvalidInput: it is not numbers from 1 up with x between them.
    """
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InvalidInput(f"input {text!r}: expected numbers from 1 up with x between them, as in 3x32x32")
    return tuple(map(int, parts))
