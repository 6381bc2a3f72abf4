"""One search or one training, as people call it: by names and settings, with a run to show for it. Without Ray, but for
a training as a population."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from nasray import registry
from nasray.errors import InvalidInput
from nasray.fronts import pareto_front
from nasray.methods import SearchMethod
from nasray.results import Run
from nasray.results import open as open_run
from nasray.results.row_size import skeleton_of
from nasray.runs import CANDIDATES, EVALUATIONS, Storage, open_storage, read, write_front
from nasray.settings import Choice, Range, TrainingSettings, typed
from nasray.spaces import Architecture, CellSpace, read_architecture
from nasray.sweeps.unpruned import say_unpruned
from nasray.training.dataset import Dataset, load_dataset
from nasray.trials.evaluation import EvaluationConfig, EvaluationSettings
from nasray.trials.identity import identity
from nasray.trials.population import Population, unsaid, values_of
from nasray.trials.search_config import SearchConfig, find_method
from nasray.trials.single import GIVEN, run_search, run_training

AUGMENTATIONS = ("cutout", "standard", "none")
"""Those that methods are published with, each with the lesser ones behind it; every dataset has the last."""
S = TypeVar("S", bound=TrainingSettings)

_SIZES = tuple(one.name for one in fields(SearchConfig) if one.name.startswith("evaluation_"))


def search(
    method: str | type[SearchMethod],
    space: str | CellSpace,
    dataset: str | Dataset | Callable[[Path | None], Dataset],
    *,
    out: str | Path | None = None,
    seed: int = 0,
    budget: float | None = None,
    data_root: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Search for architectures once, in this process.

    Args:
        method: name of a search method, ``file.py:NAME``, or a class.
        space: name of a search space, ``file.py:NAME``, or a space.
        dataset: name of a dataset, ``file.py:NAME``, a dataset, or a function that gives one, as a registered one does.
        out: folder of the run, or its URI; the same search goes on there where it was left. None is a folder in runs/
            that is named for all that the search depends on.
        seed: of all that is drawn at random.
        budget: most multiply-adds (M) of the networks whose cost counts; methods that can aim at it do.
        data_root: folder of the dataset; None is the environment's NASRAY_DATA.
        quiet: whether to print nothing but errors.
        settings: of the method, by name (``epochs=10``), the others as published; where the dataset has no augmentation
            of the published name, the nearest lesser one that it has. And evaluation_channels, evaluation_cells,
            evaluation_skeleton and evaluation_width_budget, the size of the networks whose cost counts: the space's
            own, or in spaces where every position has a choice of its own the search's.

    Returns:
        The run: its candidates, and their front.

    Raises:
        InvalidInput: an unknown name or setting, data that are missing, or a folder that holds something else.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    load_dataset.cache_clear()  # its files may have changed since the last call
    method_name: str = registry.named("method", method)
    space_name: str = registry.named("space", space)
    dataset_name: str = registry.named("dataset", dataset)
    given = {name: settings.pop(name) for name in _SIZES if name in settings}
    sizes = {name: value for name, value in given.items() if value is not None}
    found: CellSpace = registry.find("space", space_name, CellSpace)
    if found.cell_per_position and settings.get("channels") is not None:
        # As such methods search at the size at which what they find is trained.
        sizes = {"evaluation_channels": settings["channels"], **sizes}
    config = SearchConfig(
        method=method_name,
        space=space_name,
        dataset=dataset_name,
        settings=fitting(find_method(method_name).Config, settings, dataset_name, data_root),
        seed=seed,
        budget=budget,
        data_root=None if data_root is None else str(data_root),
        **sizes,
    )
    storage = open_storage(out or _folder((method_name, space_name, dataset_name), config))
    run_single(config, storage, quiet=quiet)
    return _opened(str(storage), config.space)


def train(
    architecture: str | Architecture | Mapping[str, Any] | pd.Series[Any],
    space: str | CellSpace | None = None,
    dataset: str | Dataset | Callable[[Path | None], Dataset] | None = None,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    budget: float | None = None,
    data_root: str | Path | None = None,
    quiet: bool = False,
    population: int | None = None,
    perturbation_interval: int | None = None,
    address: str | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | Literal["auto"] | None = None,
    **settings: Any,
) -> Run:
    """Train an architecture from scratch: in this process, or as a population under Ray Tune.

    Args:
        architecture: a row of candidates, evaluations or a front; or an architecture, the name of a published one,
            JSON, a genotype or a string.
        space: its search space, as for :func:`search`; None is the row's.
        dataset: as for :func:`search`; None is the row's.
        out: folder of the run, or its URI; the same training goes on there where it was left. None is a folder in
            runs/ that is named for all that the training depends on.
        seed: of all that is drawn at random.
        budget: largest multiply-adds (M): a network that exceeds it is made narrower.
        data_root: folder of the dataset; None is the environment's NASRAY_DATA.
        quiet: whether to print nothing but errors.
        population: how many trainings run beside each other, of which the worst become copies of the best on the way;
            None is one training.
        perturbation_interval: of a population, epochs from one comparison to the next; None is a tenth of the training.
        address: of a population, of a running Ray cluster, as a sweep's.
        cpus_per_trial: of a population, CPU cores that each member reserves.
        gpus_per_trial: of a population, GPUs that each member reserves, or ``"auto"``.
        settings: of the training, by name (``epochs=10``); an augmentation as for :func:`search`, and of a row the size
            at which its multiply-adds were counted. Of a population some may be a ``Range`` or a ``Choice``: they are
            varied, or learning rate and weight decay where none is.

    Returns:
        The run: its evaluation, and the trained network.

    Raises:
        InvalidInput: an unknown name or setting, data that are missing, or a folder that holds something else.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    load_dataset.cache_clear()
    method = GIVEN
    space_name: str | None = registry.named("space", space)
    dataset_name: str | None = registry.named("dataset", dataset)
    if isinstance(architecture, pd.DataFrame):
        raise InvalidInput(f"{len(architecture)} rows: one architecture is trained. Give one of them, as rows.iloc[0].")
    if isinstance(architecture, list | tuple | set):
        raise InvalidInput(
            f"{len(architecture)} architectures: one is trained, also as a population, whose members become copies of "
            "one another. Give one of them, or train several in a sweep."
        )
    if isinstance(architecture, Mapping | pd.Series):
        row = dict(architecture)
        if not isinstance(row.get("architecture"), str):
            raise InvalidInput("This row has no architecture: give a row of candidates, evaluations or a front.")
        architecture, method = str(row["architecture"]), str(row.get("method", GIVEN))
        space_name, dataset_name = space_name or row.get("space"), dataset_name or row.get("dataset")
        settings = {**_size_of(row), **settings}
    if space_name is None or dataset_name is None:
        missing = "space" if space_name is None else "dataset"
        raise InvalidInput(f"No {missing} of the architecture: give its name, which only rows of a run say themselves.")
    found: CellSpace = registry.find("space", space_name, CellSpace)
    execution = {"address": address, "cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    varied = {name: value for name, value in settings.items() if isinstance(value, Range | Choice)}
    if population is None:
        _check_alone(varied, {"perturbation_interval": perturbation_interval, **execution})
    settings |= {name: values_of(one)[0] for name, one in varied.items()}
    config = EvaluationConfig(
        space=space_name,
        dataset=dataset_name,
        architecture=architecture if isinstance(architecture, Architecture) else read_architecture(found, architecture),
        settings=fitting(EvaluationSettings, settings, dataset_name, data_root),
        seed=seed,
        budget=budget,
        data_root=None if data_root is None else str(data_root),
    )
    if population is None:
        storage = open_storage(out or _folder((config.architecture.id, space_name, dataset_name), config))
        run_single(config, storage, method, quiet=quiet)
        return _opened(str(storage), config.space)
    from nasray.sweeps.population import run_population

    own = Population(
        members=population,
        interval=-(-config.settings.epochs // 10) if perturbation_interval is None else perturbation_interval,
        varied=varied or unsaid(config.settings),
    )
    names = (config.architecture.id, space_name, dataset_name, f"population-{population}")
    storage = open_storage(out or _folder(names, config, own.to_dict()))
    run_population(config, own, storage, {**execution, "quiet": quiet}, method)
    return _opened(str(storage), config.space)


def _check_alone(varied: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Refuse what only a population takes."""
    if varied:
        name, one = next(iter(varied.items()))
        raise InvalidInput(
            f"{name} {' '.join(typed(one))}: one training has one value. Give a population, whose members differ in it."
        )
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise InvalidInput(f"{given[0]}: it is of a population. Give one, or leave it out.")


def _size_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The size at which a row's multiply-adds were counted, as settings; nothing where it does not say."""
    if not all(isinstance(row.get(name), int | np.integer) for name in ("channels", "cells")):
        return {}
    return {"channels": int(row["channels"]), "cells": int(row["cells"]), "skeleton": skeleton_of(row.get("settings"))}


def fitting(config: type[S], given: Mapping[str, Any], dataset: str, data_root: str | Path | None = None) -> S:
    """Settings of a class for a dataset: those that are given, the others as published; where the dataset has no
    augmentation of the published name, the nearest lesser one that it has.

    Raises:
        InvalidInput: an unknown setting, or data that are missing.
    """
    settings = config.of(given)
    if "augmentation" not in given and settings.augmentation in AUGMENTATIONS:
        has = load_dataset(dataset, None if data_root is None else str(data_root)).augmentations
        lesser = AUGMENTATIONS[AUGMENTATIONS.index(settings.augmentation) :]
        settings = replace(settings, augmentation=next(name for name in lesser if name in has))
    return settings


def run_single(
    config: SearchConfig | EvaluationConfig, run: Storage, method: str = GIVEN, *, quiet: bool = False
) -> None:
    """Run a search or a training into a run's folder, or go on with it where it was left, and write its front.

    Args:
        config: of the search or the training.
        run: the folder.
        method: that found the architecture which is trained.
        quiet: whether to print nothing but errors.

    Raises:
        InvalidInput: it could not run, or the folder holds something else.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    if isinstance(config, SearchConfig):
        run_search(config, run, quiet=quiet)
        rows = read(run, CANDIDATES)
        say_unpruned(rows, dict.fromkeys(rows["trial_id"], config), load_dataset(config.dataset, config.data_root))
    else:
        run_training(config, run, method, quiet=quiet)
        rows = read(run, EVALUATIONS)
    write_front(run, pareto_front(rows))


def _folder(
    names: tuple[str, ...], config: SearchConfig | EvaluationConfig, others: Mapping[str, Any] | None = None
) -> str:
    """A folder for what these names, the config and other plain values say, the same at every call."""
    values = {**identity(config), **(others or {})}
    whole = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
    readable = "-".join(registry.portable(name) for name in names).replace(":", "-")
    return f"runs/{readable}-{whole}"


def _opened(folder: str, space: str) -> Run:
    """The run, with the file of a user's own space."""
    return open_run(folder, space.rpartition(":")[0] if registry.is_file(space) else None)
