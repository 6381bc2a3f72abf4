"""A trial that runs: a kill between any two lines that write loses nothing, and every error becomes an outcome."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from nasray.errors import InvalidInput, NonFiniteLoss, StorageFailure
from nasray.fronts import pareto_front
from nasray.methods.random import Random
from nasray.runs import EPOCHS, EVALUATIONS, TABLES, Storage, compact, open_storage, read
from nasray.runs.outcomes import Outcome, read_outcome, write_outcome
from nasray.trials import curves
from nasray.trials import running as module
from nasray.trials.checkpoints import drop_final_checkpoints
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings
from nasray.trials.running import RunningTrial
from nasray.trials.search import Epoch, Search
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import Origin, SearchTrial, TrainingTrial, Trial, trial_of

TINY: dict[str, Any] = dict(
    batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64, epochs=3
)
VOLATILE = ["created_at", "seconds", "peak_memory_bytes"]


def a_search(epochs: int = 3) -> SearchTrial:
    settings = Random.Config(**{**TINY, "epochs": epochs})
    config = SearchConfig(method="random", space="gold", dataset="digits", settings=settings)
    return SearchTrial(run="run", config=config)


def a_training(epochs: int = 3) -> TrainingTrial:
    architecture = Search(a_search().config).method.architecture()
    settings = EvaluationSettings(**{**TINY, "epochs": epochs}, drop_path=0.1)
    config = EvaluationConfig(space="gold", dataset="digits", architecture=architecture, settings=settings, seed=1)
    return TrainingTrial(run="run", config=config, origin=Origin(method="random"), rungs=(1,))


def start(trial: Trial, storage: Storage, **given: Any) -> tuple[RunningTrial, list[tuple[str, str]]]:
    said: list[tuple[str, str]] = []
    return RunningTrial(trial, storage, lambda level, event, **_: said.append((level, event)), **given), said


def finish(trial: Trial, storage: Storage) -> list[dict[str, Any]]:
    running, _ = start(trial, storage)
    reports = []
    while not reports or not reports[-1]["done"]:
        reports.append(running.step())
    return reports


def tables(storage: Storage) -> list[pd.DataFrame]:
    return [read(storage, table).drop(columns=VOLATILE, errors="ignore") for table in TABLES.values()]


class Killed(BaseException):
    """As a kill ends a process: nothing of nasray catches it."""


@pytest.mark.slow
@pytest.mark.parametrize("make", [a_search, a_training])
@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_a_kill_between_any_two_writes_loses_and_doubles_nothing(
    make: Callable[..., Trial], seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "SECONDS", seconds)
    trial = make(epochs=2)
    alone = open_storage(tmp_path / "alone")
    reports = finish(trial, alone)
    assert [report["epoch"] for report in reports] == [0, 1, 2]

    original = {name: getattr(Storage, name) for name in ("write_bytes", "delete", "delete_folder")}
    left = [0]

    def killing(name: str) -> Callable[..., Any]:
        def act(self: Storage, *given: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original[name](self, *given)

        return act

    for name in original:
        monkeypatch.setattr(Storage, name, killing(name))
    for writes in range(50):
        storage = open_storage(tmp_path / f"killed_{writes}")
        left[0] = writes
        try:
            finish(trial, storage)
            break
        except Killed:
            left[0] = 1_000
            compact(storage, EPOCHS)  # as the next pass does: a file that is written on is another one then
        finish(trial, storage)
        for mine, theirs in zip(tables(storage), tables(alone), strict=True):
            pd.testing.assert_frame_equal(mine, theirs)
        assert read_outcome(storage, trial.name, trial.digest) == read_outcome(alone, trial.name, trial.digest)
        drop_final_checkpoints(storage)
        assert not list((tmp_path / f"killed_{writes}" / "trials").glob("*/*"))
    assert writes >= 4  # checkpoint, row, outcome, and what is deleted


@pytest.mark.parametrize("make", [a_search, a_training])
def test_its_learning_curve_is_what_each_epoch_gave(
    make: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "FILE_EPOCHS", 2)
    storage, trial = open_storage(tmp_path), make(epochs=5)
    finish(trial, storage)
    assert len(list((tmp_path / "epochs").iterdir())) == 3  # and not one an epoch
    rows = read(storage, EPOCHS)
    assert list(rows["epoch"]) == [1, 2, 3, 4, 5]
    assert set(rows["trial_id"]) == {trial.name}
    alone = trial.start()
    for row in rows.to_dict("records"):
        given = alone.run_epoch()
        figures = given.metrics if isinstance(given, Epoch) else given
        for name in ("loss", "train_accuracy", "supernet_accuracy", "accuracy", "learning_rate", "expected_macs"):
            assert figures.get(name) == (None if pd.isna(row[name]) else row[name])
    # The last one's accuracy is that of the trial's own row.
    (last,) = read(storage, EVALUATIONS).query("complete")["accuracy"] if make is a_training else [None]
    assert last == (None if make is a_search else row["accuracy"])
    with pytest.raises(InvalidInput, match="Rows of epochs have no front"):
        pareto_front(rows)


@pytest.mark.parametrize("make", [a_search, a_training])
def test_a_trial_that_may_be_stopped_at_a_rung_leaves_its_curve(tmp_path: Path, make: Any) -> None:
    storage, trial = open_storage(tmp_path), dataclasses.replace(make(), rungs=(1,))
    running, _ = start(trial, storage)
    for _ in range(3):  # the rung is the first epoch, and the next one is too new
        running.step()
    assert list(read(storage, EPOCHS)["epoch"]) == [1]


def test_a_trial_that_gives_up_leaves_its_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, trial = open_storage(tmp_path), a_search()
    running, _ = start(trial, storage)
    running.step()
    running.step()
    assert not len(read(storage, EPOCHS))  # it is too new

    def fail(self: Search) -> Any:
        raise NonFiniteLoss("loss became nan")

    monkeypatch.setattr(Search, "run_epoch", fail)
    running.step()
    assert list(read(storage, EPOCHS)["epoch"]) == [1]


def test_what_a_trial_goes_on_from_is_reported_again(tmp_path: Path) -> None:
    # Whoever compares trials at rungs must see the figures of the rung.
    storage, trial = open_storage(tmp_path), a_training()
    first, _ = start(trial, storage)
    before = [first.step() for _ in range(2)][-1]
    second, said = start(trial, storage)
    again = second.step()
    assert again.pop("begun") is True
    assert again == before
    assert said == [("info", "trial_resumed")]
    assert (again["epoch"], again["done"]) == (1, False)
    assert second.step()["epoch"] == 2


@pytest.mark.parametrize("limit", [0, 1])
def test_an_error_is_tried_again_as_often_as_it_may(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, trial = open_storage(tmp_path), a_search()

    def burn(self: Search) -> Any:
        raise RuntimeError("Traceback of some lines\nthe disk is on fire")

    monkeypatch.setattr(Search, "run_epoch", burn)
    for _ in range(limit):
        running, _ = start(trial, storage, max_failures=limit)
        running.step()
        with pytest.raises(RuntimeError, match="on fire"):
            running.step()
        outcome = read_outcome(storage, trial.name)
        assert outcome is not None
        assert (outcome.state, outcome.failures) == ("retrying", 1)
    running, _ = start(trial, storage, max_failures=limit)
    running.step()
    report = running.step()
    times = "once" if limit == 0 else "2 times"
    assert report["given_up"] == f"failed {times}: RuntimeError: the disk is on fire"
    assert report["done"]
    # It is final: given to a process again, it does nothing.
    assert start(trial, storage)[0].step()["given_up"] == report["given_up"]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (InvalidInput("no such folder on this node"), "refused"),
        (NonFiniteLoss("loss became nan"), "diverged"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
    ],
)
def test_errors_become_outcomes(error: Exception, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, trial = open_storage(tmp_path), a_search()
    with monkeypatch.context() as patch:

        def fail(self: Search) -> Any:
            raise error

        running, _ = start(trial, storage)
        running.step()
        running.step()
        patch.setattr(Search, "run_epoch", fail)
        report = running.step()
    assert report["done"]
    assert report.get("waits", False) == (state == "out_of_memory")
    assert state == "out_of_memory" or str(error) in report["given_up"]
    outcome = read_outcome(storage, trial.name, trial.digest)
    assert outcome is not None
    assert (outcome.state, outcome.epoch) == (state, 1)
    # What it had is kept for who mends what it lacked.
    kept = list((tmp_path / "trials" / trial.name).glob("*.state"))
    assert len(kept) == (0 if state == "diverged" else 1)


def test_a_storage_that_fails_is_no_fault_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, trial = open_storage(tmp_path), a_search()
    running, _ = start(trial, storage)
    running.step()

    def full(*given: Any) -> Any:
        raise StorageFailure("cannot write (no space left)")

    monkeypatch.setattr(module, "write_candidates", full)
    monkeypatch.setattr(module, "save_checkpoint", full)
    with pytest.raises(StorageFailure):
        running.step()
    assert read_outcome(storage, trial.name) is None


def test_nothing_is_spent_on_a_network_above_the_budget(tmp_path: Path) -> None:
    trial = a_training()
    trial = dataclasses.replace(trial, config=dataclasses.replace(trial.config, budget=1e-9))
    built = Evaluation(a_training().config)
    running, _ = start(trial, open_storage(tmp_path), start=lambda _: built)
    assert running.step()["epoch"] == 0
    report = running.step()
    assert (report["done"], report["epoch"], report["macs"]) == (True, 0, built.macs)
    assert "given_up" not in report


@pytest.mark.parametrize("make", [a_search, a_training])
def test_a_trial_survives_json_and_is_named_by_what_it_is(make: Callable[[], Trial]) -> None:
    trial = make()
    assert trial_of(json.loads(json.dumps(trial.to_dict()))) == trial
    elsewhere = dataclasses.replace(trial, config=dataclasses.replace(trial.config, data_root="/elsewhere"))
    other = dataclasses.replace(trial, config=dataclasses.replace(trial.config, seed=9))
    assert (elsewhere.name, elsewhere.digest) == (trial.name, trial.digest)
    assert other.name != trial.name
    assert other.digest != trial.digest


def test_an_outcome_that_was_given_more_memory_keeps_it(tmp_path: Path) -> None:
    storage, trial = open_storage(tmp_path), a_search()
    write_outcome(storage, trial.name, Outcome(state="retrying", digest=trial.digest, gpus=0.5, failures=1))
    finish(trial, storage)
    outcome = read_outcome(storage, trial.name)
    assert outcome is not None
    assert (outcome.state, outcome.gpus, outcome.failures) == ("done", 0.5, 1)
