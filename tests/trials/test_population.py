"""A population: what it is, and what a member goes on with after it became a copy of another one."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from nasray.errors import InvalidInput
from nasray.fronts import pareto_front
from nasray.runs import EPOCHS, EVALUATIONS, Storage, open_storage, read, write_row
from nasray.settings import Choice, Range
from nasray.spaces import read_architecture
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings
from nasray.trials.member import read_result, with_settings
from nasray.trials.population import Clone, Population, best_of, in_force, read_clones, unsaid, write_clones
from nasray.trials.running import RunningTrial
from nasray.trials.trial import Origin, TrainingTrial, trial_of
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
SETTINGS = EvaluationSettings(
    epochs=4, batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64
)
VARIED = {"learning_rate": Range(low=0.01, high=0.2, log=True), "weight_decay": Range(low=0.0, high=1e-3)}


def population(**changed: Any) -> Population:
    return Population(**{"members": 3, "interval": 2, "varied": VARIED, **changed})


def members(count: int = 2, **changed: Any) -> list[TrainingTrial]:
    config = EvaluationConfig(
        space="nas_bench_201",
        dataset="digits",
        architecture=read_architecture(NAS_BENCH_201, CELL),
        settings=SETTINGS,
    )
    return [
        TrainingTrial(
            run="run",
            config=dataclasses.replace(config, seed=seed),
            origin=Origin(method="given"),
            population=population(**changed),
        )
        for seed in range(count)
    ]


def run(trial: TrainingTrial, storage: Storage, until: int) -> Evaluation:
    """In a process of its own, as it were: from the folder alone."""
    running = RunningTrial(trial, storage, lambda *_, **__: None)
    report = running.step()
    while report["epoch"] < until:
        report = running.step()
    found = running._running
    assert isinstance(found, Evaluation)
    return found


@pytest.mark.parametrize(
    ("epochs", "compared", "following"),
    [
        ([0, 0, 0], [], 4),
        ([3, 4, 2], [], 4),
        ([4, 4, 4], [], 4),  # they were not compared yet
        ([4, 4, 4], [4], 8),
        ([4, 5, 4], [4], 8),
        ([9, 8, 12], [4, 8], 12),
        ([11, 3, 12], [4, 8, 12], 16),  # one lost its newest checkpoints: it catches up
    ],
)
def test_all_members_meet_at_the_next_comparison(epochs: list[int], compared: list[int], following: int) -> None:
    assert population(interval=4).next_comparison(epochs, compared) == following


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"members": 1}, "population 1: expected a whole number from 2"),
        ({"members": 1001}, "at most 1000 members"),
        ({"interval": 0}, "perturbation_interval 0"),
        ({"interval": 4}, "expected fewer epochs than the 4"),
        ({"varied": {}}, "expected a setting that varies"),
        ({"varied": {"epochs": Range(low=1, high=9)}}, "epochs of a population: it cannot change in the middle"),
        ({"varied": {"channels": Choice((2, 4))}}, "channels of a population: it cannot change in the middle"),
        ({"varied": {"learnin_rate": Range(low=0.1, high=0.2)}}, "did you mean 'learning_rate'"),
        ({"varied": {"auxiliary_weight": Range(low=0.0, high=0.4)}}, "builds no head"),
        ({"varied": {"drop_path": Range(low=0.0, high=1.5)}}, "drop_path 1.5"),
        ({"varied": {"batch_size": Range(low=16, high=64)}}, "batch_size of a population: expected a range of whole"),
    ],
)
def test_what_cannot_be_a_population_is_refused_in_a_line(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as error:
        population(**changed).check(SETTINGS)
    assert "\n" not in str(error.value)


def test_without_ranges_learning_rate_and_weight_decay_vary_around_what_they_are() -> None:
    found = unsaid(SETTINGS)
    assert {name: (one.low, one.high, one.log) for name, one in found.items()} == {
        "learning_rate": (0.005, 0.125, True),
        "weight_decay": (6e-5, 1.5e-3, True),
    }
    with pytest.raises(InvalidInput, match="Give a range"):
        unsaid(dataclasses.replace(SETTINGS, learning_rate=0.0, weight_decay=0.0))


def test_what_tune_multiplies_stays_within_what_it_is_drawn_from() -> None:
    varied = {**VARIED, "batch_size": Range(low=16, high=64, integer=True), "augmentation": Choice(("none", "cutout"))}
    values = {"learning_rate": 0.24, "weight_decay": -1e-9, "batch_size": 76.8, "augmentation": "none"}
    found = population(varied=varied).within(values)
    assert found == {"learning_rate": 0.2, "weight_decay": 0.0, "batch_size": 64, "augmentation": "none"}
    assert json.loads(json.dumps(found)) == found


def test_settings_hold_over_what_the_state_came_to_be_with() -> None:
    """The optimiser's state has the settings of the source in it, and its groups must not depend on the decay."""
    (trial,) = members(1)
    source = Evaluation(with_settings(trial, {"learning_rate": 0.01, "weight_decay": 0.0}).config)
    source.run_epoch()
    clone = Evaluation(
        with_settings(trial, {"learning_rate": 0.2, "weight_decay": 1e-3, "momentum": 0.5, "drop_path": 0.4}).config
    )
    clone.load_state_dict(source.state_dict())
    buffers = [clone.learner._optimizer.state[one]["momentum_buffer"] for one in clone.learner.weights]
    others = [source.learner._optimizer.state[one]["momentum_buffer"] for one in source.learner.weights]
    assert all(torch.equal(one, other) for one, other in zip(buffers, others, strict=True))
    metrics = clone.run_epoch()
    assert metrics["learning_rate"] == pytest.approx(0.1 * (1 + math.cos(math.pi / 4)))  # the second of four epochs
    groups = clone.learner._optimizer.param_groups
    assert [(one["weight_decay"], one["momentum"]) for one in groups] == [(1e-3, 0.5), (0.0, 0.5)]
    assert clone.learner.network.drop_path == pytest.approx(0.4 / 4)


def test_a_clone_goes_on_with_the_others_weights_and_keeps_its_own_rows(tmp_path: Path) -> None:
    storage, (first, second) = open_storage(tmp_path / "run"), members()
    source = run(first, storage, 2)
    run(second, storage, 2)
    settings = {"learning_rate": 0.05, "weight_decay": 1e-4}
    write_clones(storage, 2, {second.name: Clone(source=first.name, settings=settings)})
    run(first, storage, 3)  # it goes on, and keeps for others what it was when they were compared
    run(first, storage, 4)

    alone = Evaluation(with_settings(second, settings).config)
    alone.load_state_dict(source.state_dict())
    expected = [alone.run_epoch()["loss"] for _ in range(2)]
    run(second, storage, 3)
    found = run(second, storage, 4)  # killed between the two
    for name, value in alone.learner.network.state_dict().items():
        assert torch.equal(found.learner.network.state_dict()[name], value), name

    rows = read(storage, EPOCHS)
    assert not rows[["trial_id", "epoch"]].duplicated().any()
    own = rows[rows["trial_id"] == second.name].sort_values("epoch")
    assert own["epoch"].tolist() == [1, 2, 3, 4]
    assert own["loss"].tolist()[2:] == expected
    assert [one if isinstance(one, str) else None for one in own["cloned_from"]] == [None, None, first.name, None]
    begun = {"learning_rate": 0.025, "weight_decay": 3e-4}
    assert [json.loads(one) for one in own["in_force"]] == [begun, begun, settings, settings]
    assert len(read(storage, EVALUATIONS)) == 0  # only the best of all members becomes one


def test_a_source_that_is_damaged_leaves_a_member_its_own_weights(tmp_path: Path) -> None:
    storage, (first, second) = open_storage(tmp_path / "run"), members()
    run(first, storage, 2)
    run(second, storage, 2)
    write_clones(storage, 2, {second.name: Clone(source=first.name, settings={"learning_rate": 0.05})})
    storage.write_bytes(f"trials/{first.name}/000002.state", b"cut")
    run(second, storage, 4)
    rows = read(storage, EPOCHS)
    own = rows[rows["trial_id"] == second.name]
    assert not own["cloned_from"].notna().any()
    assert [json.loads(one)["learning_rate"] for one in own["in_force"]] == [0.025, 0.025, 0.05, 0.05]


def test_settings_in_force_are_those_of_the_newest_clone() -> None:
    clones = {
        4: {"a": Clone(source="b", settings={"learning_rate": 0.1})},
        8: {"b": Clone(source="a", settings={"learning_rate": 0.2})},
        12: {"a": Clone(source="b", settings={"learning_rate": 0.3})},
    }
    assert [in_force(clones, "a", epoch).get("learning_rate") for epoch in (3, 4, 11, 12)] == [None, 0.1, 0.1, 0.3]


def test_clones_are_read_back_and_anything_else_is_refused(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    assert read_clones(storage) == {}
    clone = Clone(source="b", settings={"learning_rate": 0.1})
    write_clones(storage, 4, {"a": clone})
    write_clones(storage, 4, {"a": clone})
    write_clones(storage, 8, {"b": clone})
    assert read_clones(storage) == {4: {"a": clone}, 8: {"b": clone}}
    storage.write_json("population.json", {"4": {"a": {"of": "b"}}})
    with pytest.raises(InvalidInput, match="something else than nasray writes"):
        read_clones(storage)


def test_rows_of_a_population_share_no_front_with_other_trainings(tmp_path: Path) -> None:
    """Rule 5: the best of several trainings, whose settings changed on the way, is no try at any one setting."""
    storage, (member,) = open_storage(tmp_path / "run"), members(1)
    run(member, storage, 4)
    result = read_result(storage, member)
    assert result is not None
    alone = dataclasses.replace(member, population=None)
    run(alone, storage, 4)
    write_row(storage, EVALUATIONS, result)
    rows = read(storage, EVALUATIONS)
    assert sorted(rows["training"]) == ["from scratch", "population"]
    assert len(pareto_front(rows[rows["training"] == "population"])) == 1
    with pytest.raises(InvalidInput, match=r"learning_rate .*population \(3, missing\)"):
        pareto_front(rows)


def test_the_best_member_is_that_of_the_highest_validation_accuracy() -> None:
    rows = {"a": (0.8, 0), "c": (0.9, 2), "b": (0.9, 1)}
    assert best_of((name, {"accuracy": accuracy, "seed": seed}) for name, (accuracy, seed) in rows.items())[0] == "b"


def test_a_member_is_read_back_from_its_values() -> None:
    (member,) = members(1, varied={**VARIED, "augmentation": Choice(("none", "cutout"))})
    again = trial_of(json.loads(json.dumps(member.to_dict())))
    assert (again.name, again.digest) == (member.name, member.digest)
    assert dataclasses.replace(member, population=None).digest != member.digest
