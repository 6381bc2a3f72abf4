"""Which column of a table holds the accuracies after how many epochs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from nasray.errors import InvalidInput, shown


def column_epochs(texts: Sequence[str]) -> dict[int, str]:
    """Epochs to column, from texts such as ``cifar10_test_acc_12=12``.

    Raises:
        InvalidInput: of another form, or two columns for the same epochs.
    """
    columns: dict[int, str] = {}
    for text in texts:
        column, equals, epochs = text.rpartition("=")
        if not column or not equals or not re.fullmatch(r"[1-9][0-9]{0,6}", epochs):
            raise InvalidInput(f"table column {shown(text)}: expected COLUMN=EPOCHS, as in cifar10_test_acc_12=12")
        if int(epochs) in columns:
            raise InvalidInput(
                f"table columns {shown(columns[int(epochs)])} and {shown(column)} both for {int(epochs)} epochs: "
                "expected one column for each number of epochs"
            )
        columns[int(epochs)] = column
    return columns


def columns_by_name(names: Iterable[str], dataset: str | None, source: str) -> dict[int, str]:
    """Epochs to column, as far as the names tell: ``DATASET_test_acc_EPOCHS``, where the first and second part may be
    missing, ``validation`` may stand in place of ``test``, and something may follow. Accuracies on training examples
    are passed over.

    Args:
        names: of all columns.
        dataset: of the columns; None is any.
        source: the table, for messages.

    Raises:
        InvalidInput: no such column, or several for the same epochs.
    """
    prefix = r"(?:\w*_)??" if dataset is None else rf"(?:{re.escape(dataset)}_)"
    pattern = re.compile(rf"{prefix}(?:(?:test|valid|validation)_)?acc(?:uracy)?_([1-9][0-9]{{0,6}})(?:_\w+)?")
    found = defaultdict(list)
    for name in names:
        match = pattern.fullmatch(name)
        if match and not re.search(r"(?:^|_)train_", name):
            found[int(match[1])].append(name)
    of_dataset = "" if dataset is None else f" of dataset {dataset!r}"
    for epochs, several in found.items():
        if len(several) > 1:
            raise InvalidInput(
                f"table {source} with {', '.join(several[:4])} for {epochs} epochs{of_dataset}: expected a choice "
                f"of columns, as in {several[0]}={epochs}"
            )
    if not found:
        raise InvalidInput(
            f"table {source} without a column named like {dataset or 'cifar10'}_test_acc_200: expected a choice of "
            "columns, as in COLUMN=EPOCHS"
        )
    return {epochs: name for epochs, (name,) in sorted(found.items())}
