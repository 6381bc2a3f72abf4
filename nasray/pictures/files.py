"""Pictures as files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nasray.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def rendered(figure: Figure, form: str) -> bytes:
    """A figure as one of the formats."""
    picture = io.BytesIO()
    figure.savefig(picture, format=form)
    return picture.getvalue()


def write_picture(path: str | Path, draw: Callable[[str], bytes]) -> None:
    """Write what `draw` gives for the format that the path's ending asks for.

    InvalidInput: another ending, a path that cannot be written.
    """
    path = Path(path)
    form = path.suffix[1:].lower()
    if form not in FORMATS:
        endings = ", ".join(f".{one}" for one in FORMATS)
        raise InvalidInput(f"picture {path}: expected a file that ends in {endings}")
    picture = draw(form)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    except OSError as error:
        raise InvalidInput(f"picture {path}: cannot be written ({error.strerror})") from error
