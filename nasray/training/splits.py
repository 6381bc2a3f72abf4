"""Which examples train weights, which train architecture parameters, and which select."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.settings import TrainingSettings
from nasray.training.dataset import Dataset


# Compared by identity: the generated == would compare tensors, and raise.
@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Three disjoint sets of examples, as int64 indices on the CPU into ``Dataset.train``.

    The order within each is random and class-balanced: any run of it holds the classes in their proportions.
    """

    train: Tensor
    """What the network's weights are trained on."""

    architecture: Tensor
    """What architecture parameters are trained on. Empty for one-level methods: they share ``train``."""

    validation: Tensor
    """What nothing is trained on, and architectures are compared on."""


def split(
    targets_or_count: Tensor | int,
    *,
    validation_fraction: float = 0.1,
    architecture_fraction: float = 0.5,
    seed: int = 0,
    limit: int | None = None,
    given: Tensor | None = None,
) -> Splits:
    """Splits that depend on the arguments only.

    Validation is cut off first, so that it is the same whatever the method does with the rest; a smaller
    ``limit`` gives subsets of what a larger one gives, never other examples.

    Args:
        targets_or_count: Of the training examples. A 1-d tensor of integers is taken as classes, in whose
            proportions every part is drawn; of any other tensor only the length counts, as of a number.
        validation_fraction: Share of all examples, 0 <= share < 1.
        architecture_fraction: Share of the rest that architecture parameters are trained on, 0 <= share < 1.
        seed: Another seed, other splits.
        limit: The largest number of examples in train and architecture together; validation keeps the same share of
            its own (at least one).
        given: the examples that validate, in place of a share of all.

    Raises:
        InvalidInput: a fraction or the limit is out of range, or nothing is left to train on.
    """
    for name, fraction in (("validation", validation_fraction), ("architecture", architecture_fraction)):
        if not 0 <= fraction < 1:
            raise InvalidInput(f"{name}_fraction {fraction}: expected a fraction from 0 to below 1")
    if limit is not None and limit < 1:
        raise InvalidInput(f"limit {limit}: expected a number of examples from 1, or None for all of them")

    order_N = _balanced_order(targets_or_count, torch.Generator().manual_seed(seed))
    if given is None:
        validation, rest = _cut(order_N, validation_fraction)
    else:
        validates_N = torch.isin(order_N, given)
        validation, rest = order_N[validates_N], order_N[~validates_N]
    if limit is not None and limit < len(rest):
        # Not below one: a validation accuracy over no examples is not a number.
        validation = validation[: max(1, len(validation) * limit // len(rest))]
        rest = rest[:limit]
    architecture, train = _cut(rest, architecture_fraction)
    if len(train) == 0:
        raise InvalidInput(
            f"{len(order_N)} examples, limit {limit}: expected enough that validation_fraction "
            f"{validation_fraction} and architecture_fraction {architecture_fraction} leave one to train on"
        )
    return Splits(train=train.clone(), architecture=architecture.clone(), validation=validation.clone())


def splits_of(dataset: Dataset, settings: TrainingSettings, architecture_fraction: float) -> Splits:
    """The splits of a dataset's training examples that settings ask for; with the validation examples that it has
    itself, where it has some.

    Raises:
        InvalidInput: nothing is left to train on.
    """
    return split(
        dataset.train[1],
        validation_fraction=settings.validation_fraction,
        architecture_fraction=architecture_fraction,
        seed=settings.split_seed,
        limit=settings.train_examples,
        given=dataset.validation,
    )


def _cut(order: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    # A part that was asked for is never empty, however small the dataset.
    count = max(1, round(len(order) * fraction)) if fraction else 0
    return order[:count], order[count:]


def _balanced_order(targets_or_count: Tensor | int, generator: torch.Generator) -> Tensor:
    """A random order of all examples in which every run of them holds each class in its proportion.

    The k-th of the n examples of a class stands at (k + 1/2) / n of the order, so that stratified sets of any
    sizes are plain slices of it. A class too small to have a whole example in a slice may have none there.
    """
    count = targets_or_count if isinstance(targets_or_count, int) else len(targets_or_count)
    shuffled_N = torch.randperm(count, generator=generator)
    if isinstance(targets_or_count, int) or not _are_classes(targets_or_count):
        return shuffled_N
    targets_N = targets_or_count.cpu()[shuffled_N]
    _, class_N, size_K = torch.unique(targets_N, return_inverse=True, return_counts=True)
    first_K = size_K.cumsum(0) - size_K
    rank_N = torch.empty_like(class_N)
    rank_N[class_N.argsort(stable=True)] = torch.arange(count) - first_K.repeat_interleave(size_K)
    place_N = (rank_N.double() + 0.5) / size_K[class_N]
    return shuffled_N[place_N.argsort(stable=True)]


def _are_classes(targets: Tensor) -> bool:
    return targets.ndim == 1 and not targets.is_floating_point() and not targets.is_complex()
