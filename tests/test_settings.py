from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any, Literal, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.methods.darts import DARTS
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.settings import Range, TrainingSettings, changes, knob, setting
from nasray.trials.evaluation import EvaluationSettings

CONFIGS = [TrainingSettings, EvaluationSettings, DARTS.Config, GoldNAS.Config, Random.Config]


@dataclass(frozen=True, kw_only=True)
class Mine(TrainingSettings):
    number: float = setting(0.5, low=0.0, high=1.0)
    size: Optional[int] = setting(None, low=1)  # noqa: UP045 (users write it so)
    kind: Literal["a", "b"] | None = None
    many: bool = False
    word: str = "x"
    strength: float = knob(1.0, 0.1, 10.0, log=True)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("number", 1, 1.0),
        ("number", np.float32(0.5), 0.5),
        ("size", 3.0, 3),
        ("size", np.int64(7), 7),
        ("size", None, None),
        ("kind", "b", "b"),
        ("kind", None, None),
        ("many", True, True),
        ("word", "", ""),
        ("strength", 10, 10.0),
        ("strength", 0.1, 0.1),
        ("epochs", 1e3, 1000),
    ],
)
def test_values_become_those_of_their_field(name: str, given: Any, kept: Any):
    value = getattr(Mine(**{name: given}), name)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("number", 1.01, "0.0 to 1.0"),
        ("number", -1e-9, "0.0 to 1.0"),
        ("number", math.nan, "a number"),
        ("number", math.inf, "a number"),
        ("number", "0.5", "a number"),
        ("number", True, "a number"),
        ("number", None, "a number"),
        ("number", 1j, "a number"),
        ("size", 0, "1 and above"),
        ("size", 2.5, "a whole number or none"),
        ("size", True, "a whole number or none"),
        ("size", 10**400, "a whole number or none"),
        ("kind", "c", "a or b or none"),
        ("kind", [], "a or b or none"),
        ("many", 1, "true or false"),
        ("many", "true", "true or false"),
        ("word", 3, "text"),
        ("word", None, "text"),
        ("strength", 10.1, "0.1 to 10.0"),
        ("epochs", 0, "1 and above"),
        ("schedule", "exponential", "cosine or cosine_restarts or linear or constant"),
        ("drop_path", 1.0, "0.0 to 0.99"),
        ("word", ["x" * 10_000], "text"),
    ],
)
def test_other_values_are_named_with_what_is_expected(name: str, given: Any, expected: str):
    with pytest.raises(InvalidInput) as error:
        Mine(**{name: given})
    message = str(error.value)
    assert message.startswith(f"{name} ")
    assert message.endswith(f": expected {expected}")
    assert "\n" not in message
    assert len(message) < 200


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(InvalidInput, match=r"^unknown setting 'lerning_rate': did you mean 'learning_rate'\?$"):
        Mine.of({"lerning_rate": 1})
    with pytest.raises(InvalidInput, match=r"^unknown setting 'xyz': Mine says which there are$"):
        Mine.of({"xyz": 1})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__qualname__)
def test_every_config_comes_back_from_json(config: type[TrainingSettings]):
    made = config()
    assert config.of(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made
    assert changes(made) == {}
    assert set(made.to_dict()) == {field.name for field in fields(config)}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__qualname__)
def test_knobs_accept_the_whole_of_their_range_and_no_more(config: type[TrainingSettings]):
    for name, swept in config.knobs().items():
        for value in (swept.low, swept.high):
            assert getattr(config.of({name: value}), name) == value
        for value in (swept.low - 1, swept.high + 1):
            with pytest.raises(InvalidInput, match=rf"^{name} "):
                config.of({name: value})


@given(st.floats(0, 1), st.none() | st.integers(1, 10**12), st.booleans(), st.text(), st.floats(0.1, 10))
def test_any_accepted_settings_come_back_from_json(
    number: float, size: int | None, many: bool, word: str, strength: float
):
    made = Mine(number=number, size=size, many=many, word=word, strength=strength)
    assert Mine.of(json.loads(json.dumps(made.to_dict()))) == made
    assert Mine.of(changes(made)) == made


def test_changes_are_what_differs():
    assert changes(Mine(number=0.25, epochs=50, channels=8)) == {"number": 0.25, "channels": 8}


def test_they_cannot_be_changed():
    with pytest.raises(AttributeError):
        Mine().number = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("low", "high", "log", "accepted"),
    [
        (2.0, 1.0, False, "the lower end first"),
        (0.0, 1.0, True, "ends above 0"),
        (math.nan, 1.0, False, "a number"),
    ],
)
def test_ranges_are_not_empty(low: float, high: float, log: bool, accepted: str):
    with pytest.raises(InvalidInput, match=rf"expected {accepted}$"):
        Range(low=low, high=high, log=log)


def test_the_papers_recipes_are_the_defaults():
    # methods.md 0.5, 3.3 and 3.4.
    darts = DARTS.Config()
    assert (darts.epochs, darts.batch_size, darts.learning_rate, darts.learning_rate_min) == (50, 64, 0.025, 0.001)
    assert (darts.momentum, darts.weight_decay, darts.gradient_clip, darts.schedule) == (0.9, 3e-4, 5.0, "cosine")
    assert (darts.architecture_learning_rate, darts.architecture_weight_decay) == (3e-4, 1e-3)
    assert (darts.edges_per_node, DARTS.architecture_fraction, darts.drop_path, darts.auxiliary_weight) == (
        2,
        0.5,
        0,
        0,
    )
    gold = GoldNAS.Config()
    assert (gold.batch_size, gold.learning_rate, gold.schedule, gold.weight_decay) == (96, 0.01, "constant", 3e-4)
    assert (gold.auxiliary_weight, gold.augmentation, gold.drop_path, gold.momentum) == (0.4, "cutout", 0, 0.9)
    assert (gold.lambda0, gold.growth, gold.prune_per_epoch, gold.share_min, gold.share_max) == (1e-5, 2, 4, 0.01, 0.05)
    assert (gold.uniform, gold.mu, gold.stable_epochs, gold.stop_macs) == (1, 0, 3, None)
    assert (gold.architecture_learning_rate, gold.gradient_clip, GoldNAS.architecture_fraction) == (1, 5, 0)
    evaluation = EvaluationSettings()
    assert (evaluation.epochs, evaluation.batch_size, evaluation.learning_rate) == (600, 96, 0.025)
    assert (evaluation.learning_rate_min, evaluation.schedule, evaluation.weight_decay) == (0, "cosine", 3e-4)
    assert (evaluation.drop_path, evaluation.auxiliary_weight, evaluation.augmentation) == (0.2, 0.4, "cutout")
    assert (evaluation.momentum, evaluation.gradient_clip, evaluation.label_smoothing) == (0.9, 5, 0)
