"""NATS-Bench's own files: small ones, written by the package itself."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import pytest

from nasray.errors import InvalidInput
from nasray.spaces import from_string
from nasray.tabular import read_table
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

FORM = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
STRINGS = [FORM.format(*[operation] * 6) for operation in ("none", "skip_connect", "nor_conv_3x3")]
SEEDS = (777, 888)


def accuracy(index: int, dataset: str, split: str, epochs: int, seed: int) -> float:
    """In percent: different for everything that it may depend on."""
    last = {"x-valid": 1.0, "ori-test": 2.0, "x-test": 3.0, "train": 4.0}[split]
    return 10.0 * (index + 1) + last + 0.01 * len(dataset) + epochs / 1000 + (seed == 888) * 0.5


def trained(index: int, epochs: int) -> dict[str, Any]:
    nats_bench = pytest.importorskip("nats_bench")
    results = nats_bench.ArchResults(index, STRINGS[index])
    splits = {"cifar10": ["ori-test"], "cifar10-valid": ["x-valid", "ori-test"], "cifar100": ["x-valid", "x-test"]}
    for dataset, names in splits.items():
        for seed in SEEDS:
            every = dict.fromkeys(range(epochs), accuracy(index, dataset, "train", epochs, seed))
            one = nats_bench.ResultsCount(dataset, None, every, every, 0.1, 1.0, {}, seed, epochs, None)
            for name in names:
                # Only the last epoch is the training's result.
                values = {**dict.fromkeys(range(epochs), 1.0), epochs - 1: accuracy(index, dataset, name, epochs, seed)}
                one.update_OLD_eval(name, values, values)
            results.update(dataset, seed, one)
    state: dict[str, Any] = results.state_dict()
    return state


@pytest.fixture(params=["folder", "file"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    nats_bench = pytest.importorskip("nats_bench")
    of = {index: {str(epochs): trained(index, epochs) for epochs in (12, 200)} for index in range(2)}
    whole = {"meta_archs": STRINGS, "arch2infos": of, "evaluated_indexes": {0, 1}}
    if request.param == "file":
        nats_bench.pickle_save(whole, tmp_path / "NATS-tss-v1_0-3ffb9.pickle")
        return tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    nats_bench.pickle_save({"meta_archs": STRINGS, "evaluated_indexes": {0, 1}}, tmp_path / "meta.pickle")
    for index, trainings in of.items():
        nats_bench.pickle_save(trainings, tmp_path / f"{index:06d}.pickle")
    return tmp_path


def test_accuracies_are_means_over_seeds(files: Path) -> None:
    def mean(index: int, dataset: str, split: str, epochs: int) -> float:
        return sum(accuracy(index, dataset, split, epochs, seed) for seed in SEEDS) / len(SEEDS) / 100

    cells = [from_string(NAS_BENCH_201, text) for text in STRINGS]
    table = read_table(files, NAS_BENCH_201)
    assert table.epochs == (12, 200)
    assert table.architectures() == tuple(cells)
    for index in range(2):
        for epochs in (12, 200):
            expected = mean(index, "cifar10", "ori-test", epochs)
            assert table.accuracy(cells[index], epochs) == pytest.approx(expected, rel=1e-12)
    of_100 = read_table(files, NAS_BENCH_201, dataset="cifar100")
    assert of_100.accuracy(cells[1], 12) == pytest.approx(mean(1, "cifar100", "x-test", 12))
    columns = {12: "cifar10-valid/valid-accuracy", 200: "cifar10-valid/test-accuracy"}
    chosen = read_table(files, NAS_BENCH_201, columns=columns)
    assert chosen.accuracy(cells[0], 12) == pytest.approx(mean(0, "cifar10-valid", "x-valid", 12))
    assert chosen.accuracy(cells[0], 200) == pytest.approx(mean(0, "cifar10-valid", "ori-test", 200))

    with pytest.raises(InvalidInput, match=r"^cifar10/test-accuracy of architecture 2 after 200 epochs is not in"):
        table.accuracy(cells[2], 200)
    without = read_table(files, NAS_BENCH_201, columns={200: "cifar10/valid-accuracy"})
    with pytest.raises(InvalidInput, match=r"KeyError: .*valid-accuracy.*: expected trainings that are$"):
        without.accuracy(cells[0], 200)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"columns": {50: "cifar10/test-accuracy"}}, r"^50 epochs of NATS-Bench: expected 12 and 200$"),
        ({"columns": {12: "cifar10_test_acc_12"}}, r"^column 'cifar10_test_acc_12' .*: expected DATASET/ACCURACY"),
        ({"columns": {12: "cifar10/train-accuracy"}}, "expected DATASET/ACCURACY with cifar10-valid, cifar10,"),
        ({"dataset": "digits"}, r"^column 'digits/test-accuracy' of NATS-Bench"),
    ],
)
def test_what_it_does_not_hold_is_named(given: dict[str, Any], named: str, files: Path) -> None:
    with pytest.raises(InvalidInput, match=named):
        read_table(files, NAS_BENCH_201, **given)


def test_other_spaces_are_refused(files: Path) -> None:
    with pytest.raises(InvalidInput, match="row 1: architecture string for 'darts'"):
        read_table(files, DARTS)


@pytest.mark.parametrize("content", [None, b"", b"no archive", pickle.dumps({"a": 1})])
def test_what_is_not_its_files_is_named(content: bytes | None, tmp_path: Path) -> None:
    pytest.importorskip("nats_bench")
    path = tmp_path
    if content is not None:
        path = tmp_path / "x.pickle.pbz2"
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match="expected the folder NATS-tss-v1_0-3ffb9-simple and the file") as error:
        read_table(path, NAS_BENCH_201)
    assert len(str(error.value).splitlines()) == 1


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **named: Any) -> Any:
        if name.split(".")[0] == "nats_bench":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InvalidInput, match=r"needs its package: run pip install 'nasray\[nats-bench\]'"):
        read_table(tmp_path, NAS_BENCH_201)
