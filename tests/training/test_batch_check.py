"""A dataset whose declaration is wrong is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.methods.random import Random
from nasray.spaces import Architecture
from nasray.training.batch_check import check_batch
from nasray.training.dataset import Dataset, Transform, load_dataset
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from search_spaces.architectures.gold import GOLD


def scaled(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return x.float() / 255


def dataset(other: Transform = scaled, none: Transform = scaled, **changes: Any) -> Dataset:
    def part(count: int) -> tuple[Tensor, Tensor]:
        images = torch.arange(count * 16 * 16).reshape(count, 1, 16, 16) % 251
        return images.to(torch.uint8), torch.arange(count) % 3

    fields: dict[str, Any] = dict(
        name="scenes",
        task="classification",
        classes=3,
        input_shape=(1, 16, 16),
        train=part(120),
        test=part(30),
        augmentations={"none": none, "other": other},
    )
    return Dataset(**{**fields, **changes})


def after(change: Callable[[Tensor], Any]) -> Transform:
    return lambda x, generator: change(scaled(x, generator))


def without_numbers(x: Tensor) -> Tensor:
    return torch.where(x > 0.5, x, torch.nan)


WRONG: dict[str, tuple[Dataset, str]] = {
    "declared shape": (
        dataset(input_shape=(1, 8, 8)),
        r"augmentation 'none' gives train inputs of shape \(1, 16, 16\), input_shape declares \(1, 8, 8\): correct",
    ),
    "declared channels": (dataset(input_shape=(3, 16, 16)), r"\(1, 16, 16\), input_shape declares \(3, 16, 16\)"),
    "crop": (dataset(after(lambda x: x[:, :, :12, :12])), r"augmentation 'other' gives train inputs of shape \(1, 12"),
    "test part": (
        dataset(test=(torch.zeros(5, 1, 14, 14, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))),
        r"'none' gives test inputs of shape \(1, 14, 14\), ",
    ),
    "type": (dataset(after(Tensor.double)), r"'other' gives torch.float64: return torch.float32"),
    "not finite": (dataset(after(without_numbers)), r"'other' gives train inputs that are infinite or not a number"),
    "lost examples": (dataset(after(lambda x: x[:3])), r"'other' gives shape \(3, 1, 16, 16\) for 8 examples: return"),
    "no tensor": (dataset(after(Tensor.numpy)), r"'other' gives a ndarray: return a tensor"),
    "random none": (
        dataset(none=after(lambda x: x + torch.randn_like(x))), r"'none' gives other inputs at each call: it must not"
    ),
    "failure": (
        dataset(after(lambda x: x.view(5, -1))),
        r"'other' fails on train examples of shape 8x1x16x16 and type torch.uint8: RuntimeError: shape '\[5, -1\]' is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_differs_is_named_in_one_line(name: str) -> None:
    wrong, message = WRONG[name]
    with pytest.raises(InvalidInput, match=rf"^dataset scenes: .*{message}") as error:
        check_batch(wrong, ["other"])
    assert "\n" not in str(error.value)


def test_targets_that_were_changed_since() -> None:
    changed = dataset()
    changed.train[1][0] = 3
    with pytest.raises(InvalidInput, match=r"^dataset scenes: train has targets from 0 to 3, classes declares 3: "):
        check_batch(changed)
    changed.train[1].resize_(119)
    with pytest.raises(InvalidInput, match=r"^dataset scenes: train has 120 inputs, 119 targets: give one each$"):
        check_batch(changed)


def test_an_augmentation_that_is_not_there() -> None:
    with pytest.raises(InvalidInput, match=r"^unknown augmentation 'cutout' for scenes: expected one of none, other$"):
        check_batch(dataset(), ["cutout"])


def test_each_augmentation_runs_once_in_a_process_and_draws_nothing_of_the_callers() -> None:
    calls = []

    def noisy(x: Tensor, generator: torch.Generator | None) -> Tensor:
        calls.append((len(x), generator is not None))
        return scaled(x, None) + torch.randn(x.shape)

    before, given = torch.get_rng_state(), dataset(noisy)
    for _ in range(3):
        check_batch(given, ["other"])
    assert calls == [(8, True)]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["digits"])
def test_nasrays_own_agree(name: str) -> None:
    own = load_dataset(name)
    check_batch(own, own.augmentations)


def test_neither_search_nor_evaluation_counts_by_a_wrong_declaration() -> None:
    small = dict(epochs=1, batch_size=8, channels=2, cells=3, auxiliary_weight=0.0, augmentation="none")
    search = SearchConfig(method="random", space="gold", dataset="digits", settings=Random.Config(**small))
    wrong = dataset(input_shape=(1, 8, 8))
    with pytest.raises(InvalidInput, match="input_shape declares"):
        Search(search, dataset=wrong, device="cpu")
    skips = [(source, node, "skip_connect") for source, node in ((0, 2), (2, 3), (2, 4), (2, 5))]
    architecture = Architecture.of(GOLD, dict.fromkeys(GOLD.layout(3), skips))
    evaluation = EvaluationConfig(
        space="gold", dataset="digits", architecture=architecture,
        settings=EvaluationSettings(**small, drop_path=0.0),
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="input_shape declares"):
        Evaluation(evaluation, dataset=wrong, device="cpu")
    assert Evaluation(evaluation, dataset=replace(wrong, input_shape=(1, 16, 16)), device="cpu").macs > 0
