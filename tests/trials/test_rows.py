"""Rows of evaluations, without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nasray.methods import Problem
from nasray.methods.random import Random
from nasray.runs import EVALUATIONS, open_storage, read
from nasray.spaces import NetworkSize
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings
from nasray.trials.rows import write_evaluation
from nasray.trials.trial import Origin, TrainingTrial
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

SIZE = NetworkSize(channels=2, cells=3, input_shape=(1, 8, 8), classes=10)
COLUMNS = ["latency_low_ms", "latency_ms", "latency_high_ms", "latency_batch"]


@pytest.mark.parametrize("batch", [None, 4])
def test_latency_is_in_the_row_where_it_was_asked_for(batch: int | None, tmp_path: Path) -> None:
    architecture = Random(Random.Config(), Problem(NAS_BENCH_201, SIZE, SIZE, 0)).architecture()
    settings = EvaluationSettings(
        epochs=1, channels=2, cells=3, train_examples=128, augmentation="none", latency_batch=batch
    )
    config = EvaluationConfig(
        space="nas_bench_201", dataset="digits", architecture=architecture.to_json(), settings=settings
    )
    evaluation = Evaluation(config, device="cpu")
    evaluation.run_epoch()
    network = evaluation.learner.network
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    of_test_split = {len(targets) for _, targets in evaluation.data.test_batches(256)}
    batches = []
    network.register_forward_hook(lambda _, given, __: batches.append(len(given[0])))

    storage = open_storage(tmp_path)
    write_evaluation(storage, TrainingTrial(run="run", config=config, origin=Origin(method="random")), evaluation)
    row = read(storage, EVALUATIONS).iloc[0]
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    if batch is None:
        assert set(batches) == of_test_split
        assert row[COLUMNS].isna().all()
    else:
        assert set(batches) == {batch, *of_test_split}
        low, median, high, of = row[COLUMNS]
        assert 0 < low <= median <= high
        assert of == batch
