from __future__ import annotations

from nasray.errors import told_once


def test_equal_reasons_are_told_once_with_how_many_there_are():
    failures = [("a", "no width obeys it"), ("b", "diverged"), ("c", "no width obeys it"), ("d", "no width obeys it")]
    assert told_once(failures) == ["3 trials, a the first: no width obeys it", "trial b: diverged"]
    assert told_once([]) == []
