"""Searchers by their names."""

from __future__ import annotations

from nasray import registry
from nasray.errors import InvalidInput
from nasray.searchers.searcher import Searcher


def find_searcher(name: str) -> type[Searcher]:
    """A searcher's class by its name.

    Raises:
        InvalidInput: there is nothing of that name, or it is not a searcher.
    """
    found = registry.find("searcher", name)
    if not _is_class(found):
        raise InvalidInput(f"{name!r} is not a searcher: make it a subclass of nasray.searchers.Searcher.")
    return found  # type: ignore[no-any-return]


def is_searcher(name: str) -> bool:
    """Whether a name is a searcher's rather than a method's."""
    if ".py:" in name:
        return _is_class(registry.find("searcher", name))
    return name in registry.names("searcher")


def _is_class(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Searcher)
