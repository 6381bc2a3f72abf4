"""The table of features: every cell is an answer, every source is named and used, each "no" of ours has its reason."""

from __future__ import annotations

import re

from nasray import __version__
from tests.snippets import DOCS

PAGE = (DOCS / "comparison.md").read_text(encoding="utf-8")
TABLES, SOURCES = PAGE.split("## Sources")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLES.splitlines() if line.startswith("| ")]
FEATURES = [row for row in ROWS if len(row) == 8 and row[1] != "nasray"]
REASONS = {row[0]: row[1] for row in ROWS if len(row) == 2}


def test_each_no_of_ours_says_why() -> None:
    assert len(FEATURES) >= 30
    assert {feature for feature, ours, *_ in FEATURES if ours == "no"} == REASONS.keys() - {""}
    assert all(re.fullmatch(r"[^|]{15,}", reason) for feature, reason in REASONS.items() if feature)


def test_every_cell_is_an_answer_and_every_source_is_used() -> None:
    for feature, *cells in FEATURES:
        assert all(re.match(r"(yes|part|code|no|\?)\b|\?$", cell) for cell in cells), feature
    named = re.findall(r"^\| (\w\d) \|", SOURCES, re.MULTILINE)
    assert sorted(named) == sorted(set(re.findall(r"\[([onrsxa]\d)\]", TABLES)))


def test_it_is_of_this_version() -> None:
    assert f"| nasray | {__version__} |" in TABLES
