"""Hyperparameters of the training from scratch that a sweep varies beside those of its searches."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nasray
from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.methods.random import Random
from nasray.runs import open_storage
from nasray.searchers.random import RandomSearch
from nasray.sweeps import AccuracySource, Arm, EvaluationSettings, Execution, Range, Sweep, Training
from nasray.sweeps.changes import with_device, with_method
from nasray.sweeps.options import with_options
from nasray.sweeps.proposals import proposals
from nasray.sweeps.run import retrain, run_sweep
from nasray.sweeps.selection import candidate_trials
from nasray.trials.check import any_architecture
from nasray.trials.identity import identity
from nasray.trials.trial import SearchTrial
from tests.ray_session import TINY

RATES = {"operations_per_node": (1, 3), "training.learning_rate": (0.02, 0.2)}
DRAWN = {
    "operations_per_node": Range(low=1, high=4, integer=True),
    "training.learning_rate": Range(low=1e-3, high=1.0, log=True),
}


def sweep_of(param_space: Any, storage: Path | str = "runs", **changes: Any) -> Sweep:
    samples = changes.pop("samples", 1)
    settings = Random.Config(**TINY)
    arm = Arm(method="random", space="gold", settings=settings, param_space=param_space, samples=samples)
    fields: dict[str, Any] = dict(
        name="varied",
        dataset="digits",
        arms=(arm,),
        training=Training(settings=EvaluationSettings(**TINY, drop_path=0.0), select="final"),
        execution=Execution(storage=str(storage)),
    )
    return Sweep(**{**fields, **changes})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epochs", 3, "differ in it do not compare"),
        ("channels", 4, "differ in it do not compare"),
        ("cells", 3, "differ in it do not compare"),
        ("train_examples", 64, "differ in it do not compare"),
        ("split_seed", 1, "differ in it do not compare"),
        ("width_budget", 1.0, "differ in it do not compare"),
        ("lerning_rate", 0.1, r"no such setting\. Did you mean training\.learning_rate\?"),
        ("learning_rate", -0.1, r"learning_rate -0\.1: expected"),
        ("batch_size", 1.5, r"batch_size 1\.5: expected a whole number"),
    ],
)
def test_what_cannot_be_varied_is_refused_in_one_line(name: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        sweep_of({f"training.{name}": (value,)})
    assert "\n" not in str(caught.value)


def test_values_that_do_not_go_together_are_refused_and_so_is_a_table() -> None:
    nesterov = Training(settings=EvaluationSettings(nesterov=True))
    with pytest.raises(InvalidInput, match="nesterov true with momentum 0"):
        sweep_of({"training.momentum": (0.9, 0.0)}, training=nesterov)
    with pytest.raises(InvalidInput, match=r"training\.momentum in a param space, with a table: nothing is trained"):
        sweep_of({"training.momentum": (0.9,)}, dataset="cifar10", table=AccuracySource(path="table.csv"))
    with pytest.raises(InvalidInput, match="augmentation 'upside_down': dataset 'digits' has"):
        run_sweep(sweep_of({"training.augmentation": ("standard", "upside_down")}, "/nowhere"))


def test_searches_that_differ_in_their_trainings_alone_are_one() -> None:
    sweep = sweep_of(RATES)
    assert [config.settings.operations_per_node for config in sweep.searches()] == [1, 3]
    planned = [(config.settings.operations_per_node, trained.learning_rate) for config, trained in sweep.planned()]
    assert planned == [(1, 0.02), (1, 0.2), (3, 0.02), (3, 0.2)]
    drawn = sweep_of(DRAWN, samples=3)
    assert len(drawn.searches()) == len({trained.learning_rate for _, trained in drawn.planned()}) == 3
    assert Sweep.of(json.loads(json.dumps(drawn.to_dict()))) == drawn


def test_what_is_typed_is_no_longer_varied_and_another_method_varies_the_same() -> None:
    typed = with_options(sweep_of(RATES), {"training.learning_rate": 0.5})
    assert list(typed.arms[0].param_space) == ["operations_per_node"]
    assert typed.training.settings.learning_rate == 0.5
    assert with_method(sweep_of(RATES), "darts").varied_training == ["learning_rate"]


def test_searchers_of_other_trainings_are_other_searches() -> None:
    arm = Arm(
        method="random_search", space="nas_bench_201", settings=RandomSearch.Config(), param_space={
            "training.weight_decay": (0.0, 1e-3),
        },
    )  # fmt: skip
    sweep = dataclasses.replace(sweep_of({}), arms=(arm,))
    found = proposals(sweep)
    assert len({one.trial_id for one in found}) == 2
    shared = [one.proposing(sweep).shared for one in found]
    assert [trial.config.settings.weight_decay for trial in shared] == [0.0, 1e-3]
    assert [dict(trial.origin.knobs) for trial in shared] == [
        {"training.weight_decay": 0.0}, {"training.weight_decay": 1e-3},
    ]  # fmt: skip


def test_an_architecture_and_its_baseline_are_trained_with_each_value_of_its_search() -> None:
    sweep = with_method(sweep_of(RATES), "darts")
    (config,) = sweep.searches()
    found = any_architecture(config.cell_space, 3)
    row = {
        "trial_id": SearchTrial(run="varied", config=config).name,
        "settings": json.dumps(identity(config)),
        "architecture": found.to_json(),
        "architecture_id": found.id,
        "method": "darts",
    }
    trials = candidate_trials(sweep, pd.DataFrame([row, {**row, "epoch": 2}]), baselines=True)
    trained = [(trial.method, trial.origin.baseline_of, trial.config.settings.learning_rate) for trial in trials]
    assert trained == [
        ("darts", None, 0.02), ("darts", None, 0.2), ("random", found.id, 0.02), ("random", found.id, 0.2),
    ]  # fmt: skip
    assert trials[0].architecture == trials[1].architecture == found
    assert trials[2].architecture == trials[3].architecture != found
    assert [trial.origin.knobs["training.learning_rate"] for trial in trials] == [0.02, 0.2, 0.02, 0.2]
    assert len({trial.name for trial in trials}) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_what_a_search_found_is_trained_with_its_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    searcher = Arm(
        method="tpe", space="gold", settings=with_method(sweep_of({}), "tpe").arms[0].settings.of({"evaluations": 2}),
    )  # fmt: skip
    sweep = sweep_of(DRAWN, tmp_path, samples=2, random_baseline=False)
    training = dataclasses.replace(sweep.training, seeds=(0, 1), rungs=(1,))
    sweep = dataclasses.replace(sweep, arms=(*sweep.arms, searcher), training=training)
    outcome = run_sweep(sweep)
    assert outcome.failures == ()
    rows = nasray.load(outcome.folder)
    assert (
        rows["settings"].map(lambda text: json.loads(text)["learning_rate"]) == rows["training.learning_rate"]
    ).all()
    expected = {
        SearchTrial(run="varied", config=config).name: trained.learning_rate
        for config, trained in with_device(sweep, "cpu").planned()
    }
    own = rows[rows["method"] == "random"]
    assert dict(zip(own["search_trial_id"], own["training.learning_rate"], strict=True)) == expected
    # The arm that varies nothing is trained by the training's own rate, and shares the front.
    assert set(rows.loc[rows["method"] == "tpe", "training.learning_rate"]) == {0.025}
    assert (outcome.front["seeds"] == 2).all()
    assert {"training.learning_rate"} <= set(outcome.front.columns)
    assert main(["front", outcome.folder]) == 0
    again = run_sweep(sweep)
    assert nasray.load(again.folder)["created_at"].tolist() == rows["created_at"].tolist()
    # What is trained otherwise shares no front with it.
    with pytest.raises(InvalidInput, match=r"learning_rate 0\.5: the run's sweep varies it\. Leave it out\."):
        retrain(open_storage(outcome.folder), {"learning_rate": 0.5})
    fixed = run_sweep(sweep_of({}, tmp_path, name="fixed", random_baseline=False))
    capsys.readouterr()
    assert main(["front", outcome.folder, fixed.folder]) == 2
    assert "learning_rate" in capsys.readouterr().err
