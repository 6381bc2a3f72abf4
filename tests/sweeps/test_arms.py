"""Sweeps of several methods: what they expand to, what is trained, and which rows they leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import nasray
from nasray import registry
from nasray.cli import main
from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.ista_nas_one_stage import NORMALISATION, ISTANASOneStage
from nasray.methods.random import Random
from nasray.networks import target_network
from nasray.spaces import Architecture, NetworkSize
from nasray.sweeps import Arm, EvaluationSettings, Range, Sweep, Training
from nasray.sweeps.changes import with_execution, with_method, with_settings, with_training
from nasray.sweeps.run import Outcome, run_sweep
from nasray.trials.identity import config_of_row
from nasray.trials.search import Search

SMALL = dict(batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64)
GOLD = Arm(
    method="gold_nas",
    space="gold",
    settings=GoldNAS.Config(**SMALL, epochs=2, stop_macs=0.0),
    param_space={"lambda0": Range(low=1e-3, high=0.5, log=True)},
    samples=2,
)
ONE_STAGE = Arm(
    method="ista_nas_one_stage",
    space="darts",
    settings=ISTANASOneStage.Config(**SMALL, epochs=4, final_epochs=2, drop_path=0.0, max_params=None),
)


def several(**changes: object) -> Sweep:
    fields: dict = dict(
        name="several",
        dataset="digits",
        arms=(GOLD, ONE_STAGE),
        training=Training(select="final", settings=EvaluationSettings(**SMALL, epochs=2, drop_path=0.0)),
    )
    return Sweep(**{**fields, **changes})


def test_searches_are_those_of_every_arm_with_every_seed() -> None:
    configs = several(seeds=(3, 4)).searches()
    assert [(c.seed, c.method, c.space) for c in configs] == [
        (seed, arm.method, arm.space) for seed in (3, 4) for arm in (GOLD, GOLD, ONE_STAGE)
    ]


def test_several_arms_survive_json() -> None:
    sweep = several()
    assert Sweep.of(json.loads(json.dumps(sweep.to_dict()))) == sweep


def test_one_method_can_be_taken_alone_and_settings_are_fixed_in_all() -> None:
    alone = with_method(several(), "ista_nas_one_stage")
    assert alone.arms == (ONE_STAGE,)

    fixed = with_settings(several(), {"learning_rate": 0.07, "lambda0": 0.2})
    assert [arm.settings.learning_rate for arm in fixed.arms] == [0.07, 0.07]
    first = fixed.arms[0]
    assert first.settings.lambda0 == 0.2
    assert (dict(first.param_space), first.samples, len(fixed.searches())) == ({}, 1, 2)


def test_an_arm_refuses_what_does_not_fit_together() -> None:
    with pytest.raises(InvalidInput, match=r"settings Random.Config for method 'gold_nas': expected GoldNAS.Config"):
        Arm(method="gold_nas", space="gold", settings=Random.Config())
    with pytest.raises(InvalidInput, match="samples 3 of a param space without ranges"):
        Arm(method="gold_nas", space="gold", settings=GOLD.settings, samples=3)


@pytest.fixture(scope="module")
def outcome(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_sweep(with_execution(several(), storage=str(tmp_path_factory.mktemp("several"))))


@pytest.mark.slow
def test_each_method_has_rows_and_a_front_of_its_own(outcome: Outcome) -> None:
    assert outcome.failures == ()
    rows = nasray.load(outcome.folder)
    counts = rows.groupby(["method", "training"]).size().to_dict()
    gold = rows[rows["method"] == "gold_nas"]
    # The final architectures of two gold searches, one network of one stage, and a random one beside each.
    assert counts[("ista_nas_one_stage", "one stage")] == 1
    assert counts[("gold_nas", "from scratch")] == gold["architecture_id"].nunique() <= 2
    assert counts[("random", "from scratch")] == gold["architecture_id"].nunique() + 1
    assert set(outcome.hypervolumes) == {"gold_nas", "ista_nas_one_stage", "random"}
    assert max(outcome.hypervolumes.values()) <= outcome.hypervolume


@pytest.mark.slow
def test_a_random_one_stands_beside_every_architecture_at_like_cost(outcome: Outcome) -> None:
    rows = nasray.load(outcome.folder)
    random = rows[rows["method"] == "random"]
    found = rows[rows["method"] != "random"].set_index("architecture_id")
    assert set(random["baseline_of"]) == set(found.index)
    assert found["baseline_of"].isna().all()
    for row in random.to_dict("records"):
        assert row["space"] == found.loc[row["baseline_of"], "space"]
        assert row["macs"] == pytest.approx(found.loc[row["baseline_of"], "macs"], rel=0.1)
    assert random["search_trial_id"].isna().all()


@pytest.mark.slow
def test_a_network_of_one_stage_is_kept_as_its_row_says(outcome: Outcome) -> None:
    rows = nasray.load(outcome.folder)
    row = rows[rows["training"] == "one stage"].iloc[0]
    candidate = nasray.load(outcome.folder, "candidates").set_index("architecture_id").loc[row["architecture_id"]]
    assert candidate["gap"] == 0.0
    assert candidate["accuracy"] == pytest.approx(row["accuracy"], abs=0.02)  # absorbed: equal up to rounding
    assert (row["epochs"], row["complete"]) == (2, True)

    space = registry.find("space", "darts")
    architecture = Architecture.from_json(space, row["architecture"])
    size = NetworkSize(channels=2, cells=3, input_shape=(1, 8, 8), classes=10)
    network = target_network(space, architecture, size, normalisation=NORMALISATION)
    network.load_state_dict(safetensors.torch.load_file(Path(outcome.folder, row["weights"])))
    network.eval()
    assert macs(space, architecture, size) == row["macs"]
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(row["params"])
    data = Search(config_of_row(candidate["settings"], ["ista_nas_one_stage", "darts", "digits"], None)).data
    images, targets = next(data.test_batches(1000))
    with torch.no_grad():
        accuracy = (network(images).argmax(1) == targets).float().mean().item()
    assert accuracy == pytest.approx(row["test_accuracy"], abs=1e-6)


@pytest.mark.slow
def test_one_stage_of_other_epochs_is_on_no_front_with_others(
    tmp_path: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = with_training(with_method(several(), "ista_nas_one_stage"), epochs=3)
    outcome = run_sweep(with_execution(longer, storage=str(tmp_path)))
    assert set(outcome.front["method"]) == {"random"}
    assert "trained in one stage for 2 epochs, not 3" in capsys.readouterr().err
    assert set(nasray.load(outcome.folder)["method"]) == {"random", "ista_nas_one_stage"}


def test_a_preset_is_taken_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        "import dataclasses\n"
        "from nasray.methods.random import Random\n"
        "from nasray.sweeps import Arm, Sweep\n"
        "from nasray.sweeps.changes import with_training\n"
        "ARM = Arm(method='random', space='gold', settings=Random.Config())\n"
        "PAPER = Sweep(name='mine', dataset='digits', arms=(ARM,))\n"
        "MINE = dataclasses.replace(with_training(PAPER, epochs=1), presets={'paper': PAPER})\n"
    )
    sweep = registry.find("sweep", f"{tmp_path / 'mine.py'}:MINE", Sweep)
    assert "presets" not in sweep.to_dict()
    assert main(["sweep", f"{tmp_path / 'mine.py'}:MINE", "--preset", "huge"]) == 2
    assert "preset 'huge' of sweep" in (said := capsys.readouterr().err)
    assert "expected paper" in said
    assert main(["sweep", f"{tmp_path / 'mine.py'}:MINE", "--preset=paper", "--help"]) == 0
    assert "600" in capsys.readouterr().out
