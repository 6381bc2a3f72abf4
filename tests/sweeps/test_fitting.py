"""Sweeps that fit data, machine and time, and what a sweep says before it runs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from nasray import registry
from nasray.cli.all_verbs import VERBS
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.runs import open_storage
from nasray.sweeps import Arm, Budget, EvaluationSettings, FittedSweep, Sweep, Training, forecast
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.fitting import fit
from nasray.sweeps.made import sweep_of
from nasray.sweeps.run import read_run
from nasray.sweeps.selection import chosen
from nasray.training.dataset import Dataset, load_dataset
from nasray.training.splits import splits_of
from nasray.trials.evaluation import EvaluationConfig
from nasray.trials.search_config import SearchConfig
from nasray.trials.speed import epoch_seconds
from tests.benchmarks.own_images import draw

IMAGES: FittedSweep = registry.find("sweep", "images", FittedSweep)


@pytest.fixture
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int | None, int | None]]:
    """Epochs that take a second for 4 channels and 3 cells, and more by both; gives what was measured."""
    sizes: list[tuple[int | None, int | None]] = []

    def epoch(config: SearchConfig | EvaluationConfig, dataset: Dataset, device: str | None = None) -> float:
        settings = config.settings
        sizes.append((settings.channels, settings.cells))
        return (settings.channels or 0) ** 2 * (settings.cells or 0) / 48

    monkeypatch.setattr(forecast, "epoch_seconds", epoch)
    monkeypatch.setattr(forecast, "own_resources", lambda: {"CPU": 2, "GPU": 0})
    monkeypatch.setattr(forecast, "has_own_ray", lambda address: True)  # a session of other tests may have one
    return sizes


@pytest.mark.slow
def test_more_time_gives_longer_and_then_larger_networks(
    digits: Dataset, measured: list[tuple[int | None, int | None]]
) -> None:
    found = {}
    for minutes in (4, 8, 60_000):
        sweep, rules = fit(IMAGES, "digits", digits, minutes=minutes)
        settings = sweep.training.settings
        found[minutes] = (settings.channels, settings.cells, settings.epochs)
        # It ends in time, with a tenth to spare.
        assert forecast.forecast(sweep).seconds <= 60 * minutes * 0.9
        assert f"{settings.channels} channels, {settings.cells} cells" in rules[0]
        assert f"{minutes} minutes, or the smallest (measured on this machine as it is now)" in rules[0]
        assert (sweep.arms[0].settings.channels, sweep.arms[0].settings.epochs) == (settings.channels, settings.epochs)
    assert found[4][:2] == (4, 3)
    assert list(found.values()) == sorted(found.values(), key=lambda one: one[:2])
    assert found[60_000] == (36, 14, 200)
    assert 8 <= found[4][2] < found[8][2]
    with pytest.raises(InvalidInput, match=r"^images: the smallest size takes about .* Give --minutes (\d) or more"):
        fit(IMAGES, "digits", digits, minutes=1)
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match=r"^minutes .*: expected a number above 0"):
            fit(IMAGES, "digits", digits, minutes=wrong)


@pytest.mark.slow
def test_sizes_that_are_given_are_taken_and_nothing_is_measured(
    digits: Dataset, measured: list[tuple[int | None, int | None]]
) -> None:
    first, _ = fit(IMAGES, "digits", digits, minutes=8)
    settings = first.training.settings
    given = {"channels": settings.channels or 0, "cells": settings.cells or 0, "epochs": settings.epochs}
    measured.clear()
    again, rules = fit(IMAGES, "digits", digits, given=given)
    assert (again, rules, measured) == (first, [], [])
    # Without minutes the machine stands for itself.
    by_rule, rules = fit(IMAGES, "digits", digits)
    assert measured == []
    assert "60 minutes, as none are given, or the smallest (a rule of thumb)" in rules[0]
    assert by_rule.training.settings.epochs >= 8
    some, _ = fit(IMAGES, "digits", digits, minutes=8, given={"cells": 8})
    assert some.training.settings.cells == 8


def test_a_run_that_exists_keeps_its_sizes_and_nothing_is_measured(
    tmp_path: Path, measured: list[tuple[int | None, int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "imgs", 30)
    monkeypatch.chdir(tmp_path)
    options = {"dataset": "folder:imgs", "minutes": 15, "image_size": "8x6"}
    sweep = sweep_of(IMAGES, options)
    assert sweep.dataset == f"folder:{tmp_path / 'imgs'}?size=8x6"
    assert measured
    run = open_storage("runs/images")
    run.write_json("run.json", {"sweep": sweep.to_dict(), "reference": [1.0, 0.3]})
    measured.clear()
    assert sweep_of(IMAGES, options) == sweep
    assert sweep_of(IMAGES, {**options, "minutes": 30, "max_failures": 0}).arms == sweep.arms
    assert read_run(run)[0] == sweep  # as `nasray resume` reads it
    assert measured == []
    # The command that repeats it elsewhere holds the sizes.
    words = command_of(sweep, Source(name="images", options=options))["command"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = VERBS["sweep"].taken(words[2:])
    assert again.pop("sweep").endswith("images")
    assert sweep_of(IMAGES, again).identity() == sweep.identity()
    assert measured == []


def test_strengths_follow_the_steps_and_the_size(digits: Dataset) -> None:
    def varied(dataset: Dataset, channels: int) -> dict[str, tuple[float, ...]]:
        sweep, _ = fit(IMAGES, "digits", dataset, given={"channels": channels, "cells": 3, "epochs": 16})
        space = sweep.arms[0].param_space
        return {name: tuple(values) for name, values in space.items()}  # type: ignore[arg-type]

    few = replace(digits, train=(digits.train[0][:300], digits.train[1][:300]))
    # The demonstration on digits: 0.003 to 0.1, and 30 and 200, which were found by hand.
    assert varied(digits, 4)["lambda0"][0] == pytest.approx(0.003, rel=0.3)
    assert varied(digits, 4)["mu"] == pytest.approx((30, 200), rel=0.2)
    assert varied(digits, 8)["mu"][0] == pytest.approx(30 / 4, rel=0.3)  # four times the multiply-adds
    # 11 steps of 96 images, and 15 of 16.
    assert varied(few, 4)["lambda0"][0] == pytest.approx(varied(digits, 4)["lambda0"][0] * 11 / 15, rel=0.05)


def test_at_most_so_many_of_a_front_are_trained() -> None:
    settings = GoldNAS.Config(channels=4, cells=3, stop_macs=0.01)
    sweep = Sweep(
        name="most",
        dataset="digits",
        arms=(Arm(method="gold_nas", space="gold", settings=settings),),
        training=Training(most=3, settings=EvaluationSettings(channels=4, cells=3, epochs=2)),
    )
    rows = pd.DataFrame(
        {
            "method": "gold_nas",
            "trial_id": "t",
            "architecture_id": [f"a{i}" for i in range(8)],
            "epoch": range(8),
            "snapshot": 0,
            "macs": [float(i) for i in range(8)],
            "accuracy": [0.1 * i for i in range(8)],
            "metric": "accuracy",
        }
    )
    assert list(chosen(sweep, rows)["architecture_id"]) == ["a0", "a4", "a7"]
    one = replace(sweep, training=replace(sweep.training, most=1))
    assert list(chosen(one, rows)["architecture_id"]) == ["a0"]
    every = replace(sweep, training=replace(sweep.training, most=None))
    assert len(chosen(every, rows)) == 8
    with pytest.raises(InvalidInput, match=r"^training.most 0"):
        Training(most=0)


def test_what_a_sweep_will_do_is_said_before(measured: list[tuple[int | None, int | None]]) -> None:
    sweep: Sweep = registry.find("sweep", "digits", Sweep)
    found = forecast.forecast(sweep)
    # 8 searches of 16 epochs, and 10 + 10 trainings of 15 epochs of a second each, two at a time.
    assert (found.searches, found.search_epochs, found.trainings, found.training_epochs) == (8, 128, 20, 300)
    assert found.seconds == pytest.approx(20 + 1.3 * (128 + 300 + 28) / 2)
    text = "\n".join(forecast.lines(sweep, found))
    assert "8 searches, 128 epochs in all\nabout 20 trainings" in text
    assert "--training.most bounds it" in text
    assert "with 2 trials at once" in text
    bounded = replace(sweep, training=replace(sweep.training, most=3), budget=Budget(0.1))
    text = "\n".join(forecast.lines(bounded, forecast.forecast(bounded, measured=False)))
    assert "at most 6 trainings from scratch, 90 epochs in all" in text
    assert "budget 0.1 M: what exceeds it is made narrower" in text
    assert "MiB" in text


def test_an_epoch_is_measured_by_a_few_batches(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))  # each epoch takes as many ticks as another
    settings = EvaluationSettings(channels=2, cells=3, batch_size=16, augmentation="none", auxiliary_weight=0.0)
    space = registry.find("space", "gold")
    architecture = forecast.any_architecture(space, 3)
    config = EvaluationConfig(space="gold", dataset="digits", architecture=architecture, settings=settings, seed=0)
    half = replace(config, settings=replace(settings, train_examples=600))
    whole = len(splits_of(digits, settings, 0.0).train)
    assert epoch_seconds(config, digits) == pytest.approx(epoch_seconds(half, digits) * whole / 600)
