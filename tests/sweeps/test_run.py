"""Sweeps under Ray Tune: the tables that they leave, failures, and going on with a run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch

import nasray
from nasray import registry
from nasray.cli import main
from nasray.costs import macs
from nasray.errors import DamagedFiles, InvalidInput
from nasray.fronts import hypervolume
from nasray.networks import target_network
from nasray.runs import open_storage
from nasray.spaces import Architecture, NetworkSize
from nasray.sweeps import Budget, Sweep
from nasray.sweeps.changes import with_execution, with_training
from nasray.sweeps.run import Outcome, retrain, run_sweep
from nasray.trials.evaluation import Evaluation, EvaluationConfig
from nasray.trials.identity import config_of_row
from nasray.trials.search import Search

pytestmark = pytest.mark.usefixtures("ray_session")

VOLATILE = ["created_at", "seconds", "peak_memory_bytes", "run"]
"""Columns that two equal runs may differ in."""

BROKEN = '''
from dataclasses import dataclass
from nasray.methods.random import Random

class Sometimes(Random):
    """Fails wherever more than two operations are drawn for a node."""

    def step(self, learner, batch, architecture_batch):
        if self.config.operations_per_node > 2:
            raise RuntimeError("the disk is on fire")
        super().step(learner, batch, architecture_batch)
'''


def with_arm(sweep: Sweep, **changes: object) -> Sweep:
    """The sweep with other fields of its only arm."""
    (arm,) = sweep.arms
    return dataclasses.replace(sweep, arms=(dataclasses.replace(arm, **changes),))


def test_a_sweep_leaves_its_tables_front_and_weights(tiny_sweep: Sweep, tiny_run: Outcome) -> None:
    assert tiny_run.failures == ()
    candidates = nasray.load(tiny_run.folder, "candidates")
    evaluations = nasray.load(tiny_run.folder)
    front = nasray.load(tiny_run.folder, "front")

    assert sorted(candidates["operations_per_node"]) == [1, 4]
    assert set(evaluations["architecture_id"]) == set(candidates["architecture_id"])
    assert len(evaluations) == 4
    assert (evaluations["epochs"] == 2).all()
    assert evaluations["complete"].all()
    assert evaluations["search_trial_id"].isin(candidates["trial_id"]).all()
    assert front["macs"].is_monotonic_increasing
    assert front["accuracy"].is_monotonic_increasing
    # Guessing is the reference; no architecture costs as much as every operation of the space.
    assert tiny_run.reference[1] == 0.1
    assert (evaluations["macs"] <= tiny_run.reference[0]).all()
    assert tiny_run.hypervolume == hypervolume(front, tiny_run.reference)
    assert Path(tiny_run.folder, "front.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_run_has_a_file_for_each_trained_network_and_few_others(tiny_run: Outcome) -> None:
    run = open_storage(tiny_run.folder)
    weights = set(nasray.load(tiny_run.folder)["weights"])
    front = {f"architectures/{id}.json" for id in tiny_run.front["architecture_id"]}
    assert set(run.list("architectures")) == weights | front
    for folder in ("trials", "candidates", "evaluations"):
        files = run.list(folder)
        assert 1 <= len(files) <= 2
        assert all(name.startswith(f"{folder}/compact-") for name in files)
    assert run.folders("trials") == ()


def test_the_kept_weights_are_those_of_the_row(tiny_sweep: Sweep, tiny_run: Outcome) -> None:
    row = nasray.load(tiny_run.folder).iloc[0]
    space = registry.find("space", "gold")
    architecture = Architecture.from_json(space, row["architecture"])
    assert architecture.id == row["architecture_id"]
    evaluation = Evaluation(
        EvaluationConfig(
            space="gold", dataset="digits", architecture=architecture, settings=tiny_sweep.training.settings
        )
    )
    assert macs(space, architecture, evaluation.size) == row["macs"]
    network = target_network(space, architecture, evaluation.size)
    network.load_state_dict(safetensors.torch.load_file(Path(tiny_run.folder, row["weights"])))
    network.eval()
    images, targets = next(evaluation.data.test_batches(1000))
    with torch.no_grad():
        accuracy = (network(images).argmax(1) == targets).float().mean().item()
    assert accuracy == pytest.approx(row["test_accuracy"], abs=1e-6)


def test_several_seeds_give_a_front_of_means(tiny_run: Outcome) -> None:
    means = nasray.load(tiny_run.folder).groupby("architecture_id")["accuracy"].mean()
    assert len(tiny_run.front) >= 1
    for row in tiny_run.front.to_dict("records"):
        assert row["accuracy"] == pytest.approx(means[row["architecture_id"]])


def test_a_row_equals_the_search_run_without_ray(tiny_run: Outcome) -> None:
    row = nasray.load(tiny_run.folder, "candidates").iloc[0]
    search = Search(config_of_row(row["settings"], [row["method"], row["space"], row["dataset"]], None))
    while not search.finished:
        epoch = search.run_epoch()
    (candidate,) = epoch.candidates
    assert candidate.architecture.id == row["architecture_id"]
    assert candidate.accuracy == row["accuracy"]
    assert candidate.supernet_accuracy == row["supernet_accuracy"]


@pytest.mark.slow
def test_the_same_sweep_twice_gives_the_same_tables(tiny_sweep: Sweep, tiny_run: Outcome) -> None:
    # CPUs are only reserved: how many threads compute is a setting.
    again = run_sweep(with_execution(tiny_sweep, cpus_per_trial=0.9), "again")
    for table in ("candidates", "evaluations", "epochs", "front"):
        one, two = nasray.load(tiny_run.folder, table), nasray.load(again.folder, table)
        pd.testing.assert_frame_equal(
            *(f.drop(columns=[n for n in VOLATILE if n in f]).reset_index(drop=True) for f in (one, two))
        )


def test_a_finished_run_is_not_run_again(tiny_sweep: Sweep, tiny_run: Outcome) -> None:
    made = nasray.load(tiny_run.folder)["created_at"]
    again = run_sweep(with_execution(tiny_sweep, cpus_per_trial=0.5))
    pd.testing.assert_series_equal(nasray.load(again.folder)["created_at"], made)
    pd.testing.assert_frame_equal(again.front, tiny_run.front)
    # `nasray retrain` goes by what run.json says: it runs where the last driver ran.
    assert json.loads(Path(again.folder, "run.json").read_text())["sweep"]["execution"]["cpus_per_trial"] == 0.5


@pytest.mark.slow
def test_a_run_whose_tables_and_outcomes_are_gone_runs_again(
    tiny_sweep: Sweep, tiny_run: Outcome, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_run.folder, tmp_path / tiny_sweep.name)
    for name in ("trials", "candidates", "evaluations"):
        shutil.rmtree(folder / name)
    (folder / "front.parquet").unlink()
    again = run_sweep(with_execution(tiny_sweep, storage=str(tmp_path)))
    pd.testing.assert_frame_equal(
        *(one.drop(columns=[n for n in VOLATILE if n in one]) for one in (again.front, tiny_run.front))
    )


@pytest.mark.slow
def test_a_start_that_no_cluster_answers_leaves_no_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nasray.cli", "sweep", "digits", "--storage", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--address", "127.0.0.1:9", "--name", "one"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("nasray: No Ray cluster answers at address '127.0.0.1:9'")
    assert "Traceback" not in ended.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_run_folder_of_another_sweep_is_refused(tiny_sweep: Sweep, tiny_run: Outcome) -> None:
    values = r"seeds \(the run has 0, this command 7\), training\.select \(the run has front, this command nothing\)"
    with pytest.raises(InvalidInput, match=rf"another sweep, which differs in {values}: run the same sweep"):
        run_sweep(with_training(dataclasses.replace(tiny_sweep, seeds=(7,)), select="nothing"))
    (arm,) = tiny_sweep.arms
    two = dataclasses.replace(arm, settings=dataclasses.replace(arm.settings, threads=2))
    with pytest.raises(InvalidInput, match=r"differs in threads \(the run has 1, this command 2\): run the same sweep"):
        run_sweep(dataclasses.replace(tiny_sweep, arms=(two,)))


@pytest.mark.slow
def test_failing_trials_are_reported_with_their_reasons_while_the_others_go_on(
    tiny_sweep: Sweep, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    varied = {"operations_per_node": (1, 4), "learning_rate": (0.1, 1e30)}
    sweep = with_arm(tiny_sweep, method=f"{tmp_path / 'mine.py'}:Sometimes", param_space=varied)
    outcome = run_sweep(with_execution(with_training(sweep, select="nothing"), max_failures=0, storage=str(tmp_path)))
    (broken,) = [failure for failure in outcome.failures if "the disk is on fire" in failure]
    assert broken.startswith("2 trials, ")  # the same reason is told once
    assert "failed once" in broken
    (not_finite,) = set(outcome.failures) - {broken}
    assert "loss became" in not_finite
    candidates = nasray.load(outcome.folder, "candidates")
    assert list(zip(candidates["operations_per_node"], candidates["learning_rate"], strict=True)) == [(1, 0.1)]


ELSEWHERE = """
import os
from pathlib import Path

from nasray.errors import DamagedFiles, InvalidInput
from nasray.training import datasets


def digits(root):
    driver = Path(root) / "driver"
    if driver.exists() and driver.read_text() != str(os.getpid()):
        raise InvalidInput("no such folder on this node")
    return datasets.digits(root)
"""


@pytest.mark.slow
def test_what_a_node_had_not_is_tried_again_by_the_next_driver_also_from_where_the_run_was_moved_to(
    tiny_sweep: Sweep, tmp_path: Path
) -> None:
    for name in ("runs", "lacking", "mended"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine.py").write_text(ELSEWHERE)
    (tmp_path / "lacking" / "driver").write_text(str(os.getpid()))
    sweep = dataclasses.replace(tiny_sweep, dataset=f"{tmp_path / 'mine.py'}:digits")
    sweep = with_execution(
        with_training(sweep, select="nothing"), data_root=str(tmp_path / "lacking"), storage=str(tmp_path / "runs")
    )
    (failure,) = run_sweep(sweep).failures
    assert failure.startswith("2 trials, ")
    assert failure.endswith(": no such folder on this node")

    (tmp_path / "runs").rename(tmp_path / "moved")
    outcome = run_sweep(with_execution(sweep, data_root=str(tmp_path / "mended"), storage=str(tmp_path / "moved")))
    assert outcome.failures == ()
    assert len(nasray.load(tmp_path / "moved" / "tiny", "candidates")) == 2
    assert not (tmp_path / "runs").exists()


def test_the_folder_of_a_single_search_is_refused(tiny_sweep: Sweep, tmp_path: Path) -> None:
    open_storage(tmp_path / "tiny").write_json("run.json", {"search": {}})
    with pytest.raises(InvalidInput, match="holds no sweep: give another --name"):
        run_sweep(with_execution(tiny_sweep, storage=str(tmp_path)))


@pytest.mark.parametrize("table", ["candidates", "evaluations"])
def test_damage_to_a_finished_run_is_named_and_leaves_its_front(
    tiny_sweep: Sweep, tiny_run: Outcome, tmp_path: Path, table: str
) -> None:
    sweep = with_execution(tiny_sweep, storage=str(tmp_path))
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "tiny"))
    front = (run / "front.parquet").read_bytes(), (run / "front.png").read_bytes()
    (weights, *_) = sorted((run / "architectures").glob("*.safetensors"))
    weights.rename(tmp_path / "weights")
    (lost,) = run_sweep(sweep).failures
    assert weights.name in lost
    (tmp_path / "weights").rename(weights)
    (path,) = (run / table).glob("compact-*")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DamagedFiles, match=path.name) as caught:
        run_sweep(sweep)
    assert "\n" not in str(caught.value)
    assert ((run / "front.parquet").read_bytes(), (run / "front.png").read_bytes()) == front


@pytest.mark.slow
def test_trials_whose_rows_were_deleted_run_again(tiny_sweep: Sweep, tiny_run: Outcome, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "tiny"))
    for path in (run / "evaluations").glob("*"):
        path.unlink()
    again = run_sweep(with_execution(tiny_sweep, storage=str(tmp_path)))
    assert again.failures == ()
    assert list(again.front["accuracy"]) == list(tiny_run.front["accuracy"])
    assert len(nasray.load(run)) == len(nasray.load(tiny_run.folder))


def test_a_folder_with_tables_and_without_run_json_is_refused(tiny_sweep: Sweep, tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "tiny")
    storage.write_bytes("candidates/row-1.parquet", b"")
    with pytest.raises(InvalidInput, match=r"has candidates of a run but no run\.json.*Put run\.json back"):
        run_sweep(with_execution(tiny_sweep, storage=str(tmp_path)))
    assert not storage.exists("run.json")


@pytest.mark.slow
def test_retraining_at_another_fidelity_adds_rows(tiny_run: Outcome, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run.folder, tmp_path / "tiny")
    outcome = retrain(open_storage(run), {"epochs": 3})
    evaluations = nasray.load(run)
    assert set(evaluations["epochs"]) == {2, 3}
    assert (outcome.front["epochs"] == 3).all()
    with pytest.raises(InvalidInput, match="differ in epochs"):
        nasray.pareto_front(evaluations)


@pytest.mark.slow
def test_a_budget_is_met_by_narrower_networks_where_nothing_found_obeys_it(
    tiny_sweep: Sweep, tiny_run: Outcome, tmp_path: Path
) -> None:
    space = registry.find("space", "gold")
    found = nasray.load(tiny_run.folder, "candidates").set_index("operations_per_node").loc[4]
    wide = NetworkSize(channels=8, cells=3, input_shape=(1, 8, 8), classes=10)
    budget = 0.5 * macs(space, Architecture.from_json(space, found["architecture"]), wide)
    sweep = with_training(with_execution(tiny_sweep, storage=str(tmp_path)), seeds=(0,), channels=8)
    sweep = with_arm(sweep, param_space={"operations_per_node": (4,)})
    outcome = run_sweep(dataclasses.replace(sweep, budget=Budget(budget)))
    (row,) = nasray.load(outcome.folder).to_dict("records")
    assert row["architecture_id"] == found["architecture_id"]
    assert row["macs"] <= budget
    assert row["channels"] < 8
    assert len(outcome.front) == 1


def test_the_verbs_front_and_cost_read_a_run(
    tiny_run: Outcome, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tiny_run.folder
    assert main(["front", folder, "--table", "candidates", "--json", "--plot", str(tmp_path / "a.svg")]) == 0
    printed = json.loads(capsys.readouterr().out)
    front = nasray.pareto_front(nasray.load(folder, "candidates"))
    assert [row["architecture_id"] for row in printed["front"]] == list(front["architecture_id"])
    assert "<svg" in (tmp_path / "a.svg").read_text()
    first = front.iloc[0]
    assert main(["front", folder, "--table", "candidates", "--budget", str(first["macs"])]) == 0
    assert first["architecture_id"] in capsys.readouterr().out
    size = ["--channels", "2", "--cells", "3", "--input", "1x8x8", "--json"]
    assert main(["cost", "gold", first["architecture_id"], *size, "--storage", str(Path(folder).parent)]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] == pytest.approx(first["macs"])


@pytest.mark.slow
def test_further_seeds_do_not_compete_with_the_first_at_a_rung(tiny_sweep: Sweep, tmp_path: Path) -> None:
    sweep = with_arm(tiny_sweep, param_space={"operations_per_node": (1, 2, 3, 4, 5)})
    sweep = with_training(with_execution(sweep, storage=str(tmp_path)), epochs=3, rungs=(2,), reduction_factor=1.5)
    outcomes = [run_sweep(with_training(sweep, seeds=seeds), run=f"{len(seeds)}_seeds") for seeds in ((0,), (0, 1, 2))]
    assert [outcome.failures for outcome in outcomes] == [(), ()]
    alone, several = (nasray.load(outcome.folder) for outcome in outcomes)
    judged, ended = alone[alone["epochs"] == 2], alone[alone["complete"]]
    assert 1 <= len(ended) < len(judged) == 5
    # The first seeds as without the others, and the others of those that ended, to their end.
    first = several[several["seed"] == 0].drop(columns=VOLATILE).reset_index(drop=True)
    pd.testing.assert_frame_equal(first, alone.drop(columns=VOLATILE))
    for seed in (1, 2):
        own = several[several["seed"] == seed]
        assert set(own.loc[own["complete"], "architecture_id"]) == set(own["architecture_id"])
        assert set(own["architecture_id"]) == set(ended["architecture_id"])
    assert (outcomes[1].front["seeds"] == 3).all()
