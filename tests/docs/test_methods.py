"""Each method has a page, which says its knobs as the code has them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields

import pytest

from nasray.settings import Range, Settings
from nasray.trials.search_config import find_method
from tests.snippets import DOCS, ROOT

ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
METHODS = sorted(ENTRY_POINTS["nasray.methods"])


def row(config: type[Settings], name: str, swept: Range) -> str:
    (field,) = (one for one in fields(config) if one.name == name)
    said = f"{swept.low:g} to {swept.high:g}" + ", log" * swept.log + ", whole" * swept.integer
    if field.metadata["high"] is None:
        said += "; more is accepted"
    default = "None" if field.default is None else f"{field.default:g}"
    return f"| `{name}` | {said} | {default} | "


def test_every_method_has_a_page() -> None:
    assert sorted(page.stem for page in (DOCS / "methods").glob("*.md") if page.stem != "index") == METHODS
    index = (DOCS / "methods" / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", index, re.MULTILINE)) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_its_knobs_are_those_of_the_code(method: str) -> None:
    config = find_method(method).Config
    page = (DOCS / "methods" / f"{method}.md").read_text(encoding="utf-8")
    said = [line for line in page.splitlines() if re.match(r"\| `\w+` \|", line)]
    expected = [row(config, name, swept) for name, swept in config.knobs().items()]
    assert len(said) == len(expected)
    for line in expected:
        assert any(one.startswith(line) for one in said), f"{line!r} is not in {said}"
