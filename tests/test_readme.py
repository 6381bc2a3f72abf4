"""The README's examples run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nasray
from nasray import registry
from nasray.cli import main
from nasray.runs import TABLES, describe
from nasray.sweeps import Sweep

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL))
SEARCHES = re.findall(r"^nasray (search .*my_\w+\.py.*)$", README, re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, code in EXAMPLES.items():
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_has_its_examples() -> None:
    assert set(EXAMPLES) == {"mine.py", "my_space.py", "my_method.py", "my_dataset.py"}
    assert len(SEARCHES) == 3


@pytest.mark.parametrize("command", SEARCHES)
def test_own_space_method_and_dataset(command: str, folder: Path) -> None:
    assert main([*command.split(), "--out", str(folder / "run")]) == 0
    rows = nasray.load(folder / "run", "candidates")
    assert len(rows) == 1
    assert rows["macs"].item() > 0


def test_own_sweep(folder: Path) -> None:
    sweep = registry.find("sweep", "mine.py:SWEEP")
    assert isinstance(sweep, Sweep)
    assert len(sweep.searches()) == 8


def test_the_columns_are_documented_as_they_are() -> None:
    document = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    for table in TABLES.values():
        assert describe(table) in document


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README) + re.findall(r'<img src="(.*?)"', README)
    assert len(pictures) == 2
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
