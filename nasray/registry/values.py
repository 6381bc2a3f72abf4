"""Values of a caller's own, as a notebook's dataset, search space or method, under a name that their content makes.

Everything else knows names only: rows, configurations and identities are plain values. A value is kept in this process,
and travels to the processes that need it; a run's folder holds its name, and never the value.
"""

from __future__ import annotations

import contextlib
import dataclasses
import dis
import functools
import hashlib
import inspect
import re
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nasray.errors import InvalidInput

_VALUE = "value:"
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platlib", "purelib")})
_EXAMPLES = ("train", "test", "validation")
"""Fields of a dataset that its digest covers."""
_kept: dict[tuple[str, str], Any] = {}
"""By kind and name."""


def named(kind: str, value: Any) -> Any:
    """The name of a value, under which :func:`nasray.registry.find` gives it; a name is left as it is.

    Args:
        kind: ``space``, ``method`` or ``dataset``.
        value: a search space; a class of a method; a dataset, or a function that gives one.

    Raises:
        InvalidInput: it is neither a name nor such a value.
    """
    if value is None or isinstance(value, str):
        return value
    if not (callable(value) or dataclasses.is_dataclass(value)):
        raise InvalidInput(f"{kind} {value!r:.80}: expected its name, or a {kind} itself")
    name = f"{_VALUE}{_called(value)}-{_digest(value)}"
    _kept[kind, name] = _function_of(value) if kind == "dataset" else value
    return name


def is_value(name: str) -> bool:
    """Whether a name is that of a value."""
    return name.startswith(_VALUE)


def value_of(kind: str, name: str) -> Any:
    """The value behind a name.

    Raises:
        InvalidInput: this process has none of this name.
    """
    if (kind, name) not in _kept:
        raise InvalidInput(
            f"{kind} {name!r} was a value of Python, which is not kept with a run. Define it again, and make the call "
            "again that made the run."
        )
    return _kept[kind, name]


def content_of(name: str) -> str:
    """The digest of a value's content, which its name ends with."""
    return name.rpartition("-")[2]


def values_of(names: Iterable[str]) -> dict[tuple[str, str], Any]:
    """The values among some names, for another process to :func:`keep`."""
    wanted = {name for name in names if is_value(name)}
    return {key: value for key, value in _kept.items() if key[1] in wanted}


def keep(values: Mapping[tuple[str, str], Any]) -> None:
    """Take what :func:`values_of` gave in another process."""
    _kept.update(values)


def _called(value: Any) -> str:
    own = getattr(value, "__name__", None) or getattr(value, "name", None) or type(value).__name__
    return re.sub(r"\W+", "_", str(own))[:60]


def _function_of(value: Any) -> Any:
    """A dataset as the function that gives it, which is what a name of one stands for."""
    if callable(value):
        return value

    def given(root: Any) -> Any:
        return value

    return given


def _digest(value: Any) -> str:
    """Twelve hexadecimal digits of a value's content, the same where a notebook defines it anew."""
    whole = hashlib.sha256()
    for part in _parts(value, (), {}):
        whole.update(f"{len(part)} {part}".encode())
    return whole.hexdigest()[:12]


def _parts(value: Any, within: tuple[int, ...], known: dict[int, int]) -> Iterable[str]:
    """What a value is made of, as texts: plain values, the source of functions and classes, and what those use. What is
    of an installed package counts by its name.

    Args:
        value: that is asked for.
        within: identities of the objects that it is a part of.
        known: the functions and classes that have been told already, numbered.
    """
    if id(value) in within:  # a list that holds itself
        return
    within = (*within, id(value))
    if isinstance(value, types.FunctionType | type):
        if id(value) in known:
            yield f"again {known[id(value)]}"
            return
        known[id(value)] = len(known)
        yield f"{value.__module__}.{value.__qualname__}" if _is_installed(value) else _source(value)
        if not _is_installed(value):
            for name, one in sorted(_used_by(value).items()):
                yield name
                yield from _parts(one, within, known)
    elif dataclasses.is_dataclass(value):
        yield type(value).__qualname__
        own = getattr(value, "digest", None)
        if isinstance(own, str):  # of a dataset: its examples
            yield own
        for field in dataclasses.fields(value):
            if isinstance(own, str) and field.name in _EXAMPLES:
                continue
            yield field.name
            yield from _parts(getattr(value, field.name), within, known)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield repr(key)
            yield from _parts(one, within, known)
    elif isinstance(value, tuple | list):
        yield str(len(value))
        for one in value:
            yield from _parts(one, within, known)
    elif isinstance(value, types.MethodType | functools.partial):
        for one in (value.__func__, value.__self__) if isinstance(value, types.MethodType) else value.__reduce__()[2]:
            yield from _parts(one, within, known)
    elif isinstance(value, types.ModuleType):
        yield value.__name__ if _is_of_a_package(value.__name__) else _source(value)
    elif isinstance(value, types.BuiltinFunctionType):
        yield value.__name__
    elif isinstance(value, str | int | float | bool | None):
        yield repr(value)
    else:  # arrays and tensors among others, by all of their content
        import joblib  # which imports numpy

        try:
            yield str(joblib.hash(value))
        except Exception:  # what it is of may refuse in any way
            yield re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _is_installed(value: types.FunctionType | type) -> bool:
    """Whether a function or class is of nasray, of Python's own library or of an installed package."""
    return _is_of_a_package(value.__module__)


def _is_of_a_package(module: str) -> bool:
    package = module.partition(".")[0]
    if package in ("__main__", "nasray", "search_spaces") or package in sys.stdlib_module_names:
        return package != "__main__"
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and any(Path(file).is_relative_to(place) for place in _INSTALLED)


def _used_by(value: types.FunctionType | type) -> dict[str, Any]:
    """The global and enclosing names that a function, or the functions of a class, use, and a class's bases."""
    if isinstance(value, type):
        used: dict[str, Any] = {f"base {place}": base for place, base in enumerate(value.__bases__)}
        for member in vars(value).values():
            function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if isinstance(function, types.FunctionType):
                used |= _used_by(function)
        return used
    used = dict(zip(value.__code__.co_freevars, (_content(cell) for cell in value.__closure__ or ()), strict=True))
    used["its defaults"] = (value.__defaults__, value.__kwdefaults__)
    for code in _codes(value.__code__):
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in value.__globals__:
                used[step.argval] = value.__globals__[step.argval]
    return used


def _content(cell: types.CellType) -> Any:
    with contextlib.suppress(ValueError):  # it has none yet
        return cell.cell_contents
    return None


def _codes(code: types.CodeType) -> Iterable[types.CodeType]:
    """A function's code, and that of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _source(value: Any) -> str:
    """The source of a function, a class or a module; what it compiles to where it has none, as what was typed into an
    interpreter, or where several may share it, as lambdas of one line."""
    code = getattr(value, "__code__", None)
    with contextlib.suppress(OSError, TypeError):
        source = inspect.getsource(value)
        if getattr(value, "__name__", "") != "<lambda>":
            return source
    if not isinstance(code, types.CodeType):
        return str(getattr(value, "__qualname__", value.__name__))
    plain = [[one for one in each.co_consts if not isinstance(one, types.CodeType)] for each in _codes(code)]
    return " ".join([*(f"{each.co_code.hex()} {each.co_names}" for each in _codes(code)), repr(plain)])
