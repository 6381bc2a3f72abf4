"""Finding spaces, methods, datasets, operations and sweeps by name.

Everything comes through entry points (groups ``nasray.spaces``, ``nasray.methods``, ``nasray.searchers``,
``nasray.datasets``, ``nasray.operations``, ``nasray.sweeps``): nasray's own parts use the door that a user's package
uses. A name of the form ``path/to/file.py:NAME`` opens the same door without a package.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from nasray.errors import InvalidInput


@cache
def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"nasray.{kind}s")}


def names(kind: str) -> list[str]:
    """The registered names of a kind: ``space``, ``method``, ``dataset``, ``operation``, ``searcher`` or ``sweep``."""
    return sorted(_entries(kind))


def find(kind: str, name: str, expected: type | None = None) -> Any:
    """The object behind a registered name, or behind ``file.py:NAME``.

    Raises:
        InvalidInput: nothing has that name, and the message lists what has; or what has it is not of the type that
            is expected.
    """
    found = _from_file(kind, name) if ".py:" in name else _registered(kind, name)
    if expected is not None and not isinstance(found, expected):
        raise InvalidInput(f"{kind} {name!r} is a {type(found).__name__}: accepted is a {expected.__name__}")
    return found


def _registered(kind: str, name: str) -> Any:
    entries = _entries(kind)
    if name not in entries:
        close = difflib.get_close_matches(name, entries, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InvalidInput(
            f"unknown {kind} {name!r}: {hint}accepted are {', '.join(sorted(entries)) or 'none'}, or FILE.py:NAME"
        )
    return entries[name].load()


def absolute(name: str) -> str:
    """The name with the path of ``file.py:NAME`` made absolute, so that it means the same in every process."""
    if ".py:" not in name:
        return name
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).expanduser().resolve()}:{attribute}"


def _from_file(kind: str, name: str) -> Any:
    path_text, _, attribute = absolute(name).rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise InvalidInput(f"unknown {kind} {name!r}: there is no file {path}")
    # One module a file, under a name of its own: a second look-up gives the same objects, and a user's
    # `types.py` cannot hide the standard library's.
    module_name = f"nasray_user_{hashlib.sha256(path_text.encode()).hexdigest()[:12]}_{path.stem}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    if not hasattr(module, attribute):
        public = sorted(n for n in vars(module) if not n.startswith("_"))
        raise InvalidInput(f"unknown {kind} {name!r}: {path.name} defines {', '.join(public) or 'nothing'}")
    return getattr(module, attribute)
