"""The settings that led to a population's best member, back through all clones."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from nasray.errors import InvalidInput
from nasray.results.schedule import in_words, schedule


def row(member: str, epoch: int, rate: float, source: str | None = None) -> dict[str, object]:
    accuracy = epoch / 10
    settings = json.dumps({"learning_rate": rate, "augmentation": "none"})
    return {
        "trial_id": member, "epoch": epoch, "in_force": settings, "cloned_from": source, "loss": 1.0,
        "accuracy": accuracy,
    }  # fmt: skip


ROWS = pd.DataFrame(
    [
        *(row("a", epoch, 0.1) for epoch in (1, 2, 3, 4)),
        *(row("b", epoch, 0.2) for epoch in (1, 2)),
        *(row("b", epoch, 0.12, "a" if epoch == 3 else None) for epoch in (3, 4)),
        *(row("c", epoch, 0.3) for epoch in (1, 2, 3, 4)),
        *(row("c", epoch, 0.096, "b" if epoch == 5 else None) for epoch in (5, 6)),
    ]
)


def test_it_follows_the_clones_to_the_first_epoch() -> None:
    found = schedule(ROWS.sample(frac=1.0, random_state=0), "c")
    assert found["trial_id"].tolist() == ["a", "a", "b", "b", "c", "c"]
    assert found["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found["learning_rate"].tolist() == [0.1, 0.1, 0.12, 0.12, 0.096, 0.096]
    assert list(in_words(found)) == [
        "epochs 1 to 2: learning_rate 0.1, augmentation none",
        "epochs 3 to 4: learning_rate 0.12, augmentation none",
        "epochs 5 to 6: learning_rate 0.096, augmentation none",
    ]


def test_a_missing_epoch_is_said() -> None:
    with pytest.raises(InvalidInput, match="epoch 2 of member a"):
        schedule(ROWS[(ROWS["trial_id"] != "a") | (ROWS["epoch"] != 2)], "c")
