"""Sweeps as users have them, in files of their own: GOLD-NAS on digits, with epochs of a second or less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXT = """
from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training

COMMON = {common!r}
SWEEP = Sweep(
    name="mine",
    dataset="digits",
    arms=(
        Arm(
            method="gold_nas",
            space="gold",
            settings=GoldNAS.Config(**{{**COMMON, **{settings!r}}}),
            param_space={param_space!r},
        ),
    ),
    training=Training(settings=EvaluationSettings(**{{**COMMON, **{evaluation!r}}}), **{training!r}),
    execution=Execution(**{execution!r}),
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
    training: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
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
        training: fields of it, beside its settings.
        execution: fields of it.
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
        training=training or {},
        execution=execution or {},
        fields=fields,
    )
    (folder / "mine.py").write_text(text)
    return f"{folder / 'mine.py'}:SWEEP"
