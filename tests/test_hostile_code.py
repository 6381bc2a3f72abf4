"""A user's own code may be anything: what cannot be used ends in one line that says where, never in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nasray.cli import main

HEAD = """
import numpy as np, torch
from torch import nn
from nasray.training import Dataset

x, y = torch.rand(40, 1, 8, 8), torch.arange(40) % 2
plain = lambda x, generator=None: x
GOOD = dict(name="mine", task="classification", classes=2, input_shape=(1, 8, 8), train=(x, y), test=(x, y),
            augmentations={"none": plain, "standard": plain})
"""

DATASETS = {
    "gives None": "def mine(root): pass",
    "gives a tuple": "def mine(root): return (x, y), (x, y)",
    "takes nothing": "def mine(): return Dataset(**GOOD)",
    "is no function": "mine = 3",
    "raises": "def mine(root): return {}['images']",
    "exits": "def mine(root): raise SystemExit(0)",
    "numpy labels": "def mine(root): return Dataset(**{**GOOD, 'train': (x, y.numpy())})",
    "numpy images": "def mine(root): return Dataset(**{**GOOD, 'test': (x.numpy(), y)})",
    "a list of labels": "def mine(root): return Dataset(**{**GOOD, 'train': (x, y.tolist())})",
    "labels as floats": "def mine(root): return Dataset(**{**GOOD, 'train': (x, y.float())})",
    "labels as int32": "def mine(root): return Dataset(**{**GOOD, 'train': (x, y.int())})",
    "one-hot labels": "def mine(root): return Dataset(**{**GOOD, 'train': (x, nn.functional.one_hot(y))})",
    "a class too many": "def mine(root): return Dataset(**{**GOOD, 'train': (x, y + 1)})",
    "an empty split": "def mine(root): return Dataset(**{**GOOD, 'test': (x[:0], y[:0])})",
    "fewer labels": "def mine(root): return Dataset(**{**GOOD, 'train': (x, y[1:])})",
    "three parts": "def mine(root): return Dataset(**{**GOOD, 'train': (x, y, y)})",
    "no tuple": "def mine(root): return Dataset(**{**GOOD, 'train': x})",
    "a field missing": "def mine(root): return Dataset(name='mine')",
    "classes as text": "def mine(root): return Dataset(**{**GOOD, 'classes': '2'})",
    "a shape of floats": "def mine(root): return Dataset(**{**GOOD, 'input_shape': (1.0, 8, 8)})",
    "a shape that is a number": "def mine(root): return Dataset(**{**GOOD, 'input_shape': 8})",
    "a name that is none": "def mine(root): return Dataset(**{**GOOD, 'name': None})",
    "augmentations as a list": "def mine(root): return Dataset(**{**GOOD, 'augmentations': [plain]})",
    "an augmentation that is none": "def mine(root): return Dataset(**{**GOOD, 'augmentations': {'none': None}})",
    "an augmentation that fails": "def bad(x, generator=None): return x / [1]\n"
    "def mine(root): return Dataset(**{**GOOD, 'augmentations': {'none': bad, 'standard': bad}})",
}

SPACE_HEAD = """
from torch import nn
from nasray.methods.random import Random
from nasray.networks.operations import Operation
from nasray.settings import setting
from nasray.spaces import CellGraph, CellSpace, Normalisation
from dataclasses import dataclass, replace

PLAIN = Normalisation(affine=True, after_pool=False, after_identity=False)
def space(*operations, **graph):
    cells = {"normal": CellGraph(**{"inputs": 2, "nodes": 1, "operations": operations, **graph})}
    return CellSpace(name="small", cells=cells, search_channels=2, search_cells=1, evaluation_channels=2,
                     evaluation_cells=1, search_normalisation=PLAIN, evaluation_normalisation=PLAIN)
"""

SPACES = {
    "a sequence of modules": "def op(channels, stride, normalisation): return nn.Sequential(nn.ReLU())",
    "an operation that is None": "def op(channels, stride, normalisation): pass",
    "an operation that takes nothing": "def op(): return Operation.of(nn.ReLU())",
    "an operation that raises": "def op(channels, stride, normalisation): 1 / 0",
    "an operation of no module": "op = 3",
    "an operation that fails forward": "class Bad(nn.Module):\n    def forward(self, x): return x.nothing\n"
    "def op(channels, stride, normalisation): return Operation.of(Bad())",
    "no nodes": "SPACE = space('skip_connect', nodes=0)",
    "no operations": "SPACE = space()",
    "no inputs": "SPACE = space('skip_connect', inputs=0)",
    "nodes as text": "SPACE = space('skip_connect', nodes='many')",
    "no space": "SPACE = {'normal': 3}",
    "an unknown operation": "SPACE = space('skip_connect', 'no_such_operation')",
    "an operation that is no name": "SPACE = space('skip_connect', nn.ReLU())",
    "cells as a list": "SPACE = replace(space('skip_connect'), cells=[1])",
    "channels as text": "SPACE = replace(space('skip_connect'), search_channels='8')",
}

METHODS = {
    "no method": "class Mine: pass",
    "a function": "def Mine(): pass",
    "a method that raises": "class Mine(Random):\n    def gates(self): return self.nothing",
    "a Config of another type": "class Mine(Random):\n    Config = dict",
    "a default of another type": "class Mine(Random):\n    @dataclass(frozen=True, kw_only=True)\n"
    "    class Config(Random.Config):\n        strength: float = setting('a', low=0.0)",
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(["search", *arguments])
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch ")]
    assert code in (1, 2)
    assert len(said) == 1, said
    assert said[0].startswith("nasray: ")
    assert len(said[0]) < 1000
    assert "ImportError" not in said[0]
    return said[0]


@pytest.fixture
def more(tmp_path: Path) -> list[str]:
    return ["--epochs", "1", "--batch-size", "8", "--out", str(tmp_path / "out")]


@pytest.mark.parametrize("case", DATASETS)
def test_a_dataset(case: str, tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(HEAD + DATASETS[case])
    said = refused(capsys, "random", "gold", f"{tmp_path}/mine.py:mine", *more)
    assert "dataset" in said or "mine.py, line 10: TypeError" in said


@pytest.mark.parametrize("case", SPACES)
def test_a_space(case: str, tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = SPACES[case]
    if "SPACE" not in text:
        text += f"\nSPACE = space('skip_connect', {str(tmp_path / 'mine.py:op')!r})"
    (tmp_path / "mine.py").write_text(SPACE_HEAD + text)
    refused(capsys, "random", f"{tmp_path}/mine.py:SPACE", "digits", *more)


@pytest.mark.parametrize("case", METHODS)
def test_a_method(case: str, tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(SPACE_HEAD + METHODS[case])
    refused(capsys, f"{tmp_path}/mine.py:Mine", "gold", "digits", *more)


@pytest.mark.parametrize(
    "arguments",
    [
        ["cost", "darts", "DARTS_V2", "--channels", "1000000000000"],
        ["cost", "darts", "DARTS_V2", "--cells", "1000000000000"],
        ["cost", "darts", "DARTS_V2", "--classes", "9" * 30],
        ["cost", "darts", "DARTS_V2", "--input", "3x1000000000000x8"],
        ["search", "random", "gold", "digits", "--split-seed", "18446744073709551616"],
        ["search", "random", "gold", "digits", "--seed", "9223372036854775808"],
        ["search", "random", "gold", "digits", "--seed", "-1"],
        ["search", "random", "gold", "digits", "--channels", "9" * 20],
        ["search", "random", "gold", "digits", "--threads", "0"],
        ["search", "random", "gold", "digits", "--out", "/proc/nothing"],
    ],
)
def test_numbers_beyond_reason(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) in (1, 2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("nasray: ")


def test_the_traceback_of_a_user_s_own_code_is_there_on_demand(
    tmp_path: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(SPACE_HEAD + METHODS["a method that raises"])
    monkeypatch.setenv("NASRAY_TRACEBACK", "1")
    with pytest.raises(AttributeError, match="nothing"):
        main(["search", f"{tmp_path}/mine.py:Mine", "gold", "digits", *more])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    "arguments", [["--help"], pytest.param(["cost", "darts", "DARTS_V2"], marks=pytest.mark.slow), ["list", "spaces"]]
)
def test_a_full_disk_under_the_output_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "nasray.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, "nasray: No space left on device\n")
