"""The page of a report: what was gathered, packed with Plotly and a small script into one file that needs no network.

What comes from runs is text to the page and never part of it: words are escaped where they stand in HTML, and all
figures lie packed (gzip, base64) in elements that no browser runs. The page itself forbids its browser to ask any
address.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from nasray.errors import InvalidInput, printable
from nasray.pictures.report.facts import Facts

_SCRIPT = ("rows", "filters", "front", "table", "cells", "figures", "importance", "controls")
"""Files of the page's script, which is one function: each knows the names of those before it."""


def page(
    title: str, figures: Mapping[str, Any], runs: Sequence[tuple[str, Facts, Facts, str]], notes: Sequence[str]
) -> str:
    """The whole page as HTML.

    Args:
        title: of the report.
        figures: what the script draws, as JSON has it.
        runs: of each its name, facts, commands and settings.
        notes: what a reader has to know, a sentence each.

    Raises:
        InvalidInput: Plotly is not installed.
    """
    parts = {
        "title": _text(title),
        "style": _own("page.css"),
        "runs": "\n".join(_run(*run) for run in runs),
        "notes": "\n".join(f"<li>{_text(note)}</li>" for note in notes),
        "figures": packed(json.dumps(figures, allow_nan=False, separators=(",", ":"))),
        "plotly": packed(plotly_script()),
        "script": "\n".join(_own(f"script/{name}.js") for name in _SCRIPT),
    }
    # In one pass: what was put in is never looked through for names of parts.
    pieces = _own("page.html").split("{{")
    return pieces[0] + "".join(parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces[1:]))


def packed(text: str) -> str:
    """A text as gzip in base64: a third of the bytes, and nothing that HTML takes for its own."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


def plotly_script() -> str:
    """Plotly's own script, out of its Python package, which is not imported for it.

    Raises:
        InvalidInput: it is not installed.
    """
    try:
        return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        raise InvalidInput("The report needs plotly, which is not installed: pip install plotly.") from None


def _own(name: str) -> str:
    return (files("nasray.pictures.report") / name).read_text(encoding="utf-8")


def _run(name: str, facts: Facts, commands: Facts, settings: str) -> str:
    told = "".join(f"<dt>{_text(term)}</dt><dd>{_text(said)}</dd>" for term, said in facts)
    typed = "".join(f"<dt>{_text(term)}</dt><dd><code>{_text(said)}</code></dd>" for term, said in commands)
    return (
        f"<article><h3>{_text(name)}</h3><dl>{told}</dl><h4>Commands</h4><dl>{typed}</dl>"
        f"<details><summary>All settings</summary><pre tabindex='0'>{html.escape(settings)}</pre></details></article>"
    )


def _text(text: str) -> str:
    return html.escape(printable(text))
