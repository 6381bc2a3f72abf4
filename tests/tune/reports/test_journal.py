"""A run's black-box searches in Optuna's journal, read by Optuna, and shown by optuna-dashboard."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import nasray
from nasray import registry
from nasray.errors import InvalidInput
from nasray.runs import open_storage
from nasray.searchers import Proposal, SearchProblem
from nasray.searchers.evolution import Evolution
from nasray.spaces import Architecture, from_string
from nasray.spaces.encoding import decode
from nasray.sweeps import AccuracySource, Arm, Budget, Execution, Sweep, Training
from nasray.sweeps.run import run_sweep
from nasray.tune.reports.journal import OptunaJournal
from nasray.tune.reports.trackers import check_trackers

SPACE = registry.find("space", "nas_bench_201")
PROBLEM = SearchProblem(
    space=SPACE,
    cells=5,
    objectives={"accuracy": "max", "macs": "min"},
    epochs=200,
    budget=None,
    macs=lambda architecture: 1.0,
    seed=0,
)
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every cell, better the more convolutions it has."""
    rows = []
    for a, b, c, d, e, f in itertools.product(OPERATIONS, repeat=6):
        arch = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        worth = sum("conv" in name for name in (a, b, c, d, e, f))
        rows.append({"arch": arch, "cifar10_test_acc_12": 40.0 + worth, "cifar10_test_acc_200": 60.0 + 5 * worth})
    path = tmp_path_factory.mktemp("table") / "made_up.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


def studies(folder: str) -> dict[str, optuna.Study]:
    """Optuna's own reading of a run's journal."""
    storage = JournalStorage(JournalFileBackend(f"{folder}/optuna.journal"))
    names = [one.study_name for one in storage.get_all_studies()]
    return {name: optuna.load_study(study_name=name, storage=storage) for name in names}


@pytest.mark.usefixtures("ray_session")
@pytest.mark.slow
def test_the_journal_holds_what_the_table_of_the_run_holds(table: str, tmp_path: Path) -> None:
    sweep = Sweep(
        name="journalled",
        dataset="cifar10",
        arms=(Arm(method="evolution", space="nas_bench_201", settings=Evolution.Config(evaluations=12, initial=4)),),
        table=AccuracySource(path=table),
        training=Training(rungs=(12,)),
        budget=Budget(120.0),
        reference=(221.0, 0.3),
        random_baseline=False,
        execution=Execution(storage=str(tmp_path), trackers=("optuna",)),
    )
    outcome = run_sweep(sweep)
    (study,) = studies(outcome.folder).values()
    assert study.metric_names == ["accuracy", "macs"]
    assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    rows = nasray.load(outcome.folder)
    complete = {row["architecture_id"]: row for row in rows[rows["complete"]].to_dict("records")}
    stopped = set(rows["architecture_id"]) - set(complete)
    cells = SPACE.published_sizes["cifar10"].cells
    told = {state: {} for state in TrialState}
    for trial in study.trials:
        told[trial.state][decode(SPACE, trial.params, cells).id] = trial
    assert set(told[TrialState.COMPLETE]) == set(complete)
    assert set(told[TrialState.PRUNED]) == stopped
    for architecture, trial in told[TrialState.COMPLETE].items():
        row = complete[architecture]
        assert trial.values == pytest.approx([row["accuracy"], row["macs"]])
        assert trial.constraints == {"macs": pytest.approx(row["macs"] - 120.0)}
    # Optuna's front of the study is the run's front.
    best = sorted(one.values[1] for one in study.best_trials)
    assert sorted(set(best)) == pytest.approx(outcome.front["macs"].tolist())


class _Trial:
    """As much of Tune's trial as the journal asks."""

    def __init__(self, name: str, architecture: Architecture, **result: Any) -> None:
        self.name = name
        self.config = {"trial": name, "proposal": Proposal(architecture).key}
        self.run_metadata = type("Metadata", (), {"last_result": result})

    def __str__(self) -> str:
        return self.name


def test_a_journal_that_a_kill_cut_off_goes_on_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "optuna.journal"

    def journal(**ended: Any) -> OptunaJournal:
        return OptunaJournal("r", "s", path, problem=PROBLEM, ended=ended)

    def cell(operation: str) -> Architecture:
        text = f"|{operation}~0|+|{operation}~0|nor_conv_3x3~1|+|none~0|none~1|avg_pool_3x3~2|"
        return from_string(SPACE, text)

    done: Any = _Trial("a", cell("skip_connect"), accuracy=0.5, macs=10.0, epoch=200)
    broken: Any = _Trial("b", cell("nor_conv_1x1"), epoch=0, given_up="the disk is on fire")
    waits: Any = _Trial("w", cell("none"), epoch=3, waits=True)
    first = journal()
    for trial in (done, broken, waits):
        first.on_trial_complete(1, [done], trial)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:40])  # killed while it wrote

    # Of one that ended meanwhile the journal was not told.
    again = journal(c=(Proposal(cell("nor_conv_3x3")).key, {"accuracy": 0.7, "macs": 20.0, "epoch": 200}))
    again.on_step_end(0, [])
    again.on_trial_complete(1, [done], done)
    (study,) = studies(str(tmp_path / "journal")).values()
    assert [(one.user_attrs["trial"], one.state) for one in study.trials] == [
        ("a", TrialState.COMPLETE),
        ("b", TrialState.FAIL),
        ("c", TrialState.COMPLETE),
    ]


def test_a_journal_that_cannot_be_written_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "journal").write_text("a file where a folder should be")
    journal = OptunaJournal("r", "s", tmp_path / "journal" / "optuna.journal", problem=PROBLEM)
    for _ in range(3):
        journal.on_step_end(0, [])
    (said,) = [record.message for record in caplog.records if "tracker_failed" in record.message]
    assert "tracker=optuna" in said


def test_only_a_folder_can_hold_it(tmp_path: Path) -> None:
    check_trackers(("optuna",), open_storage(tmp_path))
    with pytest.raises(InvalidInput, match=r"tracker 'optuna' cannot write to storage s3://.*needs a local folder"):
        check_trackers(("optuna",), open_storage("s3://bucket/runs?region=eu-west-1"))


DRIVER = """
from nasray.sweeps import Sweep
from nasray.searchers.optuna import TPE
from nasray.sweeps import AccuracySource, Arm, Budget, Execution, Sweep, Training

SWEEP = Sweep(
    name="killed", dataset="cifar10",
    arms=(Arm(method="tpe", space="nas_bench_201", settings=TPE.Config(evaluations=40)),),
    table=AccuracySource(path={table!r}), reference=(221.0, 0.3), random_baseline=False,
    execution=Execution(storage={storage!r}, trackers=("optuna",)),
)
"""


@pytest.mark.slow
def test_a_killed_search_doubles_no_trial_and_its_dashboard_shows_it(
    table: str, tmp_path: Path, run_and_kill: Callable[..., None]
) -> None:
    file = tmp_path / "killed.py"
    file.write_text(DRIVER.format(table=table, storage=str(tmp_path)))
    command = [sys.executable, "-m", "nasray.cli", "sweep", f"{file}:SWEEP"]
    journal = tmp_path / "killed" / "optuna.journal"
    run_and_kill(command, dict(os.environ), lambda: journal.exists() and journal.read_bytes().count(b"\n") > 15)
    subprocess.run(command, check=True, capture_output=True, timeout=800)
    (study,) = studies(str(tmp_path / "killed")).values()
    assert len(study.trials) <= 40
    told = [(one.user_attrs["trial"], json.dumps(one.params, sort_keys=True)) for one in study.trials]
    assert len(set(told)) == len(told)
    rows = nasray.load(str(tmp_path / "killed"))
    cells = SPACE.published_sizes["cifar10"].cells
    assert {decode(SPACE, one.params, cells).id for one in study.trials} == set(rows["architecture_id"])

    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: pip install 'nasray[optuna]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dashboard = subprocess.Popen(
        [Path(sys.executable).with_name("optuna-dashboard"), journal, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        shown = answer(f"http://127.0.0.1:{port}/api/studies")
        assert [one["study_name"] for one in shown["study_summaries"]] == [study.study_name]
        number = shown["study_summaries"][0]["study_id"]
        assert len(answer(f"http://127.0.0.1:{port}/api/studies/{number}?after=0")["trials"]) == len(study.trials)
    finally:
        dashboard.terminate()
        dashboard.wait(30)


def answer(url: str) -> Any:
    """JSON from a server that may still be starting."""
    deadline = time.monotonic() + 200
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return json.load(response)
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
