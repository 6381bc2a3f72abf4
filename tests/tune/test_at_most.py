"""The searcher that bounds how many trials go on: whom it asks when, and what a restored one waits for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator

from nasray.tune.at_most import AtMost


class Counting(Searcher):
    """Proposes 0, 1, 2 and then no more, and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(metric=["loss", "cost"], mode=["min", "max"])
        self.next = 0
        self.told: list[tuple[str, str, Any]] = []

    def suggest(self, trial_id: str) -> Any:
        if self.next == 3:
            return str(Searcher.FINISHED)
        self.next += 1
        return {"number": self.next - 1}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append(("result", trial_id, result))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.told.append(("error" if error else "complete", trial_id, result))

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(str(self.next))

    def restore(self, checkpoint_path: str) -> None:
        self.next = int(Path(checkpoint_path).read_text())


def test_the_next_is_proposed_when_the_last_has_ended() -> None:
    searcher = Counting()
    one = AtMost(searcher, 1)
    assert (one.metric, one.mode) == (["loss", "cost"], ["min", "max"])
    assert one.suggest("a") == {"number": 0}
    assert one.suggest("b") is None
    one.on_trial_result("a", {"loss": 1})
    assert one.suggest("b") is None
    one.on_trial_complete("before", None)  # of a run that was resumed: told, but not waited for
    assert one.suggest("b") is None
    one.on_trial_complete("a", {"loss": 2})
    assert one.suggest("b") == {"number": 1}
    one.on_trial_complete("b", error=True)
    assert one.suggest("c") == {"number": 2}
    one.on_trial_complete("c")
    assert [one.suggest("d"), one.suggest("e")] == [str(Searcher.FINISHED)] * 2
    assert searcher.told == [
        ("result", "a", {"loss": 1}),
        ("complete", "before", None),
        ("complete", "a", {"loss": 2}),
        ("error", "b", None),
        ("complete", "c", None),
    ]


def test_a_restored_one_waits_for_no_trial_that_may_be_lost(tmp_path: Path) -> None:
    one = AtMost(Counting(), 1)
    one.suggest("lost")
    SearchGenerator(one).save_to_dir(str(tmp_path), "session")
    restored = AtMost(Counting(), 1)
    SearchGenerator(restored).restore_from_dir(str(tmp_path))
    assert restored.suggest("next") == {"number": 1}
    assert restored.suggest("another") is None


def test_two_may_go_on_at_once() -> None:
    two = AtMost(Counting(), 2)
    assert [two.suggest(name) for name in "abc"] == [{"number": 0}, {"number": 1}, None]
    two.on_trial_complete("b", {"loss": 1})
    assert [two.suggest(name) for name in "cd"] == [{"number": 2}, None]
