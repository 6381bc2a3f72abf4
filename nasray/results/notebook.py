"""How a run shows itself in a notebook."""

from __future__ import annotations

import base64
import html

import pandas as pd

from nasray.errors import printable
from nasray.pictures import front_picture
from nasray.runs.schema import metric_of

_MOST_ROWS = 12


def shown_front(name: str, front: pd.DataFrame) -> str:
    """A run's front as HTML: its first rows as a table, and a picture. What it holds of text is escaped.

    Args:
        name: of the run.
        front: its front; empty where there is none.
    """
    head = f"<p><b>{_escaped(name)}</b>: "
    if not len(front):
        return f"{head}no front yet</p>"
    metric = metric_of(front)
    columns = ("macs", "params", metric.name, f"{metric.name}_std", metric.test_column, "method", "architecture_id")
    there = front[[column for column in columns if column in front.columns]]
    titles = "".join(f"<th>{_escaped(column.replace('_', ' '))}</th>" for column in there.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_escaped(value)}</td>' for value in row)}</tr>"
        for row in there.head(_MOST_ROWS).itertuples(index=False, name=None)
    )
    more = f", of which {_MOST_ROWS} are shown" if len(front) > _MOST_ROWS else ""
    picture = base64.b64encode(front_picture({name: front})).decode("ascii")
    return (
        f"{head}{len(front)} architectures on its front{more}; macs and params in millions</p>"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
        f'<img alt="Front of {_escaped(name)}" style="max-width: 720px; width: 100%" '
        f'src="data:image/png;base64,{picture}">'
    )


def _escaped(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return html.escape(printable(value))
