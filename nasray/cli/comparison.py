"""What ``nasray front`` says and draws: the front across runs, and published architectures beside it."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nasray.errors import InvalidInput, printable, shown
from nasray.settings import HYPERPARAMETERS, TRAINED
from nasray.spaces.metric import ACCURACY, Metric

if TYPE_CHECKING:
    import pandas as pd

    from nasray.fronts.across import Rows
    from nasray.runs import Storage

_COMPUTED = ("=", "+", "-", "@", "\t", "\r")
"""With what a cell begins that a spreadsheet computes."""


@dataclass(frozen=True, kw_only=True)
class FrontOptions:
    """Which front, and how it is shown."""

    budget: float | None = field(default=None, metadata={"unit": "M"})
    """Largest multiply-adds, in M."""
    cost: str = "macs"
    """What accuracy is traded for: macs, params, latency_ms, or one of the costs of the table that was looked up."""
    table: Literal["evaluations", "candidates"] | None = None
    """Which kind of accuracy; None is trained from scratch where the runs have it."""
    plot: str | None = field(default=None, metadata={"unit": "FILE"})
    """Draw it to a .png, .svg or .pdf file."""
    repeats: Literal["runs", "seeds"] | None = None
    """Take the runs, or their seeds, for repetitions of one sweep, and show how far they lie apart."""
    only: tuple[str, ...] = ()
    """Take only rows with these values of columns or settings, as in ``epochs=50 method=random``."""
    equal_tries: bool = False
    """Where the training was varied: take of every network as many trainings as the one with the fewest has."""
    references: tuple[str, ...] = ()
    """Published architectures to show beside it, by name, or ``all``: their accuracy is on the test split."""
    csv: str | None = field(default=None, metadata={"unit": "FILE"})
    """Write its rows, with all columns, to a .csv file."""
    json: bool = False
    """Print it as JSON."""


def lines(runs: Mapping[str, Storage], options: FrontOptions) -> Iterator[str]:
    """Draw the front of runs where that is asked for, and tell it line by line.

    Raises:
        InvalidInput: rows that do not compare, a file that cannot be written, a reference that is not known.
    """
    if options.references and options.cost != "macs":
        raise InvalidInput(f"--references with --cost {shown(options.cost)}: published architectures have macs only")
    if options.csv is not None and options.repeats is not None:
        raise InvalidInput("--csv with --repeats: expected one of them, for repetitions have no common front")
    return _common_front(runs, options) if options.repeats is None else _repeated_fronts(runs, options)


def _common_front(runs: Mapping[str, Storage], options: FrontOptions) -> Iterator[str]:
    from nasray.fronts import front_across
    from nasray.pictures import plot_front

    cost = options.cost
    found = front_across(
        runs,
        budget=options.budget,
        table=options.table,
        only=options.only,
        cost=cost,
        equal_tries=options.equal_tries,
    )
    references = _references(options.references, found.rows)
    front = found.front.assign(mark=marks(len(found.front))) if options.plot is not None else found.front
    if options.plot is not None:
        labels = {name: marks_of(front, own) for name, own in found.fronts.items()}
        plot_front(
            found.fronts, options.plot, points=found.rows.of, references=references, labels=labels, minimise=cost
        )
    if options.csv is not None:
        try:
            _for_spreadsheets(found.front).to_csv(options.csv, index=False)
        except OSError as error:
            raise InvalidInput(f"--csv {options.csv}: cannot be written ({error.strerror})") from None
    if options.json:
        yield json.dumps(
            {
                "kind": found.rows.kind,
                "metric": found.rows.metric.name,
                "reference": _point(found.reference, found.rows.metric, cost),
                "hypervolume": found.hypervolume,
                "front": _records(found.front),
                **({} if references is None else {"references": _records(references)}),
            }
        )
        return
    columns = ["mark", cost, *columns_of(found.rows.metric), "architecture_id", "method", "run"]
    yield front_table(front, list(dict.fromkeys(columns)))
    yield printable(f"{found.rows.metric.label}: {found.rows.kind}")
    yield hypervolume_line(found.hypervolume, found.reference, found.rows.metric, cost)
    yield from _reference_lines(references)


def _repeated_fronts(runs: Mapping[str, Storage], options: FrontOptions) -> Iterator[str]:
    import pandas as pd

    from nasray.fronts import QUARTILES, repetitions
    from nasray.pictures import plot_front

    assert options.repeats is not None
    cost = options.cost
    found = repetitions(
        runs,
        options.repeats,
        budget=options.budget,
        table=options.table,
        only=options.only,
        cost=cost,
        equal_tries=options.equal_tries,
    )
    references = _references(options.references, found.rows)
    if options.plot is not None:
        rows = {method: pd.concat(own.values(), ignore_index=True) for method, own in found.fronts.items()}
        plot_front({}, options.plot, points=rows, bands=found.surfaces, references=references, minimise=cost)
    volumes = {m: found.volumes.loc[found.volumes["method"] == m, "hypervolume"] for m in found.fronts}
    if options.json:
        yield json.dumps(
            {
                "kind": found.rows.kind,
                "repetitions": found.names,
                "metric": found.rows.metric.name,
                "reference": _point(found.reference, found.rows.metric, cost),
                "methods": {
                    method: {
                        "hypervolume": {
                            "mean": own.mean(),
                            "std": own.std(),
                            "quartiles": own.quantile(list(QUARTILES)).tolist(),
                            "of_each": own.tolist(),
                        },
                        "surfaces": _records(found.surfaces[method]),
                        "spread": _records(found.spread[method]),
                    }
                    for method, own in volumes.items()
                },
                **({} if references is None else {"references": _records(references)}),
            }
        )
        return
    metric = found.rows.metric
    yield printable(f"{metric.label}: {found.rows.kind}; {len(found.names)} repetitions: {', '.join(found.names)}")
    for method, own in volumes.items():
        yield printable(
            f"{method}: {metric.label} at a cost, its mean and deviation, and what a share of the repetitions attains"
        )
        yield front_table(found.spread[method], list(found.spread[method].columns))
        quartiles = ", ".join(f"{value:.6g}" for value in own.quantile(list(QUARTILES)))
        yield (
            f"hypervolume: mean {own.mean():.6g}, standard deviation {own.std():.3g}, quartiles {quartiles} "
            f"({_spoken(found.reference, metric, cost)})"
        )
    yield from _reference_lines(references)


def marks(count: int) -> list[str]:
    """Short names of so many rows, by which a table and a picture call them: A to Z, then AA, AB and on."""
    letters = string.ascii_uppercase
    tens = ["", *(f"{one}{other}" for one in ["", *letters] for other in letters)]
    return [f"{ten}{letter}" for ten in tens for letter in letters][:count]


def marks_of(common: pd.DataFrame, own: pd.DataFrame) -> list[str]:
    """Of a run's own front the marks of those rows that are on the common one too; empty for the others."""
    known = dict(zip(zip(common["architecture_id"], common["macs"], strict=True), common["mark"], strict=True))
    return [known.get(row, "") for row in zip(own["architecture_id"], own["macs"], strict=True)]


def front_table(front: pd.DataFrame, columns: Sequence[str]) -> str:
    """Those of the columns that a front has, as text; what it holds of text may be of any origin."""
    import pandas as pd

    if not len(front):
        return "the front is empty"
    shown = front[[column for column in columns if column in front.columns]]
    texts = [name for name in shown.columns if not pd.api.types.is_numeric_dtype(shown[name].dtype)]
    shown = shown.assign(**{name: shown[name].map(printable) for name in texts})
    return shown.to_string(index=False, formatters=dict.fromkeys(["macs", "params"], "{:.4g}".format))


def _for_spreadsheets(front: pd.DataFrame) -> pd.DataFrame:
    """Texts of any origin, of which a spreadsheet computes none: an apostrophe stands before what it would."""
    texts = [name for name in front.columns if front[name].dtype in ("str", object)]
    quoted = {name: front[name].map(lambda text: f"'{text}" if str(text)[:1] in _COMPUTED else text) for name in texts}
    return front.assign(**quoted)


def columns_of(metric: Metric) -> list[str]:
    """The columns of figures, and of what was varied of the training, that a front is shown with."""
    varied = (f"{TRAINED}{name}" for name in sorted(HYPERPARAMETERS))
    return ["macs", "params", metric.name, f"{metric.name}_std", metric.test_column, "tries", *varied]


def hypervolume_line(
    volume: float, reference: tuple[float, float], metric: Metric = ACCURACY, cost: str = "macs"
) -> str:
    """A hypervolume with its reference point."""
    return f"hypervolume: {volume:.6g} ({_spoken(reference, metric, cost)})"


def _spoken(reference: tuple[float, float], metric: Metric, cost: str) -> str:
    worst = f"{reference[0]:.6g} M" if cost == "macs" else f"{printable(cost)} {reference[0]:.6g}"
    return f"reference point: {worst}, {metric.label} {reference[1]:.4g}"


def _references(names: Sequence[str], rows: Rows) -> pd.DataFrame | None:
    if not names:
        return None
    from nasray.fronts.references import reference_points

    # What a table calls a space may be a file of code, and what was read is never run.
    return reference_points([name for text in names for name in text.split(",")], rows.dataset)


def _reference_lines(references: pd.DataFrame | None) -> Iterator[str]:
    if references is not None:
        yield "published (test split, trained by others; multiply-adds counted at the published size):"
        yield front_table(references, ["macs", "accuracy", "accuracy_std", "name", "source"])


def _point(reference: tuple[float, float], metric: Metric, cost: str) -> dict[str, float]:
    return {cost: reference[0], metric.name: reference[1]}


def _records(frame: pd.DataFrame) -> Any:
    return json.loads(frame.to_json(orient="records", date_format="iso"))
