from __future__ import annotations

import os
from pathlib import Path

import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.spaces import CellSpace
from search_spaces.architectures.darts import DARTS


def test_nasrays_own_parts_come_through_entry_points():
    assert registry.find("space", "darts") is DARTS
    assert {"darts", "gold"} <= set(registry.names("space"))
    assert {"darts", "gold_nas", "random"} <= set(registry.names("method"))
    assert {"digits", "cifar10", "fashion_mnist"} <= set(registry.names("dataset"))


def test_an_unknown_name_is_named_with_those_that_are():
    with pytest.raises(InvalidInput) as error:
        registry.find("space", "dart")
    message = str(error.value)
    assert message.startswith("unknown space 'dart': did you mean 'darts'? accepted are ")
    assert "darts" in message
    assert "gold" in message
    assert message.endswith("or FILE.py:NAME")
    assert "\n" not in message


def test_an_unknown_kind_has_no_names():
    assert registry.names("planet") == []
    with pytest.raises(InvalidInput, match=r"^unknown planet 'earth': accepted are none, or FILE.py:NAME$"):
        registry.find("planet", "earth")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "types.py"  # a name of the standard library's
    path.write_text(
        "import types\n"
        "from dataclasses import replace\n"
        "from search_spaces.architectures.darts import DARTS\n"
        "MINE = replace(DARTS, name='mine', search_channels=8)\n"
        "SAME = types.MappingProxyType\n"
    )
    return path


def test_a_file_opens_the_same_door(file: Path):
    mine = registry.find("space", f"{file}:MINE")
    assert isinstance(mine, CellSpace)
    assert mine.name == "mine"
    assert registry.find("space", f"{file}:MINE") is mine
    assert registry.find("thing", f"{file}:SAME") is __import__("types").MappingProxyType


def test_a_relative_path_means_the_same_everywhere(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(file.parent)
    name = registry.absolute("types.py:MINE")
    assert name == f"{file}:MINE"
    assert registry.find("space", "./types.py:MINE") is registry.find("space", name)
    monkeypatch.setenv("HOME", str(file.parent))
    assert registry.absolute("~/types.py:MINE") == name
    assert registry.absolute("darts") == "darts"


def test_files_of_one_name_are_two_modules(tmp_path: Path):
    found = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"X = {folder!r}\n")
        found.append(registry.find("thing", f"{tmp_path / folder}/mine.py:X"))
    assert found == ["a", "b"]


def test_what_a_file_does_not_define(file: Path):
    with pytest.raises(InvalidInput, match=r"^unknown space '.*types.py:YOURS': types.py defines DARTS, MINE, "):
        registry.find("space", f"{file}:YOURS")
    with pytest.raises(InvalidInput, match=r"there is no file .*nothing.py$"):
        registry.find("space", f"{file.parent}/nothing.py:MINE")
    with pytest.raises(InvalidInput, match=r"there is no file"):
        registry.find("space", f"{file.parent}{os.sep}.py:MINE")


def test_a_file_that_fails_is_tried_again(tmp_path: Path):
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        registry.find("space", f"{path}:X")
    path.write_text("X = 1234567\n")
    assert registry.find("space", f"{path}:X") == 1234567
