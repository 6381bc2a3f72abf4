"""The benchmark of methods on NAS-Bench-201: that it has them all, goes on after a kill, and looks up what it says."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nasray import registry
from nasray.methods.random import Random
from nasray.tabular import read_table
from nasray.trials.search_config import SearchConfig, find_method
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

CELLS = {
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|": 10.0,
    "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|": 30.0,
    "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|": 20.0,
    "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|": 80.0,
}


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).with_name("nas_bench_201_methods.py")
    spec = importlib.util.spec_from_file_location("nas_bench_201_methods", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_that_can_search_the_space_is_there(benchmark: ModuleType) -> None:
    able = {name for name in registry.names("method") if find_method(name).unsupported(NAS_BENCH_201) is None}
    assert set(benchmark.METHODS) == able
    found = benchmark.configs()
    assert {(config.method, config.seed) for config in found} == {(name, seed) for name in able for seed in (0, 1, 2)}


def test_a_killed_run_goes_on_with_what_is_missing(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Random.Config(epochs=1, channels=2, cells=3, batch_size=16, train_examples=32, augmentation="none")
    first = SearchConfig(method="random", space="nas_bench_201", dataset="digits", settings=small)
    configs = [replace(first, seed=seed) for seed in range(3)]
    searched: list[int] = []

    def search(config: SearchConfig) -> Any:
        if config.seed == 2 and not searched[2:]:
            searched.append(-1)
            raise KeyboardInterrupt
        searched.append(config.seed)
        return real(config)

    real = benchmark.search
    monkeypatch.setattr(benchmark, "search", search)
    file = tmp_path / "runs" / "found.jsonl"
    with pytest.raises(KeyboardInterrupt):
        benchmark.run_all(configs, file)
    text = file.read_text()
    assert text.count("\n") == 2
    file.write_text(text[:-20])  # the power went while the second line was written
    found = benchmark.run_all(configs, file)
    assert searched == [0, 1, -1, 1, 2]
    assert [line["seed"] for line in found] == [0, 1, 2]
    assert [json.loads(line)["arch"] for line in file.read_text().splitlines()] == [line["arch"] for line in found]
    assert json.loads(text.splitlines()[1])["arch"] == found[1]["arch"]


def test_the_table_holds_what_is_looked_up(benchmark: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("arch,acc_200\n" + "".join(f"{arch},{accuracy}\n" for arch, accuracy in CELLS.items()))
    table = read_table(file, NAS_BENCH_201)
    common = {"epochs": 1, "cpu_seconds": 1.4}
    found = [{"method": "darts", "arch": arch, **common} for arch in list(CELLS)[1:]]
    found += [{"method": "random", "arch": next(iter(CELLS)), **common}]
    _, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in benchmark.markdown(found, table))
    darts, random, everything = rows
    # Of 30, 20 and 80: the mean, the deviation by hand, and the middle one of ranks 2, 3 and 1.
    assert darts[:3] == ["`darts`", "43.33 ± 32.15", "2"]
    assert random[:3] == ["`random`", "10.00", "4"]
    assert everything[1].startswith("35.00 ± 31.09; quartiles 17.50, 25.00, 42.50; best 80.00")
    # Published for this space: 7.78 M without a convolution in the cells. One 3x3 convolution on an edge of every cell
    # adds 15 times 16 * 16 * 9 * 32 * 32.
    assert random[3] == "7.8"
    assert darts[3] == "31.4 ± 20.4"
