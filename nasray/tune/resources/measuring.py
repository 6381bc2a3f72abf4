"""What the largest configuration of a phase takes on a GPU. Runs in a worker process that has a GPU to itself."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch

from nasray import registry
from nasray.costs.memory import training_bytes
from nasray.errors import InvalidInput, NonFiniteLoss
from nasray.methods.method import Problem
from nasray.networks import supernet, target_network
from nasray.settings import TrainingSettings
from nasray.spaces import Architecture, CellSpace, NetworkSize
from nasray.spaces.encoding import decode, parameters, sample
from nasray.training.dataset import Dataset, load_dataset
from nasray.trials.evaluation import Evaluation, EvaluationConfig, evaluation_size
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig, sizes
from nasray.trials.trial import SearchTrial, TrainingTrial, trial_of
from nasray.tune.resources.limits import CONTEXT_BYTES

DRAWS = 64
"""Architectures that stand for those that a searcher will propose."""

STEPS = 4
"""That a measured epoch has, about: the first ones make the optimiser's state, and the allocator's fragments."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the largest configuration of a phase took on a GPU.

    Raises:
        InvalidInput: a number of bytes below 0, or a GPU without memory.
    """

    peak_bytes: int
    """Most that torch's allocator held."""
    available_bytes: int
    """GPU memory that this run may use: all of it without what other programs hold."""
    device: str
    """Name of the GPU."""
    configuration: str
    """What was measured, in a few words."""

    def __post_init__(self) -> None:
        if self.peak_bytes < 0 or self.available_bytes < 1:
            raise InvalidInput(
                f"{self.peak_bytes} of {self.available_bytes} bytes of a GPU: give a peak from 0, and from 1 available"
            )


def measure(
    trials: Sequence[Mapping[str, Any]],
    cells: int | None = None,
    values: Mapping[tuple[str, str], Any] | None = None,
) -> Measured | None:
    """Train the largest of trials for some steps on this process's GPU; None where torch sees none.

    What does not even fit on the whole GPU is measured as all that there is.

    Args:
        trials: of one kind, as plain values; where a searcher proposes them, what all of them share.
        cells: of the networks that a searcher proposes; None where the trials are known.
        values: of Python that the trials name.
    """
    registry.keep(values or {})
    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    known = [trial_of(values) for values in trials]
    searches = [trial.config for trial in known if isinstance(trial, SearchTrial)]
    trainings = [trial.config for trial in known if isinstance(trial, TrainingTrial)]
    found: list[SearchConfig | EvaluationConfig] = [*largest_searches(searches)]
    found += [largest_evaluation(trainings, cells)] if trainings else []
    peaks: dict[str, int] = {}
    total = torch.cuda.get_device_properties(0).total_memory
    for config in found:
        try:
            step_of(config, "cuda")
            peaks[described(config)] = torch.cuda.max_memory_reserved()
        except torch.OutOfMemoryError:
            peaks[described(config)] = total
        gc.collect()
        others = _others_bytes()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    largest = max(peaks, key=lambda name: peaks[name])
    return Measured(
        peak_bytes=peaks[largest],
        available_bytes=total - others,
        device=torch.cuda.get_device_name(),
        configuration=largest,
    )


def _others_bytes() -> int:
    """GPU memory that neither torch's allocator nor the rest of this process holds."""
    free, total = torch.cuda.mem_get_info()
    return max(0, total - free - torch.cuda.memory_reserved() - CONTEXT_BYTES)


def step_of(config: SearchConfig | EvaluationConfig, device: str) -> None:
    """Train a configuration for some steps, and validate it, as its trial would.

    A search makes steps of its first epoch and of its last: some methods do not train their architecture parameters
    in the first epochs, others no longer in the last.
    """
    settings = few_examples(config)
    trained: Search | Evaluation
    if isinstance(config, EvaluationConfig):
        trained = Evaluation(replace(config, settings=settings), device=device)  # type: ignore[arg-type]
        epochs = [0]
    else:
        trained = Search(replace(config, settings=settings), device=device)
        epochs = sorted({0, config.settings.epochs - 1})
    for epoch in epochs:
        trained.epoch = epoch
        if isinstance(trained, Search):
            trained.finished = False
        # A step of nothing but noise may diverge; its memory has been taken by then.
        try:
            trained.run_epoch()
        except NonFiniteLoss:
            continue


def few_examples(config: SearchConfig | EvaluationConfig) -> TrainingSettings:
    """Its settings with so few examples that an epoch has a handful of steps."""
    settings = config.settings
    architecture = 0.0 if isinstance(config, EvaluationConfig) else config.method_class.architecture_fraction
    smallest = min(1 - architecture, architecture or 1.0)  # part of the examples that is handed out in batches
    enough = int(STEPS * (settings.batch_size + 1) / smallest) + 1
    return replace(settings, train_examples=min(enough, settings.train_examples or enough))


def largest_searches(configs: Sequence[SearchConfig]) -> list[SearchConfig]:
    """The search whose step keeps most bytes, for each method, space and combination of choices that are no numbers."""
    if not configs:
        return []
    dataset = load_dataset(configs[0].dataset, configs[0].data_root)
    groups: dict[tuple[Any, ...], list[SearchConfig]] = {}
    for config in configs:
        groups.setdefault((config.method, config.space, _choices(config.settings)), []).append(config)
    counted: dict[tuple[Any, ...], int] = {}
    return [_largest(group, lambda config: _search_bytes(config, dataset, counted)) for group in groups.values()]


def largest_evaluation(configs: Sequence[EvaluationConfig], cells: int | None = None) -> EvaluationConfig:
    """The training whose step keeps most bytes.

    Args:
        configs: of the trainings.
        cells: cells of the architectures that a searcher will propose; random ones stand for them.
    """
    dataset = load_dataset(configs[0].dataset, configs[0].data_root)
    if cells is not None:
        configs = [replace(configs[0], architecture=one) for one in _drawn(configs[0].cell_space, cells)]
    one_each = {config.architecture.id: config for config in configs}
    return _largest(one_each.values(), lambda one: _evaluation_bytes(one, dataset))


def described(config: SearchConfig | EvaluationConfig) -> str:
    """A configuration in a few words."""
    settings = config.settings
    if isinstance(config, EvaluationConfig):
        what = f"training of {config.architecture.id}"
    else:
        what = f"search by {config.method}"
    size = {"channels": settings.channels, "cells": settings.cells, "batch": settings.batch_size}
    return " ".join([what, f"on {config.space}", *(f"{n} {v}" for n, v in size.items() if v is not None)])


def _largest(configs: Iterable[T], size: Callable[[T], int]) -> T:
    return max(configs, key=size)  # the first of equals


def _choices(settings: TrainingSettings) -> tuple[Any, ...]:
    values = ((one.name, getattr(settings, one.name)) for one in fields(settings))
    return tuple((name, value) for name, value in values if isinstance(value, bool | str))


def _search_bytes(config: SearchConfig, dataset: Dataset, counted: dict[tuple[Any, ...], int]) -> int:
    """Bytes of a step by the method's first gates; counted once for supernets and gates of one kind."""
    space = config.cell_space
    size, evaluated = sizes(config, space, dataset)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        method = config.method_class(config.settings, Problem(space, size, evaluated, config.seed, config.budget))
        gates = method.gates()
    auxiliary = config.settings.auxiliary_weight > 0
    active = tuple(np.packbits(one.active_EO).tobytes() for one in gates)
    key = (config.space, size, auxiliary, method.needs, config.settings.batch_size, active)
    if key not in counted:
        with torch.device("meta"):
            network = supernet(space, size, auxiliary, method.needs)
        counted[key] = training_bytes(network, size.input_shape, config.settings.batch_size, gates)
    return counted[key]


def _evaluation_bytes(config: EvaluationConfig, dataset: Dataset) -> int:
    space, architecture, settings = config.cell_space, config.architecture, config.settings
    size: NetworkSize = evaluation_size(space, architecture, settings, dataset, config.budget)
    with torch.device("meta"):
        network = target_network(space, architecture, size, settings.auxiliary_weight > 0)
    return training_bytes(network, size.input_shape, settings.batch_size)


def _drawn(space: CellSpace, cells: int) -> list[Architecture]:
    """Random architectures, the same at every call."""
    generator, choices = np.random.default_rng(0), parameters(space, cells)
    return [decode(space, sample(choices, generator), cells) for _ in range(DRAWS)]
