"""Spaces that the methods which ask something of the supernet can search, and those that they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nasray.trials.search_config import find_method
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.dso import DSO
from search_spaces.architectures.gold import GOLD


@pytest.mark.parametrize("method", ["pc_darts", "entrannas", "entrannas_dst"])
def test_spaces_that_are_not_of_image_cells_are_refused(method: str) -> None:
    unsupported = find_method(method).unsupported
    assert unsupported(DARTS) is None
    assert unsupported(GOLD) is None
    assert "nodes carry operations" in str(unsupported(DSO))
    assert "its task is language" in str(unsupported(replace(DARTS, task="language")))
