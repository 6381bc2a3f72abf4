"""Sweeps whose sizes follow from the data, the machine and the time that there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.sweeps.forecast import Forecast, forecast, spoken
from nasray.sweeps.sweep import Sweep
from nasray.training.dataset import Dataset
from nasray.tune.resources.room import own_resources

SIZES = ("channels", "cells", "epochs")
"""Sizes of a fitted sweep that are options."""
SPEED = {"cpu": 2e3, "cuda": 5e5}
"""Multiply-adds (M) a second that a trial trains with, where nothing is measured: a rule of thumb for one core and for
one GPU."""
MINUTES = 60.0
"""Time that a sweep is fitted into where none is given."""
SHARE = 0.9
"""Of the time that is planned for: what was measured is noisy."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is fitted."""

    channels: int
    """Channels of the first cell."""
    cells: int
    epochs: int
    """Of each search, and of each training from scratch."""


@dataclass(frozen=True, kw_only=True)
class FittedSweep:
    """A sweep for any images: how it is made of a dataset and sizes, and which sizes there are."""

    name: str
    like: Sweep
    """A sweep with the same arms, whatever its sizes: for what options there are."""
    build: Callable[[str, Dataset, Sizes], Sweep]
    """Name of the dataset, the dataset, sizes -> the sweep. The same arguments give the same sweep."""
    ladder: tuple[tuple[int, int], ...]
    """(channels, cells), from small to large."""
    epochs: tuple[int, int, int]
    """Fewest epochs, those from which on a larger network is preferred to more of them, and most."""
    ruled: frozenset[str]
    """Settings of searches and trainings that follow from data and sizes."""


def find_sweep(name: str) -> Sweep | FittedSweep:
    """A sweep by its registered name or ``FILE.py:NAME``.

    Raises:
        InvalidInput: there is none, or something else.
    """
    found = registry.find("sweep", name)
    if not isinstance(found, Sweep | FittedSweep):
        raise InvalidInput(f"sweep {name!r} is a {type(found).__name__}: expected a Sweep")
    return found


def fit(
    fitted: FittedSweep,
    dataset: str,
    data: Dataset,
    *,
    minutes: float | None = None,
    given: Mapping[str, int] | None = None,
    change: Callable[[Sweep], Sweep] = lambda sweep: sweep,
) -> tuple[Sweep, list[str]]:
    """The largest of a sweep's sizes that time allows, and the rules that gave it, in words.

    From the smallest up, a size is taken as long as searches and trainings of it end in time with enough epochs; what
    time is left then goes into epochs. With minutes one epoch of each size is measured in this process, else a rule of
    thumb for the machine stands for it, and an hour for the time.

    Args:
        fitted: what is made.
        dataset: name of the dataset.
        data: the dataset.
        minutes: from start to end.
        given: sizes that are taken as they are, by name; with all of them nothing is measured.
        change: what else is changed of the sweep, for it changes how long it takes.

    Raises:
        InvalidInput: a number of minutes that is none, or in which not even the smallest size ends.
    """
    given = given or {}
    if minutes is not None and not 0 < minutes < math.inf:
        raise InvalidInput(f"minutes {minutes:g}: expected a number above 0")
    fewest, enough, most = fitted.epochs

    def made(channels: int, cells: int, epochs: int) -> Sweep:
        sizes = Sizes(**{**{"channels": channels, "cells": cells, "epochs": epochs}, **given})
        return change(fitted.build(dataset, data, sizes))

    if set(given) == {"channels", "cells", "epochs"}:
        return made(1, 1, 1), []
    seconds = 60 * SHARE * (MINUTES if minutes is None else minutes)
    best: tuple[int, int, int] | None = None
    shortest, how = math.inf, "measured on this machine as it is now" if minutes is not None else "a rule of thumb"
    for channels, cells in fitted.ladder:
        sweep = made(channels, cells, enough)
        found = forecast(sweep, measured=minutes is not None)
        all_epochs = _by_rule(found, data, sweep) if found.seconds is None else found.seconds - found.waiting
        an_epoch = all_epochs / sweep.training.settings.epochs
        affordable = int((seconds - found.waiting) / an_epoch)
        shortest = min(shortest, found.waiting + an_epoch * given.get("epochs", fewest))
        needed = given.get("epochs", enough if best else fewest)
        if affordable < needed:
            break
        best = channels, cells, min(affordable, most)
    if best is None:
        raise InvalidInput(
            f"{fitted.name}: the smallest size takes about {spoken(shortest / SHARE)} ({how}). Give --minutes "
            f"{math.ceil(shortest / SHARE / 60)} or more, or a smaller --image-size."
        )
    sweep = made(*best)
    time = f"{minutes:g} minutes" if minutes is not None else f"{MINUTES:g} minutes, as none are given"
    return sweep, [
        f"{best[0]} channels, {best[1]} cells: of {_ladder(fitted)} the largest that trains for {enough} epochs in "
        f"{time}, or the smallest ({how})",
        f"{sweep.training.settings.epochs} epochs a search and a training: what time is left for, {fewest} to {most}",
        *_rest(sweep),
    ]


def _rest(sweep: Sweep) -> Iterator[str]:
    """What else followed from the data."""
    settings = sweep.training.settings
    yield (
        f"batches of {settings.batch_size}, learning rate {settings.learning_rate:g}, augmentation "
        f"{settings.augmentation}, {settings.validation_fraction:g} of the training images validate"
    )
    for arm in sweep.arms:
        for name, values in arm.param_space.items():
            if isinstance(values, tuple):
                yield f"{name} of {arm.method}: {', '.join(f'{value:g}' for value in values)}"


def _ladder(fitted: FittedSweep) -> str:
    return ", ".join(f"{channels}x{cells}" for channels, cells in fitted.ladder)


def _by_rule(found: Forecast, data: Dataset, sweep: Sweep) -> float:
    """Seconds of all epochs by multiply-adds: three passes over the supernet, and over networks of a third of it."""
    _, largest = found.macs
    images = len(data.train[1])
    work = 3 * images * largest * (found.search_epochs + found.training_epochs / 3)
    kind = "cuda" if "cuda" in sweep.devices or _has_gpu(sweep) else "cpu"
    return work / SPEED[kind] / found.parallel


def _has_gpu(sweep: Sweep) -> bool:
    return sweep.execution.gpus_per_trial != 0 and own_resources()["GPU"] > 0


def fitted_as(found: FittedSweep, sweep: Sweep) -> tuple[Sweep, dict[str, Any]]:
    """What a fitted sweep is before other options, at the sizes that a sweep of it has, and those as options."""
    settings = sweep.arms[0].settings
    sizes = {name: getattr(settings, name) for name in SIZES}
    base = found.build(sweep.dataset, sweep.data, Sizes(**sizes))
    return base, {"dataset": sweep.dataset, **sizes}
