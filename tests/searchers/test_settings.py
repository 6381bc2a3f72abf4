"""Searchers that choose settings, alone or beside an architecture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.searchers import Feedback, Proposal, Searcher, SearchProblem, find_searcher, rebuilt
from nasray.settings import Choice, Range
from nasray.spaces import CellSpace

SPACE: CellSpace = registry.find("space", "nas_bench_201", CellSpace)
SETTINGS = {
    "lambda0": Range(low=1e-4, high=1.0, log=True),
    "sparsity": Range(low=1, high=5, integer=True),
    "schedule": Choice(("cosine", "restarts")),
    "restart_epochs": Range(low=2, high=9, integer=True, when=("schedule", "restarts")),
}
SEARCHERS = ("random_search", "evolution", "tpe", "nsga2", "nsga3", pytest.param("gp", marks=pytest.mark.slow))


def problem(**changes: Any) -> SearchProblem:
    given: dict[str, Any] = {
        **{"space": None, "settings": SETTINGS, "objectives": {"hypervolume": "max"}, "epochs": None},
        **{"budget": None, "macs": lambda architecture: 1.0, "seed": 3},
    }
    return SearchProblem(**{**given, **changes})


def made(name: str, evaluations: int = 24, **changes: Any) -> Searcher:
    kind = find_searcher(name)
    return kind(kind.Config(evaluations=evaluations), problem(**changes))


def worth(settings: dict[str, Any]) -> float:
    """Best at a lambda0 of 0.01 and a sparsity of 2."""
    return float(-abs(np.log10(settings["lambda0"]) + 2) - abs(settings["sparsity"] - 2))


@pytest.mark.parametrize("name", SEARCHERS)
def test_values_lie_in_their_ranges_and_depend_on_their_conditions(name: str) -> None:
    one = made(name)
    drawn: list[dict[str, Any]] = []
    for _ in range(24):
        proposal = one.ask()
        assert proposal is not None
        assert proposal.architecture is None
        drawn.append(dict(proposal.settings))
        one.tell(proposal, Feedback(state="complete", values=(worth(drawn[-1]),)))
        assert Proposal.of(proposal.key, None).key == proposal.key
    for settings in drawn:
        assert 1e-4 <= settings["lambda0"] <= 1.0
        assert settings["sparsity"] in range(1, 6)
        assert ("restart_epochs" in settings) == (settings["schedule"] == "restarts")
        assert settings.get("restart_epochs", 2) in range(2, 10)
    assert len({settings["lambda0"] for settings in drawn}) > 10
    assert {settings["schedule"] for settings in drawn} == {"cosine", "restarts"}
    assert any(settings["lambda0"] < 0.01 for settings in drawn[:12])  # even on the logarithmic scale
    assert any(settings["lambda0"] > 0.01 for settings in drawn[:12])


@pytest.mark.parametrize("name", ["tpe", "evolution", pytest.param("gp", marks=pytest.mark.slow)])
def test_what_is_learnt_is_better_than_what_was_drawn(name: str) -> None:
    one = made(name, 40)
    found = []
    for _ in range(40):
        proposal = one.ask()
        assert proposal is not None
        found.append(worth(dict(proposal.settings)))
        one.tell(proposal, Feedback(state="complete", values=(found[-1],)))
    assert np.mean(found[-10:]) > np.mean(found[:10]) + 0.5


@pytest.mark.parametrize("name", SEARCHERS)
def test_told_the_same_it_proposes_the_same(name: str) -> None:
    told = []
    one = made(name)
    for _ in range(8):
        proposal = one.ask()
        assert proposal is not None
        told.append((proposal, Feedback(state="complete", values=(worth(dict(proposal.settings)),))))
        one.tell(*told[-1])
    kind = find_searcher(name)
    again = [rebuilt(kind, kind.Config(evaluations=24), problem(), told).ask() for _ in range(2)]
    assert again[0] is not None
    assert again[1] is not None
    assert again[0].key == again[1].key


@pytest.mark.parametrize("name", SEARCHERS)
def test_settings_beside_an_architecture_within_a_budget(name: str) -> None:
    def macs(architecture: Any) -> float:
        return float(sum(operation == "nor_conv_3x3" for *_, operation in architecture.cells["normal"]))

    rate = {"training.learning_rate": Range(low=0.01, high=0.2, log=True)}
    one = made(name, space=SPACE, cells=15, settings=rate, objectives={"accuracy": "max"}, budget=2.0, macs=macs)
    for _ in range(12):
        proposal = one.ask()
        assert proposal is not None
        assert proposal.architecture is not None
        assert 0.01 <= proposal.settings["training.learning_rate"] <= 0.2
        if name in ("random_search", "evolution"):
            assert macs(proposal.architecture) <= 2
        assert Proposal.of(proposal.key, SPACE) == Proposal(proposal.architecture, proposal.settings)
        constraints = {"macs": macs(proposal.architecture) - 2.0}
        one.tell(proposal, Feedback(state="complete", values=(macs(proposal.architecture),), constraints=constraints))


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2"])
def test_what_is_under_way_is_neither_proposed_again_nor_counted_twice(name: str) -> None:
    before = made(name)
    under_way = [before.ask(), before.ask()]
    again: Any = rebuilt(find_searcher(name), before.config, problem(), [], under_way)
    further = again.ask()
    assert further.key not in {one.key for one in under_way}
    again.tell(Proposal(None, under_way[0].settings), Feedback(state="complete", values=(1.0,)))
    assert [(one.state.name, one.params) for one in again.study.trials] == [
        ("COMPLETE", under_way[0].settings),
        ("RUNNING", under_way[1].settings),
        ("RUNNING", further.settings),
    ]


@pytest.mark.parametrize("name", ["random_search", "evolution"])
def test_what_is_under_way_is_not_proposed_again(name: str) -> None:
    few = {"rate": Choice((0.1, 0.2, 0.3, 0.4))}
    under_way = [Proposal(None, {"rate": 0.1}), Proposal(None, {"rate": 0.3})]
    kind = find_searcher(name)
    for seed in range(10):
        one = rebuilt(kind, kind.Config(evaluations=4), problem(settings=few, seed=seed), [], under_way)
        found = [one.ask(), one.ask()]
        assert {asked.settings["rate"] for asked in found if asked} == {0.2, 0.4}
        assert one.ask() is None


def test_a_condition_is_a_name_and_a_value() -> None:
    with pytest.raises(InvalidInput, match=r"^when 'schedule': expected the name of a setting and a value of it"):
        Range(low=1, high=2, when="schedule")  # type: ignore[arg-type]
