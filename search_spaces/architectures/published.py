"""Reading the published architectures that lie beside the spaces."""

from __future__ import annotations

import json
from importlib.resources import files

from nasray.spaces import Reference


def references(space: str) -> dict[str, Reference]:
    """The published architectures of a space, from ``SPACE_published.json``, with the figures as printed."""
    text = files(__package__).joinpath(f"{space}_published.json").read_text(encoding="utf-8")
    return {name: Reference(**entry) for name, entry in json.loads(text).items()}
