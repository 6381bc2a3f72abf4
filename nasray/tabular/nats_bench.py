"""NATS-Bench's own files, read by its authors' package.

X. Dong, L. Liu, K. Musial, B. Gabrys, "NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size",
TPAMI 2021, arXiv:2009.00437: the topology search space, which is that of NAS-Bench-201. Its files are pickles, and a
pickle runs what it holds when it is opened: open those of the authors only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasray.errors import InvalidInput, reason, shown
from nasray.spaces import CellSpace
from nasray.tabular.table import AccuracyTable, index_rows

EPOCHS = (12, 200)
"""Trainings that the authors did."""
DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
"""``cifar10-valid`` is trained on half of CIFAR-10's training images, ``cifar10`` on all of them."""
ACCURACIES = ("valid-accuracy", "test-accuracy")


def read_nats_bench(
    path: Path, space: CellSpace, *, columns: Mapping[int, str] | None = None, dataset: str | None = None
) -> AccuracyTable:
    """The topology search space's accuracies, means over the trainings with different seeds.

    Args:
        path: the folder ``NATS-tss-v1_0-3ffb9-simple``, whose files are opened when they are asked for, or the file
            ``NATS-tss-v1_0-3ffb9.pickle.pbz2``, which is opened as a whole.
        space: NAS-Bench-201's.
        columns: epochs (12 or 200) to ``DATASET/ACCURACY``, as in ``cifar10/test-accuracy``; None is both with the
            dataset's test accuracy.
        dataset: one of :data:`DATASETS`, where ``columns`` does not name any; None is ``cifar10``.

    Raises:
        InvalidInput: the package is not installed, or the path, a column or the dataset is not NATS-Bench's.
    """
    try:
        import nats_bench
    except ImportError:
        raise InvalidInput(
            f"table {path} of NATS-Bench needs its package: run pip install 'nasray[nats-bench]'"
        ) from None
    columns = dict(columns or dict.fromkeys(EPOCHS, f"{dataset or 'cifar10'}/test-accuracy"))
    for epochs, column in columns.items():
        _check(epochs, column)
    try:
        api = nats_bench.create(str(path), "tss", fast_mode=path.is_dir(), verbose=False)
        texts = list(api.meta_archs)
    except Exception as error:  # a pickle of something else may fail in any way
        raise InvalidInput(
            f"table {path} cannot be read as NATS-Bench's ({reason(error)}): expected "
            "the folder NATS-tss-v1_0-3ffb9-simple and the file NATS-tss-v1_0-3ffb9.pickle.pbz2"
        ) from None
    rows = index_rows(space, texts, str(path))
    return AccuracyTable(space, str(path), columns, "percent", rows, _Trainings(str(path), api, columns))


@dataclass(frozen=True)
class _Trainings:
    source: str
    api: Any
    columns: Mapping[int, str]

    def __call__(self, row: int, epochs: int) -> float:
        dataset, _, accuracy = self.columns[epochs].partition("/")
        try:
            return float(self.api.get_more_info(row, dataset, hp=str(epochs), is_random=False)[accuracy])
        except Exception as error:  # not all trainings are in all files, and each says so in another way
            raise InvalidInput(
                f"{self.columns[epochs]} of architecture {row} after {epochs} epochs is not in table {self.source} "
                f"({reason(error)}): choose another column or number of epochs"
            ) from None


def _check(epochs: int, column: str) -> None:
    if epochs not in EPOCHS:
        raise InvalidInput(f"{epochs} epochs of NATS-Bench: expected {' or '.join(map(str, EPOCHS))}")
    dataset, _, accuracy = column.partition("/")
    if dataset not in DATASETS or accuracy not in ACCURACIES:
        raise InvalidInput(
            f"column {shown(column)} of NATS-Bench: expected DATASET/ACCURACY with {', '.join(DATASETS)} and "
            f"{', '.join(ACCURACIES)}"
        )
