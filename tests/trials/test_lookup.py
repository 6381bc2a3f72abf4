from __future__ import annotations

import math
from pathlib import Path

import pytest

from nasray import registry
from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.runs import EVALUATIONS, open_storage, read
from nasray.spaces import from_string
from nasray.trials.evaluation import EvaluationConfig, EvaluationSettings
from nasray.trials.identity import digest_of_files
from nasray.trials.lookup import AccuracySource, tabular_size
from nasray.trials.rows import write_evaluation
from nasray.trials.trial import Origin, TrainingTrial

TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"


def test_a_table_of_a_dataset_that_nasray_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.csv").write_text(f"arch,top1\n{TEXT},54.25\n")
    monkeypatch.chdir(tmp_path)
    space = registry.find("space", "nas_bench_201")
    source = AccuracySource(path="table.csv", columns=("top1=25",), input_shape=(3, 64, 64), classes=63)
    monkeypatch.chdir("/")  # where a worker may be
    config = EvaluationConfig(
        space="nas_bench_201",
        dataset="scenes",
        architecture=from_string(space, TEXT),
        settings=EvaluationSettings(),
    )
    trial = TrainingTrial(run="run", config=config, origin=Origin(method="tpe"), source=source)
    lookup = trial.start()
    lookup.run_epoch()
    assert (lookup.accuracy, lookup.finished) == (0.5425, True)
    assert (lookup.size.input_shape, lookup.size.classes, lookup.size.channels) == ((3, 64, 64), 63, 16)
    assert lookup.macs == pytest.approx(macs(space, from_string(space, TEXT), lookup.size))
    assert TrainingTrial.of(trial.to_dict()) == trial
    assert len(trial.name) > 20


def test_the_tables_own_costs_are_reported_and_stay_those_of_the_row(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"arch,top1,joules,tpu_ms\n{TEXT},54.25,3.5,\n")
    source = AccuracySource(path=str(tmp_path / "table.csv"), columns=("top1=25",), costs=("joules", "tpu_ms"))
    config = EvaluationConfig(
        space="nas_bench_201",
        dataset="cifar10",
        architecture=from_string(registry.find("space", "nas_bench_201"), TEXT),
        settings=EvaluationSettings(),
    )
    trial = TrainingTrial(run="run", config=config, origin=Origin(method="tpe"), source=source)
    assert TrainingTrial.of(trial.to_dict()) == trial
    lookup = trial.start()
    assert lookup.run_epoch() == pytest.approx({"accuracy": 0.5425, "joules": 3.5, "tpu_ms": math.nan}, nan_ok=True)
    storage = open_storage(tmp_path / "run")
    write_evaluation(storage, trial, lookup)
    (row,) = read(storage, EVALUATIONS).to_dict("records")
    assert row["joules"] == 3.5
    assert "tpu_ms" not in row  # as long as none has it


def test_without_shape_and_classes_the_published_networks_are_meant() -> None:
    space = registry.find("space", "nas_bench_201")
    assert tabular_size(space, "cifar10", None) == space.published_sizes["cifar10"]
    with pytest.raises(InvalidInput, match=r"on 'scenes': expected its input_shape and classes, or a dataset"):
        tabular_size(space, "scenes", AccuracySource(path="table.csv", classes=3))


def test_an_edited_table_is_another(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"arch,top1\n{TEXT},54.25\n")
    before = AccuracySource(path=str(tmp_path / "table.csv")).settings
    (tmp_path / "table.csv").write_text(f"arch,top1\n{TEXT},64.25\n")
    digest_of_files.cache_clear()  # as in another process
    assert AccuracySource(path=str(tmp_path / "table.csv")).settings != before
