"""What the tables' columns are called, hold and mean: held as data, so that checks and documents agree."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nasray.errors import InvalidInput, printable
from nasray.spaces.metric import ACCURACY, METRICS, Metric, measured

SCHEMA_VERSION = 2

_TEXT, _WHOLE, _REAL, _TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
_JSON = "JSON"
_SPOKEN = {_TEXT: "text", _WHOLE: "whole number", _REAL: "number", _TRUTH: "true or false", _TIME: "UTC time"}


@dataclass(frozen=True)
class Column:
    """One column: a missing value is only accepted where `nullable`, numbers only from `low` to `high`."""

    name: str
    type: pa.DataType
    unit: str
    """Empty for names and other things that have none."""
    meaning: str
    nullable: bool = False
    low: float = -math.inf
    high: float = math.inf

    def accept(self, value: Any) -> Any:
        """The value as it is stored; InvalidInput where its type is another or it is outside the range."""
        if value is None:
            if self.nullable:
                return None
            raise self._refuse(value)
        if isinstance(value, np.generic):
            value = value.item()
        if self.type == _TIME:
            if not isinstance(value, datetime) or value is pd.NaT or value.utcoffset() is None:
                raise self._refuse(value)
            return value.astimezone(UTC)
        if self.type == _TEXT:
            if not isinstance(value, str) or (self.unit == _JSON and not _is_json(value)):
                raise self._refuse(value)
            return value
        if self.type == _TRUTH:
            if not isinstance(value, bool):
                raise self._refuse(value)
            return value
        kinds = (int,) if self.type == _WHOLE else (int, float)
        # A bool is an int to Python, and nobody means one by it.
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise self._refuse(value)
        if not math.isfinite(value) or not self.low <= value <= self.high or abs(value) >= 2**63:
            raise self._refuse(value)
        return value if self.type == _WHOLE else float(value)

    def _refuse(self, value: Any) -> InvalidInput:
        expected = "JSON text" if self.unit == _JSON else _SPOKEN[self.type]
        if self.type == _REAL:
            expected = "finite number"
        if self.type == _TIME:
            expected = "time with a time zone"
        if self.low > -math.inf:
            expected += f" from {self.low:g}" + (f" to {self.high:g}" if self.high < math.inf else "")
        if self.nullable:
            expected += ", or none"
        given = f"{value!r:.80}".replace("\n", " ")
        return InvalidInput(f"column {self.name}: expected {expected}, not {given}")


@dataclass(frozen=True)
class Table:
    """One of a run's tables: a folder of Parquet files, whose rows are named by the values of `key`."""

    name: str
    kind: str
    """Which kind of accuracy its rows hold; rows of two kinds never share a front."""
    mark: str
    """A column, never missing, that only rows of this table have."""
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partial: bool = False
    """Whether a row may lack columns of its metric: an epoch of a search has that of the supernet alone."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def long_texts(self) -> tuple[str, ...]:
        """Columns of long texts that many rows share."""
        return tuple(column.name for column in self.columns if column.unit == _JSON)

    @property
    def schema(self) -> pa.Schema:
        """The columns as a pyarrow schema, without the extra ones."""
        return pa.schema([pa.field(c.name, c.type, c.nullable) for c in self.columns])

    def accept(self, row: Mapping[str, Any], knobs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The row as it is stored, knobs as columns of their own.

        `schema_version` and `created_at` (now) are filled in where they are missing. What is neither a column
        of the table nor None must be a plain scalar. InvalidInput: a column missing, a value that its column
        does not take, a knob that has the name of a column, an extra value that is no scalar.
        """
        knobs = knobs or {}
        self.check_knobs(knobs)
        stamped = {"schema_version": SCHEMA_VERSION, "created_at": datetime.now(UTC), **row}
        missing = [c.name for c in self.columns if c.name not in stamped and not c.nullable]
        if missing:
            raise InvalidInput(f"{self.name}: a row must also have {', '.join(missing)}")
        if stamped["schema_version"] != SCHEMA_VERSION:
            raise InvalidInput(f"column schema_version: {stamped['schema_version']!r} was given, not {SCHEMA_VERSION}")
        known = {c.name: c.accept(stamped.get(c.name)) for c in self.columns}
        if known["metric"] not in METRICS:
            raise InvalidInput(f"Column metric: {known['metric']!r:.80} was given. Give one of {', '.join(METRICS)}.")
        metric = METRICS[known["metric"]]
        extra = {name: value for name, value in row.items() if name not in known}
        twice = sorted(extra.keys() & knobs.keys())
        if twice:
            raise InvalidInput(f"{self.name}: {', '.join(twice)} was given as a knob and as a column of the row")
        extra = {**extra, **knobs}
        own = {column.name: column.accept(row.get(column.name)) for column in self.measured_by(metric)}
        others = sorted(n for n in {*known, *extra} if measured(n) not in (None, metric) and row.get(n) is not None)
        if others:
            raise InvalidInput(f"Column {others[0]}: the row's metric is {metric.name}. Give rows of one metric each.")
        return known | {str(n): own.get(n, _scalar(n, v)) for n, v in sorted(extra.items()) if v is not None}

    def measured_by(self, metric: Metric) -> tuple[Column, ...]:
        """The columns that hold a metric in its rows: those that `ACCURACY` has, by that metric's names."""
        return tuple(
            Column(
                own,
                _REAL,
                metric.unit,
                "",
                nullable=self.partial or own == metric.test_column,
                low=metric.low,
                high=metric.high,
            )
            for name in self.names
            if measured(name) is ACCURACY
            for own in [name.replace(ACCURACY.name, metric.name)]
        )

    def check_knobs(self, names: Mapping[str, Any] | tuple[str, ...]) -> None:
        """Raise InvalidInput if a knob or hyperparameter has the name of a column."""
        for name in names:
            if not isinstance(name, str) or not name:
                raise InvalidInput(f"knob {name!r}: expected a name, as text")
            if name in self.names or name == "kind" or measured(name) is not None:
                raise InvalidInput(f"knob {name!r}: {self.name} already have a column of this name; give it another")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _scalar(name: str, value: Any) -> bool | int | float | str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidInput(f"column {name}: {value} was given, which does not fit into 64 bits")
    if not isinstance(value, bool | int | float | str):
        raise InvalidInput(f"column {name}: expected true or false, a number or text, not {value!r:.80}")
    return value


def describe(table: Table) -> str:
    """A Markdown table of the columns: name, type, unit and meaning, keys in bold."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in table.columns:
        name = f"**`{column.name}`**" if column.name in table.key else f"`{column.name}`"
        spoken = _SPOKEN[column.type] + (", may be missing" if column.nullable else "")
        lines.append(f"| {name} | {spoken} | {column.unit} | {column.meaning} |")
    return "\n".join(lines) + "\n"


def _count(name: str, meaning: str) -> Column:
    return Column(name, _WHOLE, "", meaning, low=0)


def _examples(name: str, meaning: str) -> Column:
    # What is looked up in a table does not say.
    return Column(name, _WHOLE, "", meaning, nullable=True, low=0)


def _accuracy(name: str, meaning: str) -> Column:
    # Missing where the row's metric is another, and has columns of its own.
    return Column(name, _REAL, ACCURACY.unit, meaning, nullable=True, low=ACCURACY.low, high=ACCURACY.high)


def _latency(name: str, meaning: str) -> Column:
    return Column(name, _REAL, "ms", meaning, nullable=True, low=0.0)


_VERSION = _count("schema_version", "Version of this list of columns.")
_RUN = Column("run", _TEXT, "", "Name of the run that wrote the row.")
_CREATED = Column("created_at", _TIME, "UTC", "When the row was made.")
_METRIC = Column(
    "metric",
    _TEXT,
    "",
    "The task's metric, and the column that holds it: `accuracy`; others have columns of their own, as "
    "`perplexity`, `test_perplexity` and `supernet_perplexity`.",
)
_BOTH = (
    _VERSION,
    _RUN,
    Column("method", _TEXT, "", "Search method that found the architecture; several are joined by a comma."),
    Column("space", _TEXT, "", "Search space of the architecture."),
    Column("dataset", _TEXT, "", "Dataset that was searched or trained on."),
    _count("seed", "Seed of the search or of the training."),
    Column("architecture_id", _TEXT, "", "Hash of the architecture's canonical form."),
    Column("architecture", _TEXT, _JSON, "The architecture in canonical form: what was chosen, without a size."),
    Column(
        "macs",
        _REAL,
        "M",
        "Multiply-adds, half of what torch's FLOP counter says, at the evaluation size.",
        low=0.0,
    ),
    Column("params", _REAL, "M", "Trainable parameters, at the evaluation size.", low=0.0),
    Column("settings", _TEXT, _JSON, "Every setting that the row came to be with, defaults included."),
    Column("versions", _TEXT, _JSON, "Versions of nasray, Python and the packages that it stands on."),
    Column("host", _TEXT, "", "Name of the machine."),
    Column("device", _TEXT, "", "Device that trained, by its own name."),
    _CREATED,
    _METRIC,
    _examples("train_examples", "Examples that weights were trained on."),
    _examples("architecture_examples", "Examples kept for architecture parameters alone; 0 if none are."),
    _examples("validation_examples", "Examples that the metric was measured on."),
    _examples("test_examples", "Examples of the test split, which nothing is selected by."),
    _count("channels", "Channels of the first cell, at the evaluation size."),
    _count("cells", "Number of cells, at the evaluation size."),
    Column(
        "told",
        _WHOLE,
        "",
        "Order in which the driver told rows to a searcher; missing where it told none.",
        nullable=True,
        low=0,
    ),
    Column(
        "dataset_digest",
        _TEXT,
        "",
        "Digest of the dataset's content, or of the table's that was looked up: rows of two never share a front.",
        nullable=True,
    ),
    Column("code_digest", _TEXT, "", "Digest of the user's own source that the row depends on.", nullable=True),
)
_MEMORY = Column("peak_memory_bytes", _WHOLE, "bytes", "Most memory held at once.", nullable=True, low=0)

CANDIDATES = Table(
    name="candidates",
    kind="inherited weights",
    mark="snapshot",
    columns=(
        *_BOTH,
        Column("trial_id", _TEXT, "", "Search that gave the candidate."),
        _count("epoch", "Epochs of the search that were done: the first epoch's candidates have 1."),
        _count("snapshot", "Place among the candidates of this epoch, counted from 0."),
        _accuracy("supernet_accuracy", "Accuracy of the whole supernet, on the validation split."),
        _accuracy("accuracy", "Accuracy of the candidate with the supernet's weights, on the validation split."),
        Column(
            "gap",
            _REAL,
            "that of the metric",
            "Discretisation gap: by how much the candidate is worse than its supernet, `supernet_accuracy` minus "
            "`accuracy`.",
        ),
        Column(
            "complete",
            _TRUTH,
            "",
            "False where the search was stopped early: such a row is never on a front.",
            nullable=True,
        ),
        Column("seconds", _REAL, "s", "Wall-clock time of the search until then.", low=0.0),
        _MEMORY,
    ),
    key=("trial_id", "epoch", "snapshot"),
)
"""One row for each architecture that a search gave at one moment."""

EVALUATIONS = Table(
    name="evaluations",
    kind="trained from scratch",
    mark="epochs",
    columns=(
        *_BOTH,
        _count("epochs", "The fidelity: epochs of training from scratch."),
        Column("complete", _TRUTH, "", "False where training was stopped early: such a row is never on a front."),
        _accuracy("accuracy", "Accuracy on the validation split."),
        _accuracy("test_accuracy", "Accuracy on the test split, only ever reported."),
        Column("seconds", _REAL, "s", "Wall-clock time of the training.", low=0.0),
        _MEMORY,
        _latency("latency_ms", "Median over repeated runs of the network, on `device`; other work there slows it."),
        _latency("latency_low_ms", "Lower quartile of these runs."),
        _latency("latency_high_ms", "Upper quartile of these runs."),
        Column("latency_batch", _WHOLE, "", "Examples that a run takes at once.", nullable=True, low=1),
        Column(
            "training",
            _TEXT,
            "",
            "`from scratch`, `population` (the best of several trainings whose settings changed on the way), `one "
            "stage` (the search trained the network to the end), or `looked up` in a table.",
        ),
        Column(
            "member",
            _TEXT,
            "",
            "Where a population trained it: the member, which is the `trial_id` of its epochs.",
            nullable=True,
        ),
        Column("search_trial_id", _TEXT, "", "Search that found the architecture, where one did.", nullable=True),
        Column(
            "baseline_of",
            _TEXT,
            "",
            "Where it is a random baseline: id of the architecture whose multiply-adds it was drawn to have.",
            nullable=True,
        ),
        Column(
            "weights",
            _TEXT,
            "",
            "File of the trained weights in the run's folder (safetensors), with all that rebuilds the network.",
            nullable=True,
        ),
    ),
    key=(
        *("dataset", "space", "architecture_id", "channels", "cells"),
        *("method", "training", "settings", "epochs", "seed"),
    ),
)
"""One row for each training of an architecture to the end."""

SEARCH, EVALUATION = "search", "evaluation"
"""What an epoch is of: its column ``kind``."""
EPOCHS = Table(
    name="epochs",
    kind="learning curves",
    mark="loss",
    columns=(
        _VERSION,
        _RUN,
        Column("trial_id", _TEXT, "", "Trial of the epoch: of a search the `trial_id` of its candidates."),
        Column("kind", _TEXT, "", "`search`, or `evaluation`: a training from scratch."),
        Column("method", _TEXT, "", "Search method; of an evaluation the one that found the architecture."),
        Column("space", _TEXT, "", "Search space."),
        Column("dataset", _TEXT, "", "Dataset that was trained on."),
        _count("seed", "Seed of the search or of the training."),
        Column("architecture_id", _TEXT, "", "What is trained; missing in rows of searches.", nullable=True),
        _count("epoch", "Epochs that were done: the first has 1."),
        _METRIC,
        Column("loss", _REAL, "", "Training loss, mean over the epoch."),
        _accuracy("train_accuracy", "Accuracy on the batches that the epoch trained on, as it went."),
        _accuracy("supernet_accuracy", "Of a search: accuracy of the whole supernet, on the validation split."),
        _accuracy("accuracy", "Of an evaluation: accuracy on the validation split."),
        Column(
            "gap",
            _REAL,
            "that of the metric",
            "Of a search: discretisation gap of the epoch's last candidate; missing where the epoch gave none.",
            nullable=True,
        ),
        Column(
            "macs",
            _REAL,
            "M",
            "Multiply-adds of the trained architecture; of a search those of the one that would be derived now.",
            nullable=True,
            low=0.0,
        ),
        Column(
            "expected_macs",
            _REAL,
            "M",
            "Of a search: multiply-adds of the gates, at the evaluation size.",
            nullable=True,
            low=0.0,
        ),
        Column(
            "active_operations",
            _WHOLE,
            "",
            "Of a search: operations of the supernet that are still computed.",
            nullable=True,
            low=0,
        ),
        Column("learning_rate", _REAL, "", "Of the weights, in the epoch.", nullable=True, low=0.0),
        Column(
            "in_force",
            _TEXT,
            _JSON,
            "Of a member of a population: the settings that the population varies, as they were in the epoch.",
            nullable=True,
        ),
        Column(
            "cloned_from",
            _TEXT,
            "",
            "Of a member of a population: `trial_id` of the member whose weights it took over before this epoch.",
            nullable=True,
        ),
        Column("seconds", _REAL, "s", "Wall-clock time of the epoch, validation included.", low=0.0),
        _CREATED,
    ),
    key=("trial_id", "epoch"),
    partial=True,
)
"""One row for each epoch of every search and of every training from scratch."""

TABLES = {table.name: table for table in (CANDIDATES, EVALUATIONS, EPOCHS)}


FROM_SCRATCH, POPULATION = "from scratch", "population"
"""In the column ``training``: trained with settings that never changed, or as the best of a population."""
LOOKED_UP = "looked up"
"""In the column ``training``: the accuracy is of a table, which says on which examples it was measured."""


def is_looked_up(frame: pd.DataFrame) -> bool:
    """Whether every row of a frame was looked up in a table."""
    return "training" in frame.columns and len(frame) > 0 and bool((frame["training"] == LOOKED_UP).all())


def kinds_of(frame: pd.DataFrame) -> list[str]:
    """The kinds of accuracy that a frame's rows hold, sorted; empty where its columns do not tell.

    A column `kind` says it, as in a written front; else the columns that only one table has do.
    """
    kinds: set[str] = set()
    unsaid = np.ones(len(frame), dtype=bool)
    if "kind" in frame.columns:
        unsaid = frame["kind"].isna().to_numpy(dtype=bool)
        kinds |= {str(kind) for kind in frame["kind"].dropna().unique()}
    for table in TABLES.values():
        if unsaid.any() and table.mark in frame.columns:
            told = frame[table.mark].notna().to_numpy(dtype=bool) & unsaid
            kinds |= {table.kind} if told.any() else set()
    return sorted(kinds)


def metric_of(frame: pd.DataFrame) -> Metric:
    """The metric of a frame's rows: what their column `metric` says or, without one, the metric that they have.

    Raises:
        InvalidInput: rows of several metrics, or of one that nasray does not know.
    """
    names = [str(name) for name in frame["metric"].dropna().unique()] if "metric" in frame.columns else []
    there = [name for name in METRICS if name in frame.columns]
    names = names or [name for name in there if frame[name].notna().any()] or there[:1] or [ACCURACY.name]
    if len(names) > 1 or names[0] not in METRICS:
        said = ", ".join(printable(name)[:40] for name in sorted(names)[:5])
        raise InvalidInput(f"rows of metric {said}: expected rows of one of {', '.join(METRICS)}")
    return METRICS[names[0]]
