"""The stored table of NAS-Bench-201: every cell is found, and the true front is the known one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nasray.costs import macs
from nasray.fronts import hypervolume, pareto_front
from nasray.spaces import NetworkSize, to_string
from nasray.tabular import AccuracyTable, read_table
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

PATH = Path(os.environ.get("NASRAY_DATA", "nowhere")) / "nasbench201.parquet"
CIFAR = NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=10)
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not PATH.is_file(), reason="NASRAY_DATA holds no nasbench201.parquet"),
]


@pytest.fixture(scope="module")
def table() -> AccuracyTable:
    return read_table(PATH, NAS_BENCH_201, dataset="cifar10")


def test_every_cell_is_found_in_its_row(table: AccuracyTable) -> None:
    frame = pd.read_parquet(PATH)
    assert table.columns == {12: "cifar10_test_acc_12", 200: "cifar10_test_acc_200_nats"}
    architectures = table.architectures()
    assert len(architectures) == len(table) == 15_625
    assert [to_string(NAS_BENCH_201, architecture) for architecture in architectures] == frame["arch"].tolist()
    for epochs, column in table.columns.items():
        found = [table.accuracy(architecture, epochs) for architecture in architectures]
        assert found == (frame[column].astype(float) / 100).tolist() == table.accuracies(epochs).tolist()
    best = architectures[6111]  # the data's README: 94.37 %
    assert round(100 * table.accuracy(best, 200), 2) == 94.37
    assert table.rank(best, 200) == 1


@pytest.mark.slow
def test_the_true_front_has_14_cells(table: AccuracyTable) -> None:
    costs = [macs(NAS_BENCH_201, architecture, CIFAR) for architecture in table.architectures()]
    frame = pd.DataFrame({"macs": costs, "accuracy": table.accuracies(200)})
    better = frame[(frame["macs"] < 221) & (frame["accuracy"] > 0.86)]
    front = pareto_front(better)
    assert len(front) == 14
    assert front["accuracy"].max() == table.accuracies(200).max()
    volume = hypervolume(frame, (221.0, 0.86))
    # By hand: each of the front's steps up to the next one's macs.
    widths = np.diff([*front["macs"], 221.0])
    assert volume == pytest.approx(float((widths * (front["accuracy"] - 0.86)).sum()), rel=1e-12)


def test_it_is_read_and_looked_up_in_no_time() -> None:
    began = time.perf_counter()
    table = read_table(PATH, NAS_BENCH_201, dataset="cifar10")
    read = time.perf_counter() - began
    architectures = table.architectures()[:2000]
    began = time.perf_counter()
    for architecture in architectures:
        table.accuracy(architecture, 200)
    assert read < 2.0
    assert (time.perf_counter() - began) / len(architectures) < 1e-3
