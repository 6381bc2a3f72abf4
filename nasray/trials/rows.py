"""Rows of the tables, from searches and evaluations."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import safetensors.torch

from nasray.networks import Network
from nasray.runs import CANDIDATES, EVALUATIONS, LOOKED_UP, Storage, write_row
from nasray.settings import TrainingSettings
from nasray.spaces import Architecture, NetworkSize
from nasray.spaces.metric import metric_of_task
from nasray.training.batches import DeviceData
from nasray.training.measure import device_name, host, versions
from nasray.training.splits import Splits
from nasray.trials.evaluation import Evaluation
from nasray.trials.lookup import Lookup, table_settings
from nasray.trials.search import Epoch, Search
from nasray.trials.search_config import SearchConfig


def trial_id(config: SearchConfig) -> str:
    """Ten hexadecimal digits that name a search by all that it depends on; where its data lie is not part of it."""
    values = {name: value for name, value in config.to_dict().items() if name != "data_root"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]


def path_part(method: str) -> str:
    """The name of a method as a part of a path: of one from a file, which has slashes, the last part and a digest."""
    if re.fullmatch(r"[\w+-]+", method):
        return method
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", method.rpartition("/")[2])[:40]
    return f"{readable}-{hashlib.sha256(method.encode()).hexdigest()[:8]}"


def knob_columns(settings: TrainingSettings, varied: list[str]) -> dict[str, Any]:
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


def write_candidates(storage: Storage, run: str, search: Search, epoch: Epoch, varied: list[str]) -> None:
    """One row for each candidate of an epoch, and each architecture once as a file of its own."""
    config = search.config
    for candidate in epoch.candidates:
        storage.write_bytes(
            f"architectures/{candidate.architecture.id}.json", candidate.architecture.to_json().encode()
        )
        write_row(
            storage,
            CANDIDATES,
            {
                **_common(search.data, search.splits, search.evaluation_size),
                "run": run,
                "method": config.method,
                "space": config.space,
                "dataset": config.dataset,
                "seed": config.seed,
                "architecture_id": candidate.architecture.id,
                "architecture": candidate.architecture.to_json(),
                "macs": candidate.macs,
                "params": candidate.params,
                "settings": json.dumps(config.to_dict()),
                "trial_id": trial_id(config),
                "epoch": epoch.number,
                "snapshot": candidate.snapshot,
                "metric": metric_of_task(search.space.task).name,
                "supernet_accuracy": candidate.supernet_accuracy,
                "accuracy": candidate.accuracy,
                "gap": candidate.gap,
                "seconds": search.seconds,
                "peak_memory_bytes": search.peak_memory_bytes,
            },
            knobs=knob_columns(config.settings, varied),
        )


def write_evaluation(
    storage: Storage, run: str, evaluation: Evaluation | Lookup, trial: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of an evaluation as it stands, complete or not, and where it is complete the trained weights.

    Latency is measured here, where it was asked for.

    Args:
        storage: the run's folder.
        run: its name.
        evaluation: with some epochs done.
        trial: with ``evaluation`` (its config's values), ``table``, and ``found``: ``method``, ``search_trial_id``,
            ``knobs`` and ``baseline_of`` of what gave the architecture.

    Returns:
        The row.
    """
    found, config = trial["found"], trial["evaluation"]
    space = evaluation.table.space if isinstance(evaluation, Lookup) else evaluation.space
    row = {
        "run": run,
        "method": found["method"],
        "search_trial_id": found["search_trial_id"],
        "baseline_of": found["baseline_of"],
        "space": config["space"],
        "dataset": config["dataset"],
        "seed": config["seed"],
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
        table = trial["table"]
        row |= {
            **_of_machine("table", evaluation.size),
            "training": LOOKED_UP,
            "settings": table_settings(table["path"], table["columns"], table["unit"]),
            "seconds": 0.0,
        }
        write_row(storage, EVALUATIONS, row, knobs=found["knobs"])
        return row
    row |= {
        **_common(evaluation.data, evaluation.splits, evaluation.size),
        "device": evaluation.hardware,
        "training": "from scratch",
        "settings": json.dumps(evaluation.config.settings.to_dict()),
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
        _write_network(storage, row, evaluation.architecture, evaluation.learner.network)
    write_row(storage, EVALUATIONS, row, knobs=found["knobs"])
    return row


def write_trained_network(storage: Storage, run: str, search: Search, varied: list[str]) -> None:
    """The row of the network that a search of one stage ended with, and its weights; nothing for other searches."""
    trained = search.trained_network()
    if trained is None:
        return
    config = search.config
    row = {
        **_common(search.data, search.splits, trained.size),
        "run": run,
        "method": config.method,
        "search_trial_id": trial_id(config),
        "training": "one stage",
        "space": config.space,
        "dataset": config.dataset,
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
    _write_network(storage, row, trained.architecture, trained.network)
    write_row(storage, EVALUATIONS, row, knobs=knob_columns(config.settings, varied))


def _write_network(storage: Storage, row: dict[str, Any], architecture: Architecture, network: Network) -> None:
    """Architecture and weights, before the row that names them: a row never names a file that is not there."""
    identity = hashlib.sha256(f"{row['training']} {row['settings']} {row['seed']}".encode()).hexdigest()[:8]
    row["weights"] = f"architectures/{architecture.id}_{row['epochs']}_{identity}.safetensors"
    weights = {k: v.contiguous() for k, v in network.state_dict().items() if not k.startswith("auxiliary.")}
    storage.write_bytes(row["weights"], safetensors.torch.save(weights))
    storage.write_bytes(f"architectures/{architecture.id}.json", architecture.to_json().encode())


def _common(data: DeviceData, splits: Splits, size: NetworkSize) -> dict[str, Any]:
    return {
        **_of_machine(device_name(data.device), size),
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
