"""Code in a user's own files: loaded once in a process, told from other code by a digest, blamed for its own failures.

What a file imports from beside it is found too, and belongs to it alone: the folder is a package of its own, whatever
else on this machine has the same names. ``sys.path`` stays as it is, and the standard library comes first.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

from nasray.errors import InvalidInput, reason

_OURS = ("nasray", "search_spaces")
_PREFIX = "nasray_user_"
_PACKAGE = re.compile(rf"{_PREFIX}[0-9a-f]+")


def digest_of_file(kind: str, name: str) -> str:
    """The digest of a user's file as it was loaded, with what it imports from beside it.

    Raises:
        InvalidInput: there is no such file, or it cannot be loaded.
    """
    return str(vars(module_of(kind, name))["__nasray_digest__"])


def resolved(path: str) -> Path:
    """A path made absolute.

    Raises:
        InvalidInput: it cannot be.
    """
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, no home folder, a NUL
        raise InvalidInput(f"file {path!r:.80} cannot be found: {reason(error)}") from None


def module_of(kind: str, name: str) -> types.ModuleType:
    """The module of a user's file, loaded once in a process.

    Raises:
        InvalidInput: there is no such file, or it cannot be loaded.
    """
    path = resolved(name.rpartition(":")[0])
    if not path.is_file():
        raise InvalidInput(f"unknown {kind} {name!r}: there is no file {path}")
    package = _package(path.parent)
    stem = path.stem if path.stem.isidentifier() else f"_{hashlib.sha256(path.stem.encode()).hexdigest()[:8]}"
    module_name = f"{package}.{stem}"
    known = sys.modules.get(module_name)
    if known is not None and "__nasray_digest__" in vars(known):
        return known
    before = set(sys.modules)
    try:
        module = known or _load(module_name, path)
        vars(module)["__nasray_digest__"] = _digest_of(_sources(path))
    except (Exception, SystemExit) as error:
        if is_of_a_signal(error):
            raise
        # None of what it began to import stays, so that it can be put right in the same process.
        for one in set(sys.modules) - before:
            if one.startswith(f"{package}."):
                del sys.modules[one]
        raise InvalidInput(f"{kind} {name!r} cannot be loaded: {own_failure(error) or reason(error)}") from error
    return module


def _load(module_name: str, path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(module_name, path, loader=_Loader(module_name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _package(folder: Path) -> str:
    """The name of the package that stands for a folder of a user's."""
    name = f"{_PREFIX}{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    if name not in sys.modules:
        package = types.ModuleType(name, f"What lies in {folder}.")
        package.__path__ = [str(folder)]
        package.__spec__ = ModuleSpec(name, None, is_package=True)
        sys.modules[name] = package
        if not any(isinstance(one, _Finder) for one in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
    return name


class _Finder(MetaPathFinder):
    """Finds the modules of those packages; others are left to Python's own finders."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Called by Python's import."""
        if not fullname.startswith(_PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Gives a module an ``import`` that looks beside it, also where functions import later."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Called by Python's import."""
        package = module.__name__.partition(".")[0]
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import_of(package)}
        super().exec_module(module)


def _import_of(package: str) -> Callable[..., types.ModuleType]:
    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> types.ModuleType:
        top = name.partition(".")[0]
        if level or not _beside(sys.modules[package].__path__[0], top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        importlib.import_module(f"{package}.{name}")
        if fromlist:
            return builtins.__import__(f"{package}.{name}", globals, locals, fromlist, 0)
        return sys.modules[f"{package}.{top}"]

    return import_


@cache
def _beside(folder: str, name: str) -> bool:
    """Whether a module of that name lies in a folder and is meant: not one of the standard library's or of ours, and
    a folder without ``__init__.py`` only where nothing else has its name."""
    if name in sys.stdlib_module_names or name in _OURS:
        return False
    found = PathFinder.find_spec(name, [folder])
    if found is None or found.origin is not None:
        return found is not None
    return PathFinder.find_spec(name) is None


def _sources(path: Path) -> dict[str, bytes]:
    """A file, and what it and they import from beside it, by their names in the folder."""
    folder, found, left = path.parent, dict[str, bytes](), [path]
    while left:
        one = left.pop()
        name = one.relative_to(folder).as_posix()
        if name in found:
            continue
        found[name] = one.read_bytes()
        for imported in _imported(found[name], depth=name.count("/") + 1):
            if imported.isidentifier() and _beside(str(folder), imported):
                if (folder / imported).is_dir():
                    left += _python_files(folder / imported)
                elif (folder / f"{imported}.py").is_file():
                    left.append(folder / f"{imported}.py")
    return found


def _imported(source: bytes, depth: int) -> Iterator[str]:
    """First names of a source's absolute imports, and of its relative ones with `depth` dots."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return  # of a neighbour that is never reached
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level in (0, depth):
            yield from [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]


@cache
def package_digest(name: str) -> str | None:
    """The digest of a package's source; None for nasray's own, which has a version."""
    spec = None if name in _OURS else importlib.util.find_spec(name)
    if spec is None:
        return None
    if not spec.submodule_search_locations:
        return _digest_of({name: Path(spec.origin).read_bytes()}) if spec.origin else None
    folder = Path(spec.submodule_search_locations[0])
    return _digest_of({one.relative_to(folder).as_posix(): one.read_bytes() for one in _python_files(folder)})


def _python_files(folder: Path) -> list[Path]:
    return [one for one in sorted(folder.rglob("*.py")) if one.is_file()]


def _digest_of(sources: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, content in sorted(sources.items()):
        # However git writes the ends of lines.
        content = content.replace(b"\r\n", b"\n")
        whole.update(f"{name}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()[:12]


def _is_a_users(path: Path) -> bool:
    folders = [vars(module)["__path__"][0] for name, module in list(sys.modules.items()) if _PACKAGE.fullmatch(name)]
    return any(path.is_relative_to(folder) for folder in folders)


def own_failure(error: BaseException) -> str | None:
    """File and line of a user's own at which an error came up, and what it is, in one line; None where it is ours."""
    if isinstance(error, SyntaxError) and error.filename and _is_a_users(Path(error.filename)):
        return f"{Path(error.filename).name}, line {error.lineno}: {reason(error)}"
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).startswith(_PREFIX):
            place = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return None if place is None else f"{place}: {reason(error)}"


def is_of_a_signal(error: BaseException) -> bool:
    """Whether it is the SystemExit of a signal's handler, which came while a user's code ran: Ray's or the command
    line's, for a process that is to end."""
    if not isinstance(error, SystemExit):
        return False
    *_, (raised_in, _) = traceback.walk_tb(error.__traceback__)
    return str(raised_in.f_globals.get("__name__")).partition(".")[0] in ("ray", "nasray")
