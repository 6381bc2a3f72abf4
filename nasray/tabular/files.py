"""Reading tables of accuracies: Parquet, CSV, and NATS-Bench's own files."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nasray.errors import InvalidInput, shown
from nasray.spaces import CellSpace
from nasray.tabular.columns import columns_by_name
from nasray.tabular.nats_bench import read_nats_bench
from nasray.tabular.table import AccuracyTable, Unit, index_rows

ARCHITECTURES = "arch"
"""The column of architectures."""

_MOST_BYTES, _MOST_ROWS = 2**30, 10_000_000


def read_table(
    path: str | Path,
    space: CellSpace,
    *,
    columns: Mapping[int, str] | None = None,
    dataset: str | None = None,
    unit: Unit = "percent",
    costs: Sequence[str] = (),
) -> AccuracyTable:
    """A table of accuracies of a space's architectures.

    A Parquet or CSV file has a column ``arch`` of official strings or of nasray's JSON, columns of accuracies, and it
    may have columns of costs. A folder or a ``.pbz2`` file is NATS-Bench's, see :mod:`nasray.tabular.nats_bench`.

    Args:
        path: of the file or folder, local.
        space: of the architectures.
        columns: epochs to the column of their accuracies, as :func:`nasray.tabular.column_epochs` makes them; None is
            as far as the names of the columns tell.
        dataset: whose columns are meant where the names must tell.
        unit: of the accuracies.
        costs: columns of which less is better: numbers from 0, missing where a cost is not known.

    Raises:
        InvalidInput: not a table; a column is missing or is ambiguous; an architecture is not of the space or
            occurs twice; an accuracy is missing or outside its unit's range; a cost is negative or infinite.
    """
    path = Path(path).expanduser()
    if path.is_dir() or path.suffix == ".pbz2":
        if costs:
            raise InvalidInput(
                f"cost {shown(costs[0])} of table {path}: NATS-Bench's own files are read without costs. Give a "
                "Parquet or CSV file that has the column."
            )
        return read_nats_bench(path, space, columns=columns, dataset=dataset)
    source = str(path)
    names, frame = _read(path)
    if ARCHITECTURES not in names:
        raise InvalidInput(f"table {source} with columns {shown(names)}: expected one with a column 'arch'")
    columns = dict(columns or columns_by_name(names, dataset, source))
    absent = [column for column in columns.values() if column not in names or column == ARCHITECTURES]
    if absent:
        raise InvalidInput(f"column {shown(absent[0])} of table {source}: expected one of {_some(names)}")
    for cost in costs:
        _check_cost(cost, names, columns, source)
    table = frame(list(dict.fromkeys([ARCHITECTURES, *columns.values(), *costs])))
    rows = index_rows(space, table[ARCHITECTURES].tolist(), source)
    if not rows:
        raise InvalidInput(f"table {source} without rows: expected one row for each architecture")
    accuracies = {epochs: _accuracies(table[column], column, source, unit) for epochs, column in columns.items()}
    if unit == "percent" and all(values.max() <= 1.0 for values in accuracies.values()):
        raise InvalidInput(f"accuracies in table {source} that are all at most 1: expected percent, 0 to 100")
    return AccuracyTable(
        space,
        source,
        columns,
        unit,
        rows,
        _Columns(accuracies),
        costs={column: _costs(table[column], column, source) for column in costs},
    )


@dataclass(frozen=True)
class _Columns:
    accuracies: Mapping[int, npt.NDArray[np.float64]]

    def __call__(self, row: int, epochs: int) -> float:
        return float(self.accuracies[epochs][row])


def _read(path: Path) -> tuple[list[str], Callable[[list[str]], pd.DataFrame]]:
    """The names of a table's columns, and what reads some of them."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode) or info.st_size > _MOST_BYTES:
            raise ValueError(f"no file of up to {_MOST_BYTES} bytes")
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        if is_parquet:
            _check_declared(pq.read_metadata(path))
            # Of many columns only those that are asked for are read.
            return list(pq.read_schema(path).names), lambda names: _parquet(path, names)
        frame = pd.read_csv(path, dtype={ARCHITECTURES: str})
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _no_table(path, error) from None
    return list(map(str, frame.columns)), lambda names: frame[names]


def _check_declared(metadata: pq.FileMetaData) -> None:
    """Columns are compressed: a small file can hold so much that it fills the memory."""
    size = sum(max(0, metadata.row_group(i).total_byte_size) for i in range(metadata.num_row_groups))
    if metadata.num_rows > _MOST_ROWS or size > _MOST_BYTES:
        raise ValueError(f"it says that it holds {metadata.num_rows} rows, {size} bytes")


def _parquet(path: Path, names: list[str]) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pq.ParquetFile(path).read(columns=names).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _no_table(path, error) from None
    if len(frame.columns) != len(names):
        raise InvalidInput(f"table {path} with columns {shown(list(frame.columns))}: expected each name once")
    return frame


def _no_table(path: Path, error: Exception) -> InvalidInput:
    reason = str(getattr(error, "strerror", None) or error).strip().partition("\n")[0][:200]
    return InvalidInput(f"table {str(path)!r} cannot be read ({reason}): expected a Parquet or CSV file")


def _accuracies(series: pd.Series[Any], column: str, source: str, unit: Unit) -> npt.NDArray[np.float64]:
    where, high = f"column {shown(column)} of table {source}", 100.0 if unit == "percent" else 1.0
    values = _numbers(series, where)
    wrong = np.flatnonzero(~((values >= 0.0) & (values <= high)))
    if len(wrong):
        raise InvalidInput(
            f"accuracy {values[wrong[0]]:g} in {where}, row {wrong[0] + 1}: expected 0 to {high:g} ({unit})"
        )
    return values


def _check_cost(cost: str, names: list[str], columns: Mapping[int, str], source: str) -> None:
    if cost in columns.values():
        raise InvalidInput(f"cost {shown(cost)} of table {source}: this column holds accuracies. Give one of costs.")
    if cost not in names or cost == ARCHITECTURES:
        close = difflib.get_close_matches(cost, names, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise InvalidInput(f"cost {shown(cost)}: table {source} has no such column. {hint}It has {_some(names)}.")


def _costs(series: pd.Series[Any], column: str, source: str) -> npt.NDArray[np.float64]:
    where = f"column {shown(column)} of table {source}"
    values = _numbers(series, where)
    # Some benchmarks write -1 where a device could not run a network, which would be the best of all.
    wrong = np.flatnonzero((values < 0.0) | np.isinf(values))
    if len(wrong):
        raise InvalidInput(
            f"cost {values[wrong[0]]:g} in {where}, row {wrong[0] + 1}: expected a number from 0, and nothing where "
            "the cost is not known"
        )
    return values


def _numbers(series: pd.Series[Any], where: str) -> npt.NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
        raise InvalidInput(f"{where} of type {series.dtype}: expected numbers")
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _some(names: list[str]) -> str:
    accepted = [name for name in names if name != ARCHITECTURES]
    return ", ".join([*accepted[:20], *(["..."] if len(accepted) > 20 else [])]) or "none: it has no other"
