"""What ``nasray front`` says and draws: the front across runs, and published architectures beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    import pandas as pd

    from nasray.results import Storage
    from nasray.results.across import Across


@dataclass(frozen=True, kw_only=True)
class FrontOptions:
    """Which front, and how it is shown."""

    budget: float | None = None
    """Largest multiply-adds, in M."""
    table: Literal["evaluations", "candidates"] | None = None
    """Which kind of accuracy; None is trained from scratch where the runs have it."""
    plot: str | None = None
    """Draw it to a .png, .svg or .pdf file."""
    references: tuple[str, ...] = ()
    """Published architectures to show beside it, by name, or ``all``: their accuracy is on the test split."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print it as JSON."""


def lines(runs: Mapping[str, Storage], options: FrontOptions) -> Iterator[str]:
    """Draw the front of runs where that is asked for, and tell it line by line.

    Raises:
        InvalidInput: rows that do not compare, a file that cannot be written, a reference that is not known.
    """
    from nasray.results.across import front_across
    from nasray.results.plots import plot_front

    found = front_across(runs, budget=options.budget, table=options.table)
    references = _references(options.references, found) if options.references else None
    if options.plot is not None:
        plot_front(found.fronts, options.plot, points=found.rows, references=references)
    if options.json:
        yield json.dumps(
            {
                "kind": found.kind,
                "reference": {"macs": found.reference[0], "accuracy": found.reference[1]},
                "hypervolume": found.hypervolume,
                "front": _records(found.front),
                **({} if references is None else {"references": _records(references)}),
            }
        )
        return
    columns = ["macs", "params", "accuracy", "accuracy_std", "test_accuracy", "architecture_id", "method", "run"]
    yield front_table(found.front, columns)
    yield f"accuracy: {found.kind}"
    yield hypervolume_line(found.hypervolume, found.reference)
    if references is not None:
        yield "published (test split, trained by others; multiply-adds counted at the published size):"
        yield front_table(references, ["macs", "accuracy", "accuracy_std", "name", "source"])


def front_table(front: pd.DataFrame, columns: Sequence[str]) -> str:
    """Those of the columns that a front has, as text."""
    if not len(front):
        return "the front is empty"
    shown = [column for column in columns if column in front.columns]
    return front[shown].to_string(index=False, formatters=dict.fromkeys(["macs", "params"], "{:.4g}".format))


def hypervolume_line(volume: float, reference: tuple[float, float]) -> str:
    """A hypervolume with its reference point."""
    return f"hypervolume: {volume:.6g} (reference point: {reference[0]:.6g} M, accuracy {reference[1]:.4g})"


def _references(names: Sequence[str], found: Across) -> pd.DataFrame:
    from nasray.references import reference_points

    return reference_points([name for text in names for name in text.split(",")], found.dataset, found.spaces)


def _records(frame: pd.DataFrame) -> Any:
    return json.loads(frame.to_json(orient="records", date_format="iso"))
