"""Runs as people use them: every evaluation's network is rebuilt from the run's folder alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import nn

import nasray
from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.networks.saved import from_bytes
from nasray.runs import EVALUATIONS, open_storage, write_row
from nasray.training import Dataset
from nasray.training.dataset import load_dataset
from nasray.trials.evaluation import EvaluationConfig, EvaluationSettings
from nasray.trials.rows import write_candidates, write_evaluation, write_trained_network
from nasray.trials.search_config import SearchConfig, find_method
from nasray.trials.trial import Origin, SearchTrial, TrainingTrial
from tests.run_files import WriteRun

SIZE: dict[str, Any] = {"channels": 2, "cells": 3, "batch_size": 32, "train_examples": 200, "augmentation": "standard"}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "darts": ("darts", {}),
    "ista_nas": ("darts", {}),
    "gold_nas": ("gold", {"stop_macs": 0.001}),
    "dso_nas": ("dso", {"cells": 5}),
    "random": ("nas_bench_201", {}),
    "pc_darts": ("darts", {"channels": 4}),
    "entrannas": ("darts", {}),
    "entrannas_dst": ("darts", {}),
    "data_egs": ("darts", {}),
    "ista_nas_one_stage": ("darts", {"epochs": 2, "final_epochs": 1, "max_params": None}),
}


def search(folder: Path, method: str, space: str, **settings: Any) -> TrainingTrial | None:
    """Search into a run's folder: gives the training of what was found, None where the search trained it itself."""
    config = find_method(method).Config(**{**SIZE, "epochs": 1, **settings})
    where = SearchConfig(
        method=method,
        space=space,
        dataset="digits",
        settings=config,
        evaluation_channels=config.channels,
        evaluation_cells=config.cells,
    )
    trial = SearchTrial(run="run", config=where)
    run, storage = trial.start(), open_storage(folder)
    while not run.finished:
        epoch = run.run_epoch()
    write_candidates(storage, trial, run, epoch)
    write_trained_network(storage, trial, run)
    if run.trained_network() is not None:
        return None
    shape = {name: value for name, value in {**SIZE, **settings}.items() if name in SIZE}
    evaluation = EvaluationConfig(
        space=space,
        dataset="digits",
        architecture=epoch.candidates[-1].architecture,
        settings=EvaluationSettings(**{**shape, "epochs": 1, "auxiliary_weight": 0.4, "learning_rate": 0.1}),
    )
    return TrainingTrial(run="run", config=evaluation, origin=Origin(method=method))


def train(folder: Path, trial: TrainingTrial, seed: int = 0) -> dict[str, Any]:
    """Train into a run's folder: gives the row."""
    trial = dataclasses.replace(trial, config=dataclasses.replace(trial.config, seed=seed))
    evaluation = trial.start()
    while not evaluation.finished:
        evaluation.run_epoch()
    return write_evaluation(open_storage(folder), trial, evaluation)


def hits(network: nn.Module, data: Dataset) -> float:
    """Share of the test images that a module classifies rightly, as anybody would count it."""
    images, targets = data.test
    with torch.no_grad():
        return float((network(data.augmentations["none"](images, None)).argmax(1) == targets).float().mean())


@pytest.mark.parametrize(
    "method",
    [one if one in ("gold_nas", "random") else pytest.param(one, marks=pytest.mark.slow) for one in METHODS],
)
def test_a_moved_run_rebuilds_each_network_with_the_accuracy_of_its_row(method: str, tmp_path: Path) -> None:
    space, settings = METHODS[method]
    made, moved = tmp_path / "run", tmp_path / "elsewhere" / "kept"
    trial = search(made, method, space, **settings)
    if trial is not None:
        train(made, trial)
    moved.parent.mkdir()
    shutil.move(made, moved)

    run = nasray.open(moved)
    (row,) = run.evaluations.to_dict("records")
    before = torch.get_rng_state()
    network = run.network(row["architecture_id"])
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(network, nn.Module)
    assert not any(module.training for module in network.modules())
    assert hits(network, load_dataset("digits")) == pytest.approx(row["test_accuracy"], abs=1e-7)
    assert run.architecture(row["architecture_id"]).to_json() == row["architecture"]
    if method != "ista_nas_one_stage":
        assert sum(p.numel() for p in network.parameters()) / 1e6 == row["params"]


def test_every_seed_has_a_network_of_its_own_and_an_id_means_the_best_of_them(tmp_path: Path) -> None:
    trial = search(tmp_path, "random", "darts")
    assert trial is not None
    rows = [train(tmp_path, trial, seed) for seed in (0, 1)]
    run, data = nasray.open(tmp_path), load_dataset("digits")
    for row in rows:
        assert hits(run.network(row), data) == pytest.approx(row["test_accuracy"], abs=1e-7)
    by_seed = run.evaluations.set_index("seed")
    best = run.evaluations.sort_values("accuracy").iloc[-1]
    assert by_seed["weights"].nunique() == 2
    of_id, of_best = run.network(best["architecture_id"]), run.network(best)
    assert all(torch.equal(a, b) for a, b in zip(of_id.parameters(), of_best.parameters(), strict=True))


def test_best_is_the_network_of_the_fronts_best_row_and_is_exported_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = search(tmp_path / "run", "random", "darts")
    assert trial is not None
    rows = [train(tmp_path / "run", trial, seed) for seed in (0, 1)]
    open_storage(tmp_path / "run").write_json("run.json", {})
    run = nasray.open(tmp_path / "run")
    best = run.best(budget=rows[0]["macs"])
    images = load_dataset("digits").test[0][:4]
    with torch.no_grad():
        given = run.network(budget=rows[0]["macs"])(images / 10)
        assert torch.equal(given, run.network(best)(images / 10))

    out = tmp_path / "net.safetensors"
    command = ["export", str(tmp_path / "run"), "best", "--budget", str(rows[0]["macs"]), "--out", str(out)]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    nasray.export(run, best, out=tmp_path / "same", to="safetensors")
    files = [out, tmp_path / "same", tmp_path / "run" / best["weights"]]
    (blueprint, weights), *others = (from_bytes(file.read_bytes(), str(file)) for file in files)
    for other, same in others:
        assert other == blueprint
        assert all(torch.equal(weight, same[name]) for name, weight in weights.items())

    refused = {
        f"{best['architecture_id']} --budget 1 --out {out}": "budget 1 with an architecture of your choice",
        f"best --budget 1e-9 --out {out}": "is within 1e-09 M multiply-adds",
        f"best --out {tmp_path / 'no' / 'net.pt2'}": "expected a file in a folder that is there",
        "best": "--out missing",
        f"nobody --out {out}": "No architecture 'nobody'",
    }
    out.unlink()
    for arguments, said in refused.items():
        assert main(["export", str(tmp_path / "run"), *arguments.split()]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
    assert not out.exists()


MINE = """
from nasray.networks.operations import Operation
from nasray.spaces import CellGraph, CellSpace, Normalisation
from torch import nn

NOTE = "{note}"
OPERATIONS = (f"{{__file__}}:conv",)


def conv(channels, stride, normalisation):
    return Operation.of(nn.Conv2d(channels, channels, 3, stride, 1), nn.BatchNorm2d(channels))


OWN = CellSpace(
    name="own",
    cells={{"normal": CellGraph(inputs=2, nodes=1, operations=OPERATIONS)}},
    search_channels=2,
    search_cells=3,
    evaluation_channels=2,
    evaluation_cells=3,
    search_normalisation=Normalisation(affine=False, after_pool=True, after_identity=False),
    evaluation_normalisation=Normalisation(affine=True, after_pool=False, after_identity=False),
)
"""


def test_a_users_own_space_is_taken_from_the_caller_and_no_other_file_is_loaded(tmp_path: Path) -> None:
    for name in ("there", "here", "edited"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(MINE.format(note="edited" if name == "edited" else ""))
    trial = search(tmp_path / "run", "random", f"{tmp_path}/there/mine.py:OWN", operations_per_node=2)
    assert trial is not None
    row = train(tmp_path / "run", trial)
    assert "mine.py:conv" in row["architecture"]
    (tmp_path / "there" / "mine.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')")

    without = nasray.open(tmp_path / "run")
    for ask in (without.network, without.architecture):
        with pytest.raises(InvalidInput, match=r"^Search space 'mine.py:OWN' is a user's own .* code='mine.py'\)\.$"):
            ask(row["architecture_id"])
    run = nasray.open(tmp_path / "run", code=tmp_path / "here" / "mine.py")
    assert hits(run.network(row), load_dataset("digits")) == pytest.approx(row["test_accuracy"], abs=1e-7)
    edited = nasray.open(tmp_path / "run", code=str(tmp_path / "edited" / "mine.py"))
    with pytest.raises(InvalidInput, match=r"edited/mine.py is not the code that the network was trained with"):
        edited.network(row)
    with pytest.raises(InvalidInput, match=r"^No file .*/gone.py: code takes the file"):
        nasray.open(tmp_path / "run", code=tmp_path / "gone.py")
    assert not (tmp_path / "loaded").exists()


def test_what_has_no_weights_is_refused_in_one_line(tmp_path: Path, evaluation: Any) -> None:
    search(tmp_path, "random", "darts")
    storage = open_storage(tmp_path)
    write_row(storage, EVALUATIONS, evaluation(architecture_id="looked", training="looked up", space="darts"))
    write_row(storage, EVALUATIONS, evaluation(architecture_id="stopped", complete=False, space="darts"))
    write_row(storage, EVALUATIONS, evaluation(architecture_id="gone", weights="architectures/gone.safetensors"))
    run = nasray.open(tmp_path)
    reasons = {
        run.candidates["architecture_id"].iloc[0]: "found, but not trained from scratch",
        "looked": "looked up in a table",
        "stopped": "stopped before the end",
        "gone": "gone.safetensors is missing",
        "unknown": "No architecture 'unknown' in .* It has 4, such as ",
        5: "5 is no architecture: give 'best', an id, or a row",
    }
    for which, reason in reasons.items():
        with pytest.raises(InvalidInput, match=reason) as error:
            run.network(which)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(InvalidInput, match=r"^No architecture 'unknown'"):
        run.architecture("unknown")
    storage.write_json("run.json", {"sweep": {}})  # one that has not ended
    with pytest.raises(InvalidInput, match=r"The run has not ended: nasray resume .* goes on\.$"):
        run.network(run.candidates["architecture_id"].iloc[0])
    with pytest.raises(InvalidInput, match=r"^No run in .*/nothing: give the folder or URI of one"):
        nasray.open(tmp_path / "nothing")


def changed(data: bytes, metadata: dict[str, str] | None = None, **changes: Any) -> bytes:
    """A file of weights whose metadata says something else."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    values = json.loads(header["__metadata__"]["nasray"])
    for name, value in changes.items():
        (values["size"] if name in values["size"] else values)[name] = value
    metadata = {"nasray": json.dumps(values)} if metadata is None else metadata
    digest = {"sha256": header["__metadata__"]["sha256"]}
    return safetensors.torch.save(safetensors.torch.load(data), {**metadata, **digest})


@pytest.mark.timeout(60)
def test_weights_that_are_damaged_or_lie_are_refused_in_one_line(tmp_path: Path) -> None:
    trial = search(tmp_path, "random", "darts")
    assert trial is not None
    row = train(tmp_path, trial)
    file = tmp_path / row["weights"]
    whole = file.read_bytes()
    cases = {
        "cut": whole[:-100],
        "empty": b"",
        "bits": whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:],
        "other": b"PK" * 500,
        "unnamed": changed(whole, metadata={"format": "pt"}),
        "no JSON": changed(whole, metadata={"nasray": "{"}),
        "a list": changed(whole, metadata={"nasray": "[1]"}),
        "enormous": changed(whole, channels=2**40),
        "endless": changed(whole, cells=2**40),
        "true": changed(whole, channels=True),
        "skeleton": changed(whole, skeleton="none"),
        "file": changed(whole, space="/tmp/evil.py:SPACE"),
        "other space": changed(whole, space="gold"),
        "architecture": changed(whole, architecture="{}"),
        "normalisation": changed(whole, normalisation={"affine": 1}),
    }
    run = nasray.open(tmp_path)
    for case, content in cases.items():
        file.write_bytes(content)
        with pytest.raises(InvalidInput) as error:
            run.network(row)
        assert len(str(error.value).splitlines()) == 1, case
    file.write_bytes(whole)
    assert hits(run.network(row), load_dataset("digits")) == pytest.approx(row["test_accuracy"], abs=1e-7)


def test_front_and_best_obey_a_budget(write_run: WriteRun) -> None:
    points = [(1.0, 0.5), (2.0, 0.7), (3.0, 0.6), (4.0, 0.9)]
    storage = write_run("run", [{"architecture_id": f"a{m:g}", "macs": m, "accuracy": a} for m, a in points])
    run = nasray.open(str(storage))
    pd.testing.assert_frame_equal(run.front(), nasray.pareto_front(run.evaluations))
    assert run.front()["macs"].tolist() == [1.0, 2.0, 4.0]
    assert run.best()["architecture_id"] == "a4"
    assert run.best(budget=3.5)["architecture_id"] == "a2"
    with pytest.raises(InvalidInput, match=r"is within 0.5 M multiply-adds: the smallest has 1 M\.$"):
        run.best(budget=0.5)


@pytest.mark.slow
def test_all_but_a_network_does_without_torch(tmp_path: Path) -> None:
    trial = search(tmp_path, "random", "darts")
    assert trial is not None
    row = train(tmp_path, trial)
    code = (
        "import sys, nasray; run = nasray.open(sys.argv[1]); run.candidates; run.front();"
        "run.architecture(run.best()['architecture_id']); assert 'torch' not in sys.modules;"
        "print(type(run.network(run.best())).__mro__[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch.nn" in done.stdout
    assert row["complete"]
