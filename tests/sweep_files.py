"""Sweeps as users have them, in files of their own: GOLD-NAS on digits, with epochs of a second or less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXT = """
from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import EvaluationSettings, Sweep

COMMON = {common!r}
SWEEP = Sweep(
    name="mine",
    method="gold_nas",
    space="gold",
    dataset="digits",
    settings=GoldNAS.Config(**{{**COMMON, **{settings!r}}}),
    param_space={param_space!r},
    evaluation=EvaluationSettings(**{{**COMMON, **{evaluation!r}}}),
    **{fields!r},
)
"""


def gold_sweep(
    folder: Path,
    *,
    examples: int,
    settings: dict[str, Any],
    evaluation: dict[str, Any] | None = None,
    mu: tuple[float, ...] = (0.0, 300.0),
    varied: dict[str, tuple[float, ...]] | None = None,
    channels: int = 2,
    **fields: Any,
) -> str:
    """Write a sweep into a folder, and give what ``nasray sweep`` takes for it.

    Args:
        folder: in which ``mine.py`` is written.
        examples: trained on; they set how long an epoch takes.
        settings: of the searches, beside what they share with the trainings.
        evaluation: settings of the trainings.
        mu: its values, a search each.
        varied: what else is.
        channels: of the first cell.
        fields: of the sweep.
    """
    common = {
        "batch_size": 32,
        "channels": channels,
        "cells": 3,
        "auxiliary_weight": 0.0,
        "augmentation": "standard",
        "train_examples": examples,
    }
    text = TEXT.format(
        common=common,
        settings={"stop_macs": 0.01, "stable_epochs": 0, **settings},
        evaluation=evaluation or {},
        param_space={"mu": mu, **(varied or {})},
        fields=fields,
    )
    (folder / "mine.py").write_text(text)
    return f"{folder / 'mine.py'}:SWEEP"
