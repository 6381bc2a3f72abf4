"""Whether a search or a training can be built at all: tried on two examples, and what is large on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from nasray.costs import Budget
from nasray.costs.table import device_of
from nasray.errors import InvalidInput, reason
from nasray.gates import Gates, architecture_of
from nasray.methods.method import Problem
from nasray.methods.random import random_mask
from nasray.networks import Network, supernet, target_network
from nasray.settings import TrainingSettings
from nasray.spaces import Architecture, CellSpace, NetworkSize
from nasray.training.dataset import Dataset
from nasray.training.splits import splits_of
from nasray.training.tasks import task_of
from nasray.trials.evaluation import EvaluationSettings, evaluation_size
from nasray.trials.search_config import SearchConfig, sizes

Built = set[Hashable]
"""What has been built already, so that many searches of one kind are tried once."""


def check_search(config: SearchConfig, dataset: Dataset, built: Built | None = None) -> None:
    """Refuse a search that would be refused in its trial, or fail in its first step.

    Args:
        config: of the search.
        dataset: that it names.
        built: networks that were tried before; what is tried now is added.

    Raises:
        InvalidInput: what does not fit, and what to change.
    """
    space, settings, built = config.cell_space, config.settings, set[Hashable]() if built is None else built
    _check_data(space, settings, dataset, config.method_class.architecture_fraction, "--", built)
    size, evaluated = sizes(config, space, dataset)
    where = f"method {config.method!r} on space {config.space!r}"
    with _refused(where, size), torch.random.fork_rng(devices=[]), torch.no_grad():
        method = config.method_class(settings, Problem(space, size, evaluated, config.seed, config.budget))
        gates = method.gates()
    auxiliary = settings.auxiliary_weight > 0
    if _new(built, (config.space, size, auxiliary, method.needs)):
        _try(lambda: supernet(space, size, auxiliary, method.needs), space, size, gates, where)


def check_training(
    space: CellSpace,
    settings: EvaluationSettings,
    dataset: Dataset,
    *,
    cells: int,
    flag: str = "--training.",
) -> None:
    """Refuse settings with which no architecture of a space could be trained from scratch.

    Args:
        space: of the architectures.
        settings: of the training.
        dataset: that they are trained on.
        cells: of the networks.
        flag: what stands before a setting's name where it is typed.

    Raises:
        InvalidInput: what does not fit, and what to change.
    """
    _check_data(space, settings, dataset, 0.0, flag, set())
    wide = replace(settings, width_budget=None)
    size = evaluation_size(space, any_architecture(space, cells), wide, dataset)
    if settings.width_budget is not None:
        Budget(settings.width_budget).check_possible(space, size, flag=f"{flag}width-budget")
    architecture = any_architecture(space, size.cells)
    where = f"training of networks of space {space.name!r}"
    _try(lambda: target_network(space, architecture, size, settings.auxiliary_weight > 0), space, size, None, where)


def any_architecture(space: CellSpace, cells: int) -> Architecture:
    """An architecture of a space with at most two operations a node, the same at every call."""
    generator, layout = np.random.default_rng(0), space.layout(cells)
    drawn = {name: random_mask(space.graph(name), 2, generator) for name in dict.fromkeys(layout)}
    return architecture_of(space, [drawn[name] for name in layout])


def _check_data(
    space: CellSpace, settings: TrainingSettings, dataset: Dataset, architecture: float, flag: str, built: Built
) -> None:
    task_of(space, dataset)
    if settings.augmentation not in dataset.augmentations:
        has = sorted(dataset.augmentations)
        use = "standard" if "standard" in has else "none"
        raise InvalidInput(
            f"augmentation {settings.augmentation!r}: dataset {dataset.name!r} has {', '.join(has)}. Give "
            f"{flag}augmentation {use}"
        )
    parts = (settings.validation_fraction, architecture, settings.split_seed, settings.train_examples)
    if _new(built, ("split", *parts)):
        splits_of(dataset, settings, architecture)


def _new(built: Built, key: Hashable) -> bool:
    new = key not in built
    built.add(key)
    return new


def _try(
    build: Callable[[], Network], space: CellSpace, size: NetworkSize, gates: list[Gates] | None, where: str
) -> None:
    """Build a network, and take two examples through it as a step of training would."""
    device = device_of(space, size)
    if gates is not None:
        gates = [Gates(one.values_EO.detach().to(device), one.active_EO) for one in gates]
    with _refused(where, size), torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device(device):
        build().train().forward_with_auxiliary(torch.zeros(2, *size.input_shape), gates)


@contextmanager
def _refused(where: str, size: NetworkSize) -> Iterator[None]:
    """Whatever fails, be it in a user's own code, becomes a refusal that names what failed."""
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:
        shape = "x".join(map(str, size.input_shape))
        raise InvalidInput(
            f"{where}: a network of {size.channels} channels and {size.cells} cells fails on inputs of {shape} "
            f"({reason(error)}). Change the size, or the code that fails"
        ) from error
