"""Finding spaces, methods, datasets, operations and sweeps by name.

Everything comes through entry points (groups ``nasray.spaces``, ``nasray.methods``, ``nasray.searchers``,
``nasray.datasets``, ``nasray.operations``, ``nasray.sweeps``): nasray's own parts use the door that a user's package
uses. A name of the form ``path/to/file.py:NAME`` opens the same door without a package. A name ``SOURCE:ARGUMENT``,
such as ``folder:images``, is what a source (group ``nasray.dataset_sources``) makes of the argument.
A value of the caller's own, as a dataset or a class of a notebook, is named by :func:`nasray.registry.named`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, overload

from nasray.errors import InvalidInput, reason
from nasray.registry.user_files import digest_of_file, module_of, package_digest, resolved
from nasray.registry.values import content_of, is_value, value_of

KINDS = ("spaces", "methods", "searchers", "datasets", "sweeps", "operations")
_FOLDER = "folder:"
"""What is named so lies in a folder, whose path follows; a question mark ends it."""


@cache
def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"nasray.{kind}s")}


def names(kind: str) -> list[str]:
    """The registered names of a kind: ``space``, ``method``, ``dataset``, ``operation``, ``searcher`` or ``sweep``."""
    return sorted(_entries(kind))


@overload
def listed(kind: None = None) -> dict[str, list[str]]: ...


@overload
def listed(kind: str) -> list[str]: ...


def listed(kind: str | None = None) -> dict[str, list[str]] | list[str]:
    """What there is, by name: nothing is loaded for it.

    Args:
        kind: ``spaces``, ``methods``, ``searchers``, ``datasets``, ``sweeps`` or ``operations``; None is all of them.

    Returns:
        The names of a kind; or, without one, those of every kind.

    Raises:
        InvalidInput: there is no such kind.
    """
    if kind is None:
        return {one: names(one.removesuffix("s")) for one in KINDS}
    if kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(KINDS)}"
        raise InvalidInput(f"list {kind!r:.80}: {hint}")
    return names(kind.removesuffix("s"))


def find(kind: str, name: str, expected: type | None = None) -> Any:
    """The object behind a registered name, ``file.py:NAME``, ``SOURCE:ARGUMENT`` or the name of a value.

    Raises:
        InvalidInput: nothing has that name, and the message lists what has; what has it cannot be loaded; or it is
            not of the type that is expected.
    """
    if is_value(name):
        found = value_of(kind, name)
    elif is_file(name):
        found = _from_file(kind, name)
    elif (source := source_of(kind, name)) is not None:
        found = partial(_registered(f"{kind}_source", source), name.partition(":")[2])
    else:
        found = _registered(kind, name)
    if expected is not None and not isinstance(found, expected):
        raise InvalidInput(f"{kind} {name!r} is a {type(found).__name__}: expected a {expected.__name__}")
    return found


def is_file(name: str) -> bool:
    """Whether a name is ``file.py:NAME`` rather than a registered one."""
    return ".py:" in name


def source_of(kind: str, name: str) -> str | None:
    """The source of a name ``SOURCE:ARGUMENT``; None where it is another kind of name."""
    source, colon, _ = name.partition(":")
    return source if colon and not is_file(name) and source in _entries(f"{kind}_source") else None


def absolute(name: str) -> str:
    """The name with the path of ``file.py:NAME`` or ``folder:PATH`` made absolute, so that it means the same in every
    process."""
    if is_file(name):
        path, _, attribute = name.rpartition(":")
        return f"{resolved(path)}:{attribute}"
    if name.startswith(_FOLDER):
        path, mark, options = name.removeprefix(_FOLDER).partition("?")
        return f"{_FOLDER}{resolved(path)}{mark}{options}"
    return name


def absolute_path(path: str | None) -> str | None:
    """A local path made absolute, and ``~`` the home folder; a URI and None are left as they are."""
    if path is None or "://" in path:
        return path
    return os.path.abspath(os.path.expanduser(path))


def portable(name: str) -> str:
    """The name without the folders of ``file.py:NAME`` or ``folder:PATH``: what tables and identities hold, so that a
    project may move."""
    if name.startswith(_FOLDER) and not is_file(name):
        path, mark, options = name.removeprefix(_FOLDER).partition("?")
        return f"{_FOLDER}{Path(path).name}{mark}{options}"
    return re.split(r"[/\\]", name)[-1] if is_file(name) else name


def among(known: Iterable[str], name: str) -> str:
    """The one of some names whose portable form this is: the file behind a name that a table holds.

    Raises:
        InvalidInput: none of them, or several.
    """
    found = sorted({absolute(one) for one in known if portable(one) == portable(name)})
    if len(found) == 1:
        return found[0]
    if not is_file(name):
        return name
    raise InvalidInput(
        f"{name!r} may be {' or '.join(found)}: give the files different names"
        if found
        else f"{name!r} is a user's own code: give the file that defines it"
    )


def code_files(code: str | Path | Iterable[str | Path] | None) -> tuple[Path, ...]:
    """Files of a user's own code that a caller gives, alone or as ``file.py:NAME``, as absolute paths.

    Raises:
        InvalidInput: one is not there.
    """
    files = [code] if isinstance(code, str | Path) else list(code or ())
    paths = tuple(Path(re.sub(r"(?<=\.py):\w+$", "", str(file))).expanduser().absolute() for file in files)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InvalidInput(f"No file {missing[0]}: code takes the file that defines the run's search space.")
    return paths


def given_by(code: Iterable[Path], name: str) -> str | None:
    """The name ``file.py:NAME`` with the one of some files that is meant: of the same name, or the only one."""
    file, _, attribute = portable(name).rpartition(":")
    files = list(code)
    found = [path for path in files if path.name == file] or files
    return f"{found[0]}:{attribute}" if len(found) == 1 else None


def digest(kind: str, name: str) -> str | None:
    """Twelve hexadecimal digits of the source behind a name; None for nasray's own, which has a version.

    Of ``file.py:NAME`` it is the file as it was loaded, with what it imports from beside it; of a package's name all
    of the package's source.

    Raises:
        InvalidInput: as :func:`find`.
    """
    if is_value(name):
        return content_of(name)
    if is_file(name):
        return digest_of_file(kind, name)
    if (source := source_of(kind, name)) is not None:
        kind, name = f"{kind}_source", source
    _registered(kind, name)
    return package_digest(_entries(kind)[name].module.partition(".")[0])


def _registered(kind: str, name: str) -> Any:
    entries = _entries(kind)
    if name not in entries:
        close = difflib.get_close_matches(name, entries, n=1)
        if kind == "dataset" and os.path.isdir(name):
            raise InvalidInput(f"unknown dataset {name!r}: a folder of images is {_FOLDER}{name}")
        sources = (f"{source}:..." for source in sorted(_entries(f"{kind}_source")))
        known = (
            f"did you mean {close[0]!r}?"
            if close
            else f"expected one of {', '.join([*sorted(entries), *sources])}, or FILE.py:NAME"
        )
        raise InvalidInput(
            f"unknown {kind} {name!r}: {known}"
            if entries
            else f"unknown {kind} {name!r}: nothing is registered as one. Give it as FILE.py:NAME."
        )
    try:
        return entries[name].load()
    except Exception as error:  # somebody's package may be broken in any way
        raise InvalidInput(f"{kind} {name!r} cannot be loaded: {reason(error)}") from error


def _from_file(kind: str, name: str) -> Any:
    module = module_of(kind, name)
    path, _, attribute = name.rpartition(":")
    if not hasattr(module, attribute):
        public = sorted(n for n in vars(module) if not n.startswith("_"))
        close = difflib.get_close_matches(attribute, public, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInput(f"unknown {kind} {name!r}: {hint}{Path(path).name} defines {', '.join(public) or 'nothing'}")
    return getattr(module, attribute)
