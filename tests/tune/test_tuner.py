"""What Tune is given for a pass."""

from __future__ import annotations

from ray import cloudpickle

from nasray.runs.outcomes import Outcome
from nasray.tune.phase import TRIAL
from nasray.tune.tuner import reserving


def test_what_tune_unpickles_for_every_trial_does_not_grow_with_the_trials_that_ended() -> None:
    ended = {f"t{number}": Outcome(state="done", digest="d" * 64, points=((1.0, 0.5),)) for number in range(1000)}
    short = {
        "a": Outcome(state="retrying", digest="d", gpus=0.5),
        "b": Outcome(state="retrying", digest="d", idle_cpus=2),
    }
    sizes = [len(cloudpickle.dumps(reserving(one, 1.0, 0.25, in_group=False))) for one in (short, {**short, **ended})]
    assert sizes[0] == sizes[1]
    reserved = cloudpickle.loads(cloudpickle.dumps(reserving({**short, **ended}, 1.0, 0.25, in_group=False)))
    asked = {name: reserved({TRIAL: name}).bundles for name in ("a", "b", "t1", "new")}
    assert asked["a"] == [{"CPU": 1.0, "GPU": 0.5}]
    assert asked["b"] == [{"CPU": 1.0, "GPU": 0.25}, {"CPU": 2.0}]
    assert asked["t1"] == asked["new"] == [{"CPU": 1.0, "GPU": 0.25}]
