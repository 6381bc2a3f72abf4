"""The sweep for one's own images: GOLD-NAS at four strengths, each with a smaller and a larger weight of the
multiply-adds, as in the demonstration on digits, with sizes that follow the data and the machine.

Every number below is a choice of ours; docs/own_images.md says them in words.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from nasray import registry
from nasray.costs import cost_table
from nasray.methods.gold_nas import GoldNAS
from nasray.spaces import CellSpace, NetworkSize
from nasray.sweeps import Arm, EvaluationSettings, Execution, FittedSweep, Sizes, Sweep, Training
from nasray.training import Dataset

SPACE = "gold"
STRENGTHS = (0.04, 0.12, 0.4, 1.2)
"""lambda0 times the steps of an epoch: with fewer steps each prunes more."""
WEIGHTS = (0.1, 0.6)
"""mu times the mean multiply-adds (M) of an operation: cheap networks need a larger weight to feel them."""
MOST = 6
"""Architectures of the front that are trained from scratch, and as many random ones."""
LIKE = Sweep(
    name="images",
    dataset="digits",
    arms=(
        Arm(
            method="gold_nas",
            space=SPACE,
            settings=GoldNAS.Config(stable_epochs=0),
            param_space={"lambda0": (0.003, 0.1), "mu": (30.0, 200.0)},
        ),
    ),
    training=Training(within=0.04, most=MOST),
    execution=Execution(gpus_per_trial="auto"),
)
"""Without what follows from the data."""
SMALL, LARGE = 5_000, 10_000
"""Training images: with fewer, a fifth of them validates and not a tenth; with more, cutout is worth its noise."""


def images(dataset: str, data: Dataset, sizes: Sizes) -> Sweep:
    """Any images (--data folder:PATH): GOLD-NAS on gold, in sizes that follow the data, the machine and --minutes."""
    count = len(data.train[1])
    fraction = 0.2 if count < SMALL else 0.1
    trained = count if data.validation is not None else round(count * (1 - fraction))
    # About twelve steps an epoch where images are few.
    batch = min(96, max(8, 8 * round(trained / 12 / 8)))
    steps = max(1, trained // batch)
    shared: dict[str, Any] = {
        "epochs": sizes.epochs,
        "batch_size": batch,
        # As in the demonstration for batches of 96 images, by the square root for smaller ones.
        "learning_rate": round(0.1 * math.sqrt(batch / 96), 4),
        "channels": sizes.channels,
        "cells": sizes.cells,
        "auxiliary_weight": 0.4 if sizes.cells >= 8 else 0.0,
        "augmentation": "cutout" if count >= LARGE else "standard",
        "validation_fraction": fraction,
    }
    space: CellSpace = registry.find("space", SPACE, CellSpace)
    size = NetworkSize(channels=sizes.channels, cells=sizes.cells, input_shape=data.input_shape, classes=data.classes)
    table = cost_table(space, size)
    priced = [cost for costs in table.macs_EO for cost in costs[costs > 0].tolist()]
    mean = sum(priced) / len(priced) / 1e6
    (arm,) = LIKE.arms
    arm = replace(
        arm,
        settings=GoldNAS.Config(**shared, stable_epochs=0, stop_macs=round(0.17 * table.largest_macs, 4)),
        param_space={
            "lambda0": _varied("lambda0", (strength / steps for strength in STRENGTHS)),
            "mu": _varied("mu", (weight / mean for weight in WEIGHTS)),
        },
    )
    settings = EvaluationSettings(**shared, drop_path=0.2 if sizes.epochs >= 100 else 0.0)
    return replace(LIKE, dataset=dataset, arms=(arm,), training=replace(LIKE.training, settings=settings))


def _varied(knob: str, values: Iterable[float]) -> tuple[float, ...]:
    """Values of a knob, within its range; two digits are enough for what is varied by factors."""
    accepted = GoldNAS.Config.knobs()[knob]
    within = (min(max(value, accepted.low), accepted.high) for value in values)
    return tuple(dict.fromkeys(float(f"{value:.2g}") for value in within))


IMAGES = FittedSweep(
    name="images",
    like=LIKE,
    build=images,
    ladder=((4, 3), (8, 5), (12, 8), (16, 11), (36, 14)),
    epochs=(8, 24, 200),
    ruled=frozenset(
        {
            *("lambda0", "mu", "channels", "cells", "epochs", "batch_size", "learning_rate", "auxiliary_weight"),
            *("augmentation", "validation_fraction", "stop_macs", "drop_path"),
        }
    ),
)
