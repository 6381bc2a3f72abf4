"""The README, and the documents that are made of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nasray import registry
from nasray.runs import TABLES, describe
from nasray.sweeps import Sweep
from tests.snippets import write_files

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(README.encode()) <= 8500


def test_own_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, ROOT / "docs" / "sweeps.md")
    monkeypatch.chdir(tmp_path)
    sweep = registry.find("sweep", "mine.py:SWEEP", Sweep)
    assert len(sweep.searches()) == 8


def test_the_columns_are_documented_as_they_are() -> None:
    document = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    for table in TABLES.values():
        assert describe(table) in document


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
