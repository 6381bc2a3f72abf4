"""What Tune decides of a population, as it is written down; and when a pass of it ends."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import FIFOScheduler, PopulationBasedTraining

from nasray.runs import open_storage
from nasray.settings import Choice, Range
from nasray.trials.population import Clone, read_clones, write_clones
from nasray.trials.running import EPOCH
from nasray.tune.phase import CLONED, SETTINGS, TRIAL
from nasray.tune.population import Comparisons, explored, own_draws
from tests.trials.test_population import members, population


class Theirs:
    """As much of a Tune trial as is looked at."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        self.name = name
        self.config = {TRIAL: name, SETTINGS: settings, CLONED: ""}
        self.last_result: dict[str, Any] = {}

    def __str__(self) -> str:
        return self.name


def test_what_tune_clones_is_written_down_before_a_member_goes_on(tmp_path: Path) -> None:
    storage, trials = open_storage(tmp_path), members(3)
    comparisons = Comparisons(trials[0].population, storage, trials, trials)
    theirs: list[Any] = [Theirs(trial.name, {"learning_rate": 0.1, "weight_decay": 0.0}) for trial in trials]
    comparisons.on_trial_result(1, theirs, theirs[0], {})
    assert read_clones(storage) == {}

    # Tune copies the whole config of the one that is cloned, changed by what our function makes of it.
    theirs[2].config = explored(
        population(), {**theirs[0].config, SETTINGS: {"learning_rate": 0.24, "weight_decay": 0}}
    )
    comparisons.on_trial_result(2, theirs, theirs[2], {})
    clone = Clone(source=trials[0].name, settings={"learning_rate": 0.2, "weight_decay": 0.0})
    assert read_clones(storage) == {2: {trials[2].name: clone}}
    assert [one.config[TRIAL] for one in theirs] == [trial.name for trial in trials]
    assert comparisons.next == 4
    comparisons.on_trial_result(3, theirs, theirs[1], {})
    assert list(read_clones(storage)) == [2]

    # The same member once more, with the same settings.
    theirs[2].config = explored(population(), {**theirs[0].config, SETTINGS: {"learning_rate": 0.2, "weight_decay": 0}})
    comparisons.on_trial_result(4, theirs, theirs[1], {})
    assert read_clones(storage)[4] == {trials[2].name: clone}


def test_a_comparison_after_which_nobody_is_cloned_is_one_all_the_same(tmp_path: Path) -> None:
    storage, trials = open_storage(tmp_path), members(2)
    comparisons = Comparisons(population(), storage, trials, trials)
    theirs: list[Any] = [Theirs(trial.name, {"learning_rate": 0.1, "weight_decay": 0.0}) for trial in trials]
    for epoch, following in ((1, 2), (2, 2), (3, 4)):
        comparisons.on_trial_result(epoch, theirs, theirs[0], {EPOCH: epoch})
        assert comparisons.next == following
    theirs[1].config = explored(population(), {**theirs[0].config, SETTINGS: {"learning_rate": 0.1, "weight_decay": 0}})
    comparisons.on_trial_result(4, theirs, theirs[1], {EPOCH: 4})
    assert list(read_clones(storage)) == [4]


def test_a_resumed_pass_begins_with_the_settings_in_force_and_a_new_clock(tmp_path: Path) -> None:
    storage, trials = open_storage(tmp_path), members(3)
    assert not Comparisons(population(), storage, trials, trials).resumes
    for trial, epochs in zip(trials, (3, 2, 2), strict=True):
        storage.write_bytes(f"trials/{trial.name}/{epochs:06d}.state", b"")
    settings = {"learning_rate": 0.07, "weight_decay": 1e-4}
    write_clones(storage, 2, {trials[1].name: Clone(source=trials[0].name, settings=settings)})
    comparisons = Comparisons(population(), storage, trials, trials)
    assert comparisons.resumes
    assert comparisons.next == 4
    space, begun = comparisons.param_space, {"learning_rate": 0.025, "weight_decay": 3e-4}
    found = [space[SETTINGS].func(type("Spec", (), {"config": {TRIAL: trial.name}})) for trial in trials]
    assert found == [begun, settings, begun]
    assert isinstance(comparisons.scheduler(), PopulationBasedTraining)
    assert isinstance(Comparisons(population(), storage, trials[:1], trials).scheduler(), FIFOScheduler)


@pytest.mark.parametrize(
    ("ends", "over"),
    [({"done": True, "ended": True}, False), ({"given_up": "diverged"}, True), ({"waits": True}, True)],
)
def test_a_pass_ends_with_a_member_for_which_the_others_would_wait(
    tmp_path: Path, ends: dict[str, Any], over: bool
) -> None:
    comparisons = Comparisons(population(), open_storage(tmp_path), members(2), members(2))
    trial: Any = Theirs("one", {})
    trial.last_result = ends
    comparisons.on_trial_complete(1, [trial], trial)
    assert comparisons.stop_all() is over
    comparisons.on_trial_recover(2, [trial], trial)
    assert comparisons.stop_all()


def test_draws_are_the_same_for_a_comparison_and_leave_the_callers_alone(tmp_path: Path) -> None:
    varied = {"learning_rate": Range(low=0.01, high=0.2, log=True), "augmentation": Choice(("none", "cutout"))}
    comparisons = Comparisons(population(varied=varied), open_storage(tmp_path), members(2), members(2))
    random.seed(5)
    expected = random.random()
    random.seed(5)
    with own_draws():
        found = []
        for step in range(2):
            comparisons.on_step_begin(step, [])
            found.append(random.random())
        comparisons.next = 4
        comparisons.on_step_begin(2, [])
        found.append(random.random())
    assert found[0] == found[1] != found[2]
    assert random.random() == expected
