from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.training.splits import Splits, split


def classes(*sizes: int) -> Tensor:
    """Targets with so many examples of each class, mixed."""
    targets = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(3))]


def parts(splits: Splits) -> tuple[Tensor, Tensor, Tensor]:
    return splits.train, splits.architecture, splits.validation


def same(one: Splits, other: Splits) -> bool:
    return all(torch.equal(a, b) for a, b in zip(parts(one), parts(other), strict=True))


BALANCED = classes(*[500] * 10)
UNBALANCED = classes(700, 90, 250, 61)


@pytest.mark.parametrize("targets", [BALANCED, UNBALANCED, 1234], ids=["balanced", "unbalanced", "count"])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5])
def test_parts_are_disjoint_and_cover_everything(targets: Tensor | int, fraction: float):
    splits = split(targets, architecture_fraction=fraction)
    count = targets if isinstance(targets, int) else len(targets)
    everything = torch.cat(parts(splits))
    assert everything.dtype == torch.int64
    assert everything.device.type == "cpu"
    assert torch.equal(everything.sort().values, torch.arange(count))
    assert len(splits.validation) == round(0.1 * count)
    assert len(splits.architecture) == round(fraction * (count - len(splits.validation)))


@pytest.mark.parametrize("targets", [BALANCED, UNBALANCED], ids=["balanced", "unbalanced"])
def test_class_counts_are_those_of_a_stratified_shuffle_split(targets: Tensor):
    from sklearn.model_selection import StratifiedShuffleSplit

    splits = split(targets, validation_fraction=0.1, architecture_fraction=0.5)
    rest, validation = next(
        StratifiedShuffleSplit(1, test_size=len(splits.validation), random_state=0).split(targets, targets)
    )
    for mine, expected in (
        (splits.validation, validation),
        (splits.train, rest),
        (splits.architecture, rest),
    ):
        share = torch.bincount(targets[expected]).double() * len(mine) / len(expected)
        assert (torch.bincount(targets[mine]).double() - share).abs().max() <= 1


def test_equal_classes_get_equal_counts_in_every_part_and_nearly_so_in_every_batch():
    splits = split(BALANCED, validation_fraction=0.2, architecture_fraction=0.5)
    for part in parts(splits):
        assert torch.bincount(BALANCED[part]).unique().numel() == 1
        for batch in part.split(64):
            counts = torch.bincount(BALANCED[batch], minlength=10)
            assert counts.max() - counts.min() <= 2


def test_validation_does_not_depend_on_what_becomes_of_the_rest():
    expected = split(BALANCED, architecture_fraction=0.5)
    for fraction in (0.0, 0.2, 0.9):
        other = split(BALANCED, architecture_fraction=fraction)
        assert torch.equal(other.validation, expected.validation)
        assert set(torch.cat([other.train, other.architecture]).tolist()).isdisjoint(other.validation.tolist())


@pytest.mark.parametrize("limit", [10, 50, 333, 4499, 4500, 100_000])
def test_a_limit_gives_balanced_subsets(limit: int):
    whole, limited = split(BALANCED), split(BALANCED, limit=limit)
    trained_on = torch.cat([limited.train, limited.architecture])
    assert len(trained_on) == min(limit, 4500)
    assert len(limited.validation) == max(1, min(500, 500 * limit // 4500))
    assert set(trained_on.tolist()) <= set(torch.cat([whole.train, whole.architecture]).tolist())
    assert set(limited.validation.tolist()) <= set(whole.validation.tolist())
    counts = torch.bincount(BALANCED[trained_on], minlength=10)
    assert counts.max() - counts.min() <= 1
    if limit >= 4500:
        assert same(whole, limited)


def test_a_smaller_limit_is_a_subset_of_a_larger_one():
    small, large = (split(UNBALANCED, architecture_fraction=0.0, limit=limit) for limit in (100, 300))
    assert set(small.train.tolist()) < set(large.train.tolist())
    assert set(small.validation.tolist()) < set(large.validation.tolist())


def test_only_the_seed_decides():
    torch.manual_seed(1)
    first, state = split(BALANCED, seed=4), torch.get_rng_state()
    torch.manual_seed(2)
    assert same(first, split(BALANCED, seed=4))
    assert not same(first, split(BALANCED, seed=5))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_the_order_in_the_dataset_does_not_show():
    splits = split(torch.arange(10).repeat_interleave(100), validation_fraction=0.5)
    place_in_class = splits.validation % 100
    # The mean of 500 numbers drawn from 0..99 without replacement within classes.
    assert abs(place_in_class.double().mean() - 49.5) < 4 * math.sqrt((100**2 - 1) / 12 / 500)


@pytest.mark.parametrize("targets", [torch.rand(100), torch.zeros(100, 4, 4, dtype=torch.int64), 100])
def test_targets_that_are_no_classes_are_split_by_number(targets: Tensor | int):
    assert same(split(targets), split(100))


def test_a_part_that_was_asked_for_is_never_empty():
    splits = split(3, validation_fraction=0.01, architecture_fraction=0.01)
    assert [len(part) for part in parts(splits)] == [1, 1, 1]
    assert len(split(3, validation_fraction=0.0).validation) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"validation_fraction": -0.1},
        {"validation_fraction": 1.0},
        {"validation_fraction": math.nan},
        {"architecture_fraction": 1.0},
        {"architecture_fraction": -0.5},
        {"limit": 0},
        {"limit": 1},
    ],
)
def test_arguments_out_of_range_are_refused_in_one_line(arguments: dict[str, float]):
    (name, value), *_ = arguments.items()
    with pytest.raises(InvalidInput, match=rf"\A[^\n]*{name} {value}[^\n]*expected[^\n]*\Z"):
        split(100, **arguments)
