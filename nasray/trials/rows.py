"""Rows of the tables, from searches and evaluations."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from nasray import registry
from nasray.networks import Network
from nasray.networks.saved import Blueprint, Data, to_bytes
from nasray.runs import CANDIDATES, EVALUATIONS, LOOKED_UP, Storage, write_row
from nasray.runs.schema import FROM_SCRATCH, POPULATION
from nasray.settings import TRAINED, TrainingSettings
from nasray.spaces import NetworkSize
from nasray.spaces.metric import metric_of_task
from nasray.training.batches import DeviceData
from nasray.training.dataset import Dataset
from nasray.training.images import ImageTransform
from nasray.training.measure import device_name, host, versions
from nasray.training.splits import Splits
from nasray.trials.evaluation import Evaluation
from nasray.trials.identity import digest_columns, identity
from nasray.trials.lookup import Lookup
from nasray.trials.search import Epoch, Search
from nasray.trials.trial import SearchTrial, TrainingTrial, portable_methods

ROW = "row"
"""Beside the values of a written row: the name of its file."""


def knob_columns(settings: TrainingSettings, varied: Sequence[str]) -> dict[str, Any]:
    """Values of a method's knobs and of other settings that a sweep varies, by the names of their columns.

    A setting whose name is a column already (channels, cells, epochs) gets one with the prefix ``search_``; one that
    only other methods of the sweep have gets none.
    """
    taken = {*CANDIDATES.names, *EVALUATIONS.names}
    names = dict.fromkeys([*type(settings).knobs(), *varied])
    return {
        f"search_{name}" if name in taken else name: getattr(settings, name)
        for name in names
        if hasattr(settings, name)
    }


def _trained(trial: SearchTrial) -> dict[str, Any]:
    return {f"{TRAINED}{name}": value for name, value in trial.training.items()}


def write_candidates(storage: Storage, trial: SearchTrial, search: Search, epoch: Epoch) -> None:
    """One row for each candidate of an epoch."""
    config = trial.config
    for candidate in epoch.candidates:
        write_row(
            storage,
            CANDIDATES,
            {
                **_common(config.settings, search.data, search.splits, candidate.size),
                "run": trial.run,
                "method": registry.portable(config.method),
                "space": registry.portable(config.space),
                "dataset": registry.portable(config.dataset),
                **digest_columns(config, search.data.dataset.digest),
                "seed": config.seed,
                "architecture_id": candidate.architecture.id,
                "architecture": candidate.architecture.to_json(),
                "macs": candidate.macs,
                "params": candidate.params,
                "settings": json.dumps(identity(config)),
                "trial_id": trial.name,
                "epoch": epoch.number,
                "snapshot": candidate.snapshot,
                "metric": metric_of_task(search.space.task).name,
                "supernet_accuracy": candidate.supernet_accuracy,
                "accuracy": candidate.accuracy,
                "gap": candidate.gap,
                "complete": True,
                "seconds": search.seconds,
                "peak_memory_bytes": search.peak_memory_bytes,
            },
            knobs={**knob_columns(config.settings, trial.varied), **_trained(trial)},
        )


def write_evaluation(storage: Storage, trial: TrainingTrial, evaluation: Evaluation | Lookup) -> dict[str, Any]:
    """Write the row of a training as it stands, complete or not, and where it is complete the trained weights.

    Args:
        storage: the run's folder.
        trial: what is trained.
        evaluation: the same, with some epochs done.

    Returns:
        The row, and the name of its file under :data:`ROW`.
    """
    row = evaluation_row(storage, trial, evaluation)
    return {**row, ROW: write_row(storage, EVALUATIONS, row, knobs=trial.origin.knobs)}


def evaluation_row(storage: Storage, trial: TrainingTrial, evaluation: Evaluation | Lookup) -> dict[str, Any]:
    """The row of a training as it stands, and where it is complete the trained weights, which are written.

    Latency is measured here, where it was asked for.
    """
    origin, config = trial.origin, trial.config
    space = config.cell_space
    row = {
        "run": trial.run,
        "method": portable_methods(origin.method),
        "search_trial_id": origin.search_trial_id,
        "baseline_of": origin.baseline_of,
        "space": registry.portable(config.space),
        "dataset": registry.portable(config.dataset),
        "seed": config.seed,
        "architecture_id": evaluation.architecture.id,
        "architecture": evaluation.architecture.to_json(),
        "macs": evaluation.macs,
        "params": evaluation.params,
        "epochs": evaluation.epoch,
        "complete": evaluation.finished,
        "metric": metric_of_task(space.task).name,
        "accuracy": evaluation.accuracy,
    }
    if isinstance(evaluation, Lookup):
        assert trial.source is not None
        row |= {
            **_of_machine("table", evaluation.size),
            **digest_columns(config, trial.source.digest),
            "training": LOOKED_UP,
            "settings": trial.settings,
            "seconds": 0.0,
            **{name: None if math.isnan(cost) else cost for name, cost in evaluation.costs.items()},
        }
        return row
    row |= {
        **_common(config.settings, evaluation.data, evaluation.splits, evaluation.size),
        **digest_columns(config, evaluation.data.dataset.digest),
        "device": evaluation.hardware,
        "training": FROM_SCRATCH if trial.population is None else POPULATION,
        "member": None if trial.population is None else trial.name,
        "settings": trial.settings,
        "seconds": evaluation.seconds,
        "peak_memory_bytes": evaluation.peak_memory_bytes,
    }
    # At a rung too: there trainings are compared by it, where it is an objective.
    latency = evaluation.latency()
    if latency is not None:
        row |= {
            "latency_ms": latency.median_ms,
            "latency_low_ms": latency.low_ms,
            "latency_high_ms": latency.high_ms,
            "latency_batch": latency.batch,
        }
    if evaluation.finished:
        row["test_accuracy"] = evaluation.test_accuracy()
        normalisation = evaluation.space.evaluation_normalisation
        data = _data(evaluation.data.dataset)
        blueprint = Blueprint.of(config.space, evaluation.architecture, evaluation.size, normalisation, data)
        _write_network(storage, row, blueprint, evaluation.learner.network)
    return row


def write_trained_network(storage: Storage, trial: SearchTrial, search: Search) -> None:
    """The row of the network that a search of one stage ended with, and its weights; nothing for other searches."""
    trained = search.trained_network()
    if trained is None:
        return
    config = trial.config
    row = {
        **_common(config.settings, search.data, search.splits, trained.size),
        "run": trial.run,
        "method": registry.portable(config.method),
        "search_trial_id": trial.name,
        "training": "one stage",
        "space": registry.portable(config.space),
        "dataset": registry.portable(config.dataset),
        **digest_columns(config, search.data.dataset.digest),
        "seed": config.seed,
        "architecture_id": trained.architecture.id,
        "architecture": trained.architecture.to_json(),
        "macs": trained.macs,
        "params": trained.params,
        "settings": json.dumps(config.settings.to_dict()),
        "epochs": trained.epochs,
        "complete": True,
        "metric": metric_of_task(search.space.task).name,
        "accuracy": trained.accuracy,
        "test_accuracy": trained.test_accuracy,
        "seconds": search.seconds,
        "peak_memory_bytes": search.peak_memory_bytes,
    }
    data = _data(search.data.dataset)
    blueprint = Blueprint.of(config.space, trained.architecture, trained.size, trained.normalisation, data)
    _write_network(storage, row, blueprint, trained.network)
    write_row(storage, EVALUATIONS, row, knobs=knob_columns(config.settings, trial.varied))


def _write_network(storage: Storage, row: dict[str, Any], blueprint: Blueprint, network: Network) -> None:
    """Trained weights, before the row that names them: a row never names a file that is not there."""
    # Named by all that names the row, so that each row has a file of its own.
    identity = hashlib.sha256(json.dumps([row[name] for name in EVALUATIONS.key]).encode()).hexdigest()[:8]
    row["weights"] = f"architectures/{row['architecture_id']}_{row['epochs']}_{identity}.safetensors"
    storage.write_bytes(row["weights"], to_bytes(network, blueprint))


def _data(dataset: Dataset) -> Data:
    recipe = dataset.augmentations["none"]
    mean, std = (recipe.mean, recipe.std) if isinstance(recipe, ImageTransform) else (None, None)
    name = registry.portable(dataset.name)
    return Data(dataset=name, mean=mean, std=std, class_names=dataset.class_names)


def _common(settings: TrainingSettings, data: DeviceData, splits: Splits, size: NetworkSize) -> dict[str, Any]:
    return {
        **_of_machine(device_name(data.device, settings.threads), size),
        "train_examples": len(splits.train),
        "architecture_examples": len(splits.architecture),
        "validation_examples": len(splits.validation),
        "test_examples": len(data.test[1]),
    }


def _of_machine(device: str, size: NetworkSize) -> dict[str, Any]:
    return {
        "versions": json.dumps(versions()),
        "host": host(),
        "device": device,
        "channels": size.channels,
        "cells": size.cells,
    }
