"""Runs as a sweep leaves them, made up in a second: searches that prune real architectures, and some trained ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nasray.costs import cost_table
from nasray.gates import architecture_of, candidate_mask
from nasray.runs import CANDIDATES, EVALUATIONS, Storage, Table, open_storage
from nasray.runs.outcomes import Outcome, write_outcome
from nasray.runs.parquet import to_bytes
from nasray.spaces import NetworkSize
from search_spaces.architectures.gold import GOLD

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
SETTINGS = {"epochs": 15, "skeleton": "cifar", "learning_rate": 0.1}
LAMBDAS = (0.003, 0.01, 0.03, 0.1)


def made_run(
    folder: Path,
    *,
    searches: int = 8,
    epochs: int = 8,
    trained: int = 6,
    seeds: Sequence[int] = (0, 1, 2),
    method: str = "gold_nas",
    failed: int = 1,
    draw: int = 0,
) -> Storage:
    """A run of `searches * epochs` candidates, and of `trained` architectures and as many random ones for each seed.

    Args:
        folder: of the run; its name is the run's.
        searches: number of them.
        epochs: of each search.
        trained: architectures that are trained from scratch.
        seeds: of the trainings.
        method: that searched.
        failed: trials that gave up.
        draw: seed of all that is made up.
    """
    storage = open_storage(folder)
    generator = np.random.default_rng(draw)
    common = _common(folder.name)
    candidates: list[dict[str, Any]] = []
    for search in range(searches):
        masks = [candidate_mask(GOLD.graph(name)).copy() for name in GOLD.layout(SIZE.cells)]
        lambda0 = LAMBDAS[search % len(LAMBDAS)]
        for epoch in range(1, epochs + 1):
            masks = [_pruned(mask, graph, lambda0, generator) for mask, graph in zip(masks, _graphs(), strict=True)]
            told = _figures(masks, generator)
            supernet = min(told["accuracy"] + 0.02, 1.0)
            told |= {"supernet_accuracy": supernet, "gap": supernet - told["accuracy"], "seconds": 2.0 * epoch}
            told |= {"trial_id": f"search{search:05d}", "epoch": epoch, "snapshot": 0, "seed": 0, "lambda0": lambda0}
            candidates.append({**common, **told, "method": method, "settings": json.dumps({"settings": SETTINGS})})
    evaluations: list[dict[str, Any]] = []
    for place in np.linspace(0, len(candidates) - 1, trained, dtype=int).tolist() if trained else []:
        found = candidates[place]
        like = _figures([_drawn(graph, generator) for graph in _graphs()], generator)
        for seed in seeds:
            for own in (found, {**like, "method": "random", "baseline_of": found["architecture_id"]}):
                better = float(np.clip(own["accuracy"] + generator.normal(0.03, 0.01), 0, 1))
                row = {name: own[name] for name in ("architecture", "architecture_id", "macs", "params", "method")}
                row |= {"accuracy": better, "test_accuracy": max(better - 0.01, 0.0), "seed": seed, "seconds": 9.0}
                row |= {"epochs": 15, "complete": True, "training": "from scratch"}
                if own is found:
                    row |= {"search_trial_id": found["trial_id"], "lambda0": found["lambda0"]}
                else:
                    row |= {"baseline_of": own["baseline_of"]}
                evaluations.append({**common, **row, "settings": json.dumps({**SETTINGS, "split_seed": 0})})
    _write(storage, CANDIDATES, candidates)
    _write(storage, EVALUATIONS, evaluations)
    storage.write_json("run.json", _run_json(folder.name, method, seeds))
    for trial in range(searches):
        state = "failed" if trial < failed else "done"
        reason = "RuntimeError: made up" if trial < failed else None
        write_outcome(storage, f"search{trial:05d}", Outcome(state=state, digest="0", reason=reason, epoch=epochs))  # type: ignore[arg-type]
    return storage


def epochs_frame(trials: int = 6, epochs: int = 15) -> pd.DataFrame:
    """Learning curves, as the table of epochs has them."""
    rows = [
        {
            "trial_id": f"{kind}{trial:05d}",
            "kind": kind,
            "epoch": epoch,
            "loss": 2.3 * np.exp(-epoch / 5) + 0.02 * trial,
            "accuracy": 1 - 0.9 * np.exp(-epoch / 4) - 0.01 * trial,
        }
        for kind in ("search", "evaluation")
        for trial in range(trials)
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def _graphs() -> list[Any]:
    return [GOLD.graph(name) for name in GOLD.layout(SIZE.cells)]


def _pruned(mask: Any, graph: Any, strength: float, generator: np.random.Generator) -> Any:
    kept = mask & (generator.random(mask.shape) > 0.06 + 2 * strength)
    for edges in graph.incoming.values():
        if not kept[list(edges)].any():
            kept[list(edges)] = mask[list(edges)]  # every node receives something
    return kept


def _drawn(graph: Any, generator: np.random.Generator) -> Any:
    return _pruned(candidate_mask(graph), graph, generator.uniform(0.1, 0.4), generator)


def _figures(masks: list[Any], generator: np.random.Generator) -> dict[str, Any]:
    architecture = architecture_of(GOLD, masks)
    table = cost_table(GOLD, SIZE)
    macs = table.macs(masks)
    accuracy = 0.93 - 0.5 * np.exp(-macs / 0.06) + generator.normal(0, 0.01)
    return {
        "architecture": architecture.to_json(),
        "architecture_id": architecture.id,
        "macs": macs,
        "params": table.params(masks),
        "accuracy": float(np.clip(accuracy, 0, 1)),
    }


def _common(run: str) -> dict[str, Any]:
    examples = {"train_examples": 1150, "architecture_examples": 0, "validation_examples": 288, "test_examples": 359}
    return {
        **{"run": run, "space": "gold", "dataset": "digits", "dataset_digest": "6a0a77fe5bcc", "metric": "accuracy"},
        **{"versions": json.dumps({"nasray": "0.1.0"}), "host": "here", "device": "CPU, 1 thread"},
        **{"channels": SIZE.channels, "cells": SIZE.cells, "created_at": datetime(2026, 11, 27, 12, tzinfo=UTC)},
        **examples,
    }


def _run_json(name: str, method: str, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "sweep": {"name": name, "arms": [{"method": method, "space": "gold"}], "training": {"seeds": list(seeds)}},
        "data": {"input_shape": list(SIZE.input_shape), "classes": SIZE.classes},
        "reference": [0.255616, 0.1],
        "versions": {"python": "3.11.7", "nasray": "0.1.0", "torch": "2.14.1"},
        "cpus": 2,
        "started": "2026-11-27T12:00:00+00:00",
        "ended": "2026-11-27T12:10:00+00:00",
    }


def _write(storage: Storage, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """All rows in one file, as a run has them after compaction."""
    knobs = {"lambda0": pa.float64()}
    accepted = [table.accept(row) for row in rows]
    if accepted:
        schema = pa.schema([*table.schema, *(pa.field(name, of) for name, of in knobs.items())])
        storage.write_bytes(f"{table.name}/compact-0.parquet", to_bytes(pa.Table.from_pylist(accepted, schema=schema)))
