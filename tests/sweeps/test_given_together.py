"""Options that are accepted only beside others, or not beside them, in whatever order they are given."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nasray import registry
from nasray.cli.all_verbs import VERBS
from nasray.errors import InvalidInput
from nasray.methods import CostKnob
from nasray.methods.gold_nas import GoldNAS
from nasray.runs import open_storage
from nasray.searchers.evolution import Evolution
from nasray.settings import Choice, Range
from nasray.sweeps import Arm, Sweep
from nasray.sweeps.check import check
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.fitting import find_sweep
from nasray.sweeps.forecast import forecast, lines
from nasray.sweeps.learning import learners
from nasray.sweeps.made import sweep_of
from nasray.sweeps.options import with_options
from nasray.trials.differing import differing_in

LAMBDA = Range(low=1e-3, high=1e-1, log=True)
RATE = Range(low=0.01, high=0.2, log=True)
DIGITS: Sweep = registry.find("sweep", "digits", Sweep)
RETRAINED = {"lambda0": LAMBDA, "training.learning_rate": RATE, "draws": 8, "searcher": "tpe", "worth_by": "retrained"}


def typed(command: str, name: str = "digits") -> Sweep:
    values = VERBS["sweep"].taken([name, *command.split()])
    return sweep_of(find_sweep(values.pop("sweep")), values)


def test_settings_of_the_training_are_learnt_where_searches_are_retrained_however_that_is_typed() -> None:
    words = (
        "--lambda0 1e-3:1e-1:log --training.learning-rate 0.01:0.2:log --draws 8 --searcher tpe --worth-by retrained"
    )
    sweep = typed(words)
    assert sweep.worth_by == "retrained"
    assert list(learners(sweep)[0].chosen) == ["lambda0", "training.learning_rate"]
    assert with_options(DIGITS, RETRAINED) == sweep
    assert with_options(DIGITS, dict(reversed(RETRAINED.items()))) == sweep
    command = command_of(sweep, Source(name="digits", options=RETRAINED))["command"]
    assert typed(" ".join(command[3:])).identity() == sweep.identity()


@pytest.mark.parametrize(
    "changes",
    [
        {"searcher": "latin", "worth_by": "inherited"},
        {"lambda0": 0.05, "training.learning_rate": 0.1, "worth_by": "inherited"},
        {"method": "random", "draws": 1, "searcher": "latin", "training.learning_rate": 0.1, "worth_by": "inherited"},
    ],
)
def test_what_holds_only_beside_a_searcher_goes_with_it(changes: dict[str, Any]) -> None:
    found = with_options(with_options(DIGITS, RETRAINED), changes)
    assert not any(arm.learns for arm in found.arms)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--fill 8 --lambda0 0.05", "lambda0 with fill, which chooses it"),
        ("--fill 8 --lambda0 1e-3:1e-1:log", "lambda0 with fill"),
        ("--fill 8 --mu 1:10", "mu over a range, with fill"),
        ("--fill 8 --draws 3", "draws with fill"),
        ("--fill 8 --searcher tpe", "searcher with fill"),
        ("--fill 8 --worth gain", "no searcher learns here"),
        ("--fill 8 --fill-searches 1", "expected one at each end of the knob's range"),
        ("--fill-at", "--fill-at: expected numbers"),
        ("--worth final", "worth final: no searcher learns here"),
        ("--learn-from", "--learn-from: expected"),
        ("--search-reduction-factor 2", "search_reduction_factor 2 without rungs"),
        ("--training.reduction-factor 2", "training.reduction_factor 2 without rungs"),
        (
            "--training.weight-decay 0:0.1:log",
            "--training.weight-decay 0:0.1:log: range 0 to 0.1 on a logarithmic scale: expected ends above 0",
        ),
        ("--lambda0 0.1:0.01", "--lambda0 0.1:0.01: range 0.1 to 0.01: expected the lower end first"),
        ("--lambda0 0.05,0.05", "expected two values or more, none twice"),
        ("--draws 0", "draws 0: expected a whole number from 1"),
        ("--lambda0 1e-3:1e-1:log --searcher tpe", "searcher tpe with one search: give more, as in --draws 16"),
        ("--lambda0 1e-3:1e-1:log --draws 3 --searcher tp", "expected one of latin, "),
        (
            "--lambda0 1e-3:1e-1:log --draws 4 --searcher random_search --worth-by retrained",
            "worth_by retrained: no searcher learns here",
        ),
        (
            "--training.learning-rate 0.01:0.2:log --draws 4 --searcher random_search",
            "in which it changes nothing. Leave the searcher out",
        ),
        (
            "--lambda0 1e-3:1e-1:log --draws 4 --searcher tpe --worth-by retrained --training.rungs 3",
            "what is told are whole trainings",
        ),
    ],
)
def test_what_would_do_nothing_or_be_done_twice_is_refused(command: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        typed(command)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_front_that_no_method_could_fill_is_refused() -> None:
    with pytest.raises(InvalidInput, match="fill: no arm is of a differentiable method"):
        typed("--fill 8", "nas_bench_201")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--fill-at 1e9", "fill_at 1e+09: networks of gold with 4 channels and 3 cells have 0.0423"),
        ("--fill-at 0.1 0.0001", "fill_at 0.0001: networks of gold"),
        ("--fill-at 0.1 0.2 --budget 0.15", "fill_at 0.2: above the budget of 0.15 M"),
    ],
)
def test_targets_that_no_network_meets_are_refused_before_anything_runs(command: str, said: str, tmp_path: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(typed(command), open_storage(tmp_path))
    assert str(caught.value).startswith(said)
    check(typed("--fill-at 0.05 0.2555"), open_storage(tmp_path))


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        (CostKnob("lambda1", Range(low=0.1, high=1.0), falls=True), "lambda1"),
        (CostKnob("lambda0", Range(low=0.0, high=1.0), falls=True), "lambda0 0.0"),
    ],
)
def test_a_cost_knob_that_the_method_does_not_accept_is_refused(
    knob: CostKnob, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GoldNAS, "cost_knob", knob)
    with pytest.raises(InvalidInput, match=r"^fill: the cost knob of gold_nas is none of its settings") as caught:
        with_options(DIGITS, {"fill": 4, "lambda0": 0.1} if knob.name != "lambda0" else {"fill": 4})
    assert said in str(caught.value)


def test_draws_are_those_of_methods_beside_a_black_box_search() -> None:
    own = Arm(method="evolution", space="gold", settings=Evolution.Config(evaluations=4))
    both = dataclasses.replace(DIGITS, arms=(*DIGITS.arms, own))
    found = with_options(both, {"training.learning_rate": RATE, "draws": 4})
    assert [(arm.method, arm.samples) for arm in found.arms] == [("gold_nas", 4), ("evolution", 1)]


def test_a_range_of_a_whole_setting_is_of_whole_numbers() -> None:
    gold = DIGITS.arms[0]
    with pytest.raises(InvalidInput, match=r"epochs .*expected a whole number"):
        dataclasses.replace(gold, param_space={"epochs": Range(low=1, high=5)}, samples=4, searcher="tpe")
    with pytest.raises(InvalidInput, match=r"batch_size .*expected a whole number"):
        dataclasses.replace(gold, param_space={"training.batch_size": Range(low=16, high=64)}, samples=4)
    for one in (Range(low=1, high=5, integer=True), Range(low=5, high=5)):
        dataclasses.replace(gold, param_space={"epochs": one}, samples=2, searcher="tpe")
    with pytest.raises(InvalidInput, match=r"low of a range: 1\.2: expected a whole number"):
        Range(low=1.2, high=1.8, integer=True)
    with pytest.raises(
        InvalidInput, match=r"^mu \(30\.0, 30\.0\) in a param space: expected one value or more, none twice"
    ):
        dataclasses.replace(gold, param_space={"mu": (30.0, 30.0)})


def test_what_depends_on_a_choice_is_judged_where_it_has_a_value() -> None:
    gold = DIGITS.arms[0]
    # Nesterov's momentum must not be 0, which it never is here.
    space = {"nesterov": Choice((True, False)), "momentum": Range(low=0.0, high=0.9, when=("nesterov", False))}
    arm = dataclasses.replace(gold, settings=dataclasses.replace(gold.settings, momentum=0.9), param_space=space)
    found = {(point.settings.nesterov, point.settings.momentum) for point in arm.extremes()}  # type: ignore[attr-defined]
    assert found == {(True, 0.9), (False, 0.0), (False, 0.9)}


def test_a_run_is_of_another_sweep_where_another_searcher_chooses_or_under_another_condition() -> None:
    sweep = with_options(DIGITS, {"lambda0": LAMBDA, "draws": 8, "searcher": "tpe"})
    other = with_options(DIGITS, {"lambda0": LAMBDA, "draws": 8, "searcher": "nsga2"})
    assert differing_in(sweep.identity(), other.identity()) == ["searcher (the run has nsga2, this command tpe)"]
    assert differing_in(sweep.identity(), sweep.identity()) == []
    conditional = {
        "schedule": Choice(("cosine", "linear")),
        "lambda0": dataclasses.replace(LAMBDA, when=("schedule", "linear")),
    }
    one = with_options(DIGITS, {**conditional, "draws": 8})
    plain = with_options(DIGITS, {**conditional, "lambda0": LAMBDA, "draws": 8})
    (said,) = differing_in(one.identity(), plain.identity())
    assert said.startswith(
        "lambda0 (the run has 0.001 to 0.1, logarithmic, this command 0.001 to 0.1, logarithmic when"
    )


def test_a_forecast_counts_what_learns() -> None:
    filled = with_options(DIGITS, {"fill_at": (0.05, 0.1), "seeds": (0, 1)})
    said = list(lines(filled, forecast(filled, measured=False)))
    assert said[0].startswith("at most 80 searches, 1280 epochs")  # 20, two values of mu, two seeds
    assert (
        said[1]
        == "filling for gold_nas on gold chooses lambda0, at most 20 times for each seed and mu: near 0.05 M, 0.1 M"
    )
    longer = with_options(
        DIGITS,
        {"epochs": Range(low=2, high=40, integer=True), "lambda0": 0.05, "mu": 30.0, "draws": 8, "searcher": "tpe"},
    )
    found = forecast(longer, measured=False)
    assert (found.searches, found.search_epochs) == (8, 320)
    assert "at most 320 epochs" in next(iter(lines(longer, found)))
    inherited = with_options(
        DIGITS, {"lambda0": LAMBDA, "draws": 8, "searcher": "tpe", "training": {"select": "final"}}
    )
    retrained = with_options(inherited, {"worth_by": "retrained"})
    counts = [forecast(one, measured=False).trainings for one in (inherited, retrained)]
    assert counts[1] - counts[0] == 16  # a final architecture of each of 8 searches at 2 values of mu
