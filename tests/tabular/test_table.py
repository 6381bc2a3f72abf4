"""Tables of accuracies in Parquet and CSV: what is looked up is what was written, and what is no table is named."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nasray.errors import InvalidInput
from nasray.spaces import Architecture, from_string
from nasray.tabular import AccuracyTable, column_epochs, read_table
from search_spaces.architectures.gold import GOLD
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

FORM = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
STRINGS = [
    FORM.format("none", "none", "none", *last)
    for last in (["none"] * 3, ["skip_connect"] * 3, ["nor_conv_3x3"] * 3, ["avg_pool_3x3", "none", "nor_conv_1x1"])
]
FRAME = pd.DataFrame(
    {
        "index": range(4),
        "arch": STRINGS,
        "acc_12": [10.0, 70.5, 80.25, 70.5],
        "test_acc_200": np.array([10, 88.9, 94.2, 90.0], dtype=np.float32),
        "train_acc_200": [10.0, 99.0, 100.0, 99.5],
        "latency": [0.1, 0.2, 0.3, 0.4],
    }
)
Write = Callable[..., Path]


def as_parquet(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path)
    return path


def as_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("write", [as_parquet, as_csv])
def test_an_architectures_accuracy_is_the_one_in_its_row(write: Write, tmp_path: Path) -> None:
    table = read_table(write(FRAME, tmp_path / "table"), NAS_BENCH_201)
    assert table.columns == {12: "acc_12", 200: "test_acc_200"}
    assert table.epochs == (12, 200)
    assert len(table) == 4
    for text, early, late in zip(STRINGS, FRAME["acc_12"], FRAME["test_acc_200"], strict=True):
        architecture = from_string(NAS_BENCH_201, text)
        assert table.accuracy(architecture, 12) == pytest.approx(early / 100)
        assert table.accuracy(architecture, 200) == pytest.approx(late / 100)
    assert table.architectures() == tuple(from_string(NAS_BENCH_201, text) for text in STRINGS)
    assert table.accuracies(200).tolist() == [table.accuracy(a, 200) for a in table.architectures()]
    assert [table.rank(a, 12) for a in table.architectures()] == [4, 2, 1, 2]
    again: AccuracyTable = pickle.loads(pickle.dumps(table))
    assert [again.accuracy(a, 200) for a in again.architectures()] == table.accuracies(200).tolist()


@pytest.mark.parametrize("write", [as_parquet, as_csv])
def test_architectures_may_be_json_and_accuracies_fractions(write: Write, tmp_path: Path) -> None:
    cells = {"reduce_0": [(0, node, "skip_connect") for node in (2, 3, 4, 5)]}
    small = Architecture.of(GOLD, cells)
    large = Architecture.of(GOLD, {"reduce_0": [*cells["reduce_0"], (1, 2, "sep_conv_3x3")]})
    indented = large.to_json().replace(",", ", ")
    frame = pd.DataFrame({"arch": [small.to_json(), indented], "mine": [0.25, 1.0]})
    table = read_table(write(frame, tmp_path / "table"), GOLD, columns={7: "mine"}, unit="fraction")
    assert (table.accuracy(small, 7), table.accuracy(large, 7)) == (0.25, 1.0)
    assert table.architectures() == (small, large)


def test_strings_of_another_order_are_found(tmp_path: Path) -> None:
    shuffled = FRAME.assign(arch=[*STRINGS[:3], "|none~0|+|none~1|none~0|+|nor_conv_1x1~2|avg_pool_3x3~0|none~1|"])
    table = read_table(as_csv(shuffled, tmp_path / "table.csv"), NAS_BENCH_201)
    assert table.accuracy(from_string(NAS_BENCH_201, STRINGS[3]), 200) == pytest.approx(0.9)


def test_columns_are_chosen_by_dataset_or_by_hand(tmp_path: Path) -> None:
    frame = FRAME.rename(columns={"acc_12": "a_test_acc_12", "test_acc_200": "a_validation_acc_200_mean"})
    frame["b_test_acc_200"], frame["a_b_test_acc_200"] = 50.0, 60.0
    path = as_parquet(frame, tmp_path / "table.parquet")
    assert read_table(path, NAS_BENCH_201, dataset="a").columns == {
        12: "a_test_acc_12",
        200: "a_validation_acc_200_mean",
    }
    assert read_table(path, NAS_BENCH_201, dataset="a_b").columns == {200: "a_b_test_acc_200"}
    chosen = column_epochs(["latency=1", "b_test_acc_200=200"])
    assert chosen == {1: "latency", 200: "b_test_acc_200"}
    table = read_table(path, NAS_BENCH_201, columns=chosen)
    assert table.accuracy(table.architectures()[2], 1) == pytest.approx(0.003)


@pytest.mark.parametrize(
    "text", ["acc_12", "=12", "acc=", "acc=0", "acc=twelve", "acc=1e3", "acc=-1", "acc=" + "9" * 99]
)
def test_a_choice_of_columns_that_is_none(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^table column '.*: expected COLUMN=EPOCHS, as in cifar10_test_acc_12=12$"):
        column_epochs([text])
    with pytest.raises(InvalidInput, match="'a' and 'b' both for 12 epochs: expected one column"):
        column_epochs(["a=12", "b=12"])


@pytest.mark.parametrize("write", [as_parquet, as_csv])
def test_costs_are_those_of_the_row_and_may_be_missing(write: Write, tmp_path: Path) -> None:
    frame = FRAME.assign(joules=[3, 1, 2, 0], tpu=[np.nan, 1.5, np.nan, 2.5])
    table = read_table(write(frame, tmp_path / "table"), NAS_BENCH_201, costs=("joules", "latency", "tpu"))
    for text, row in zip(STRINGS, frame.to_dict("records"), strict=True):
        costs = table.costs_of(from_string(NAS_BENCH_201, text))
        assert costs == pytest.approx({name: row[name] for name in ("joules", "latency", "tpu")}, nan_ok=True)
    with pytest.raises(InvalidInput, match=r"architecture .*: expected one of the 4 in table"):
        table.costs_of(from_string(NAS_BENCH_201, FORM.format(*["nor_conv_1x1"] * 6)))


def test_a_folder_of_nats_bench_has_no_columns_of_costs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^cost 'latency' of table .*without costs\. Give a Parquet or CSV file"):
        read_table(tmp_path, NAS_BENCH_201, costs=["latency"])


def with_row(row: int, column: str, value: Any) -> pd.DataFrame:
    frame = FRAME.astype({column: object})
    frame.loc[row, column] = value
    return frame


BAD: dict[str, tuple[pd.DataFrame, dict[str, Any], list[str]]] = {
    "no architectures": (FRAME.drop(columns="arch"), {}, ["'index', 'acc_12'", "a column 'arch'"]),
    "no accuracies": (FRAME[["arch", "latency"]], {}, ["named like cifar10_test_acc_200", "COLUMN=EPOCHS"]),
    "of no such dataset": (FRAME, {"dataset": "cifar100"}, ["named like cifar100_test_acc_200", "COLUMN=EPOCHS"]),
    "several for one fidelity": (
        FRAME.assign(validation_acc_200=5.0),
        {},
        ["test_acc_200, validation_acc_200 for 200 epochs", "test_acc_200=200"],
    ),
    "no such column": (FRAME, {"columns": {200: "acc"}}, ["column 'acc'", "index, acc_12, test_acc_200"]),
    "the architectures' column": (FRAME, {"columns": {200: "arch"}}, ["column 'arch'", "index, acc_12"]),
    "texts": (FRAME.assign(acc_12="high"), {}, ["'acc_12'", "expected numbers"]),
    "truths": (FRAME.assign(acc_12=True), {}, ["'acc_12'", "of type bool", "expected numbers"]),
    "above": (FRAME.assign(acc_12=[1.0, 2.0, 100.5, 3.0]), {}, ["accuracy 100.5", "row 3", "0 to 100"]),
    "below": (FRAME.assign(acc_12=[1.0, -2.0, 10.5, 3.0]), {}, ["accuracy -2", "row 2", "0 to 100"]),
    "missing": (FRAME.assign(acc_12=[1.0, 2.0, 10.5, np.nan]), {}, ["accuracy nan", "row 4", "0 to 100"]),
    "infinite": (FRAME.assign(acc_12=[1.0, 2.0, np.inf, 1.0]), {}, ["accuracy inf", "row 3", "0 to 100"]),
    "percent for fractions": (FRAME, {"unit": "fraction"}, ["accuracy 10", "row 1", "expected 0 to 1 (fraction)"]),
    "fractions for percent": (FRAME[["arch"]].assign(acc_9=0.5), {}, ["all at most 1", "expected percent, 0 to 100"]),
    "cost of another name": (FRAME, {"costs": ["latncy"]}, ["'latncy'", "Did you mean 'latency'?", "index, acc_12"]),
    "accuracies as a cost": (FRAME, {"costs": ["acc_12"]}, ["cost 'acc_12'", "holds accuracies"]),
    "architectures as a cost": (FRAME, {"costs": ["arch"]}, ["cost 'arch'", "It has index, acc_12"]),
    "a cost that marks what failed": (FRAME.assign(tpu=[1.0, -1, 2, 3]), {"costs": ["tpu"]}, ["cost -1", "row 2"]),
    "an infinite cost": (FRAME.assign(tpu=[1.0, 2, np.inf, 3]), {"costs": ["tpu"]}, ["cost inf", "row 3"]),
    "a cost in words": (FRAME.assign(tpu="slow"), {"costs": ["tpu"]}, ["'tpu'", "expected numbers"]),
    "no rows": (FRAME.iloc[:0], {}, ["without rows", "one row for each architecture"]),
    "twice": (FRAME.assign(arch=[*STRINGS[:3], STRINGS[1]]), {}, ["rows 2 and 4", "one row for each"]),
    "twice in another order": (
        FRAME.assign(arch=[*STRINGS[:3], STRINGS[0].replace("none~0|none~1|none~2", "none~2|none~1|none~0")]),
        {},
        ["rows 1 and 4", "one row for each"],
    ),
    "no string": (FRAME.assign(arch=[*STRINGS[:3], STRINGS[1] + "x"]), {}, ["row 4", "|OPERATION~0|OPERATION~1|"]),
    "another operation": (
        FRAME.assign(arch=[STRINGS[0].replace("none~2", "conv~2"), *STRINGS[1:]]),
        {},
        ["row 1", "'conv'", "nor_conv_1x1"],
    ),
    "no architecture": (FRAME.assign(arch=["DARTS", *STRINGS[1:]]), {}, ["row 1", "not JSON", "expected"]),
    "numbers": (FRAME.assign(arch=[None, *STRINGS[1:]]), {}, ["row 1", "expected text"]),
}


@pytest.mark.parametrize("write", [as_parquet, as_csv])
@pytest.mark.parametrize("case", BAD)
def test_a_malformed_table_is_named_in_one_line(case: str, write: Write, tmp_path: Path) -> None:
    frame, given, named = BAD[case]
    path = write(frame, tmp_path / "table")
    with pytest.raises(InvalidInput) as error:
        read_table(path, NAS_BENCH_201, **given)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert "expected" in message or case.endswith("cost") or case.startswith("cost")
    assert len(message) < 700
    if (case, write) not in (("truths", as_csv), ("no rows", as_csv)):  # CSV knows no types
        assert all(word in message for word in [str(path), *named]), message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n\x00\xff",
        b"PAR1",
        b"PAR1 but nothing else",
        b'{"a": [1, 2',
        b"a,b\n1,2,3\n1\n",
        b"a\x00b",
    ],
)
def test_a_file_that_is_no_table_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"expected (a Parquet or CSV file|one with a column 'arch')$") as error:
        read_table(path, NAS_BENCH_201)
    assert str(path) in str(error.value)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = as_parquet(FRAME, tmp_path / "table.parquet")
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(len(data) // 2) + data[4 + len(data) // 2 :])
    with pytest.raises(InvalidInput, match=r"expected a Parquet or CSV file$"):
        read_table(path, NAS_BENCH_201)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nothing.csv' cannot be read .No such file or directory.: expected a Parq"):
        read_table(tmp_path / "nothing.csv", NAS_BENCH_201)


def test_what_the_table_does_not_hold_is_named(tmp_path: Path) -> None:
    table = read_table(as_csv(FRAME, tmp_path / "table.csv"), NAS_BENCH_201)
    here = from_string(NAS_BENCH_201, STRINGS[0])
    for ask in (lambda: table.accuracy(here, 50), lambda: table.accuracies(50), lambda: table.rank(here, 50)):
        with pytest.raises(InvalidInput, match=r"^50 epochs: expected one of 12, 200, those in table .*table.csv$"):
            ask()
    other = from_string(NAS_BENCH_201, FORM.format(*["nor_conv_3x3"] * 6))
    with pytest.raises(InvalidInput, match=r"^architecture '\|nor_conv.*: expected one of the 4 in table .*table.csv$"):
        table.accuracy(other, 12)
