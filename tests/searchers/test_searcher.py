"""What a searcher is told of trials that ended in every way, and that asked and told again it proposes the same."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.searchers import (
    Feedback,
    Proposal,
    Searcher,
    SearchProblem,
    feedback_of,
    find_searcher,
    is_searcher,
    rebuilt,
)
from nasray.searchers.evolution import Evolution
from nasray.searchers.optuna import TPE, OptunaSearcher
from nasray.spaces import Architecture
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

ALL = [
    pytest.param(name, marks=pytest.mark.slow if name == "gp" else ()) for name in registry.names("searcher")
]  # GP takes seconds


def looked_up(architecture: Architecture) -> Feedback:
    """As from a table: some trials are stopped early, some fail."""
    digest = hashlib.sha256(architecture.to_json().encode()).digest()
    text = architecture.to_json()
    constraints = {"macs": text.count("3x3") - 2.0}
    if digest[0] < 30:
        return Feedback(state="failed")
    if digest[0] < 90:
        return Feedback(state="pruned", constraints=constraints)
    return Feedback(
        state="complete", values=(text.count("conv") + digest[1] / 256, text.count("3x3")), constraints=constraints
    )


def problem(**changes: Any) -> SearchProblem:
    fields: dict[str, Any] = dict(
        space=NAS_BENCH_201,
        cells=15,
        objectives={"accuracy": "max", "macs": "min"},
        epochs=200,
        budget=2.0,
        macs=lambda architecture: float(architecture.to_json().count("3x3")),
        seed=4,
    )
    return SearchProblem(**{**fields, **changes})


def made(name: str) -> Searcher:
    kind = find_searcher(name)
    config = Evolution.Config(initial=10, population=12) if kind is Evolution else kind.Config()
    return kind(config, problem())


def go_on(one: Searcher, evaluations: int) -> list[Architecture]:
    proposed = []
    for _ in range(evaluations):
        proposal = one.ask()
        assert proposal is not None
        proposed.append(proposal.architecture)
        one.tell(proposal, looked_up(proposal.architecture))
    return proposed


@pytest.mark.parametrize("name", ALL)
def test_asked_and_told_again_it_proposes_the_same(name: str) -> None:
    evaluations = 25 if name == "gp" else 75  # NSGA-II's second generation begins past its first 50
    assert go_on(made(name), evaluations) == go_on(made(name), evaluations)


@pytest.mark.parametrize("name", ALL)
def test_one_that_is_rebuilt_by_telling_depends_on_nothing_else(name: str) -> None:
    first = made(name)
    told = [(Proposal(one), looked_up(one)) for one in go_on(first, 15 if name == "gp" else 60)]
    again = [rebuilt(type(first), first.config, first.problem, told) for _ in range(2)]
    proposed = [go_on(one, 10) for one in again]
    assert proposed[0] == proposed[1]
    # Its random numbers are none that the first has drawn.
    assert proposed[0] != go_on(made(name), 10)
    if name in ("evolution", "random_search"):
        assert not {one.id for one in proposed[0]} & {one.architecture.id for one, _ in told if one.architecture}
    assert known_by(rebuilt(type(first), first.config, first.problem, told)) == known_by(first)


def known_by(one: Searcher) -> list[Any]:
    if isinstance(one, OptunaSearcher):
        return [(trial.state, trial.values, trial.params, trial.constraints) for trial in one.study.trials]
    return [alive.key for alive in one.population] if isinstance(one, Evolution) else []


def test_a_search_that_was_told_nothing_begins_with_its_own_seed() -> None:
    assert go_on(rebuilt(TPE, TPE.Config(), problem(), []), 5) == go_on(TPE(TPE.Config(), problem()), 5)


@pytest.mark.parametrize(
    ("result", "error", "expected"),
    [
        ({"epoch": 8, "accuracy": 0.5, "macs": 100.0}, False, ("complete", (0.5, 100.0), {"macs": -50.0})),
        ({"epoch": 9, "accuracy": 0.5, "macs": 170.0}, False, ("complete", (0.5, 170.0), {"macs": 20.0})),
        ({"epoch": 2, "accuracy": 0.5, "macs": 100.0}, False, ("pruned", (), {"macs": -50.0})),
        ({"epoch": 2, "accuracy": math.nan, "macs": 100.0}, False, ("pruned", (), {"macs": -50.0})),
        ({"epoch": 8, "accuracy": math.nan, "macs": 100.0}, False, ("failed", (), {})),
        ({"epoch": 8, "accuracy": None, "macs": 100.0}, False, ("failed", (), {})),
        ({"epoch": 8, "macs": 1.0}, False, ("failed", (), {})),
        ({"epoch": 8, "accuracy": 1.0}, False, ("failed", (), {})),
        ({"done": True}, False, ("failed", (), {})),
        (None, True, ("failed", (), {})),
        ({"epoch": 8, "accuracy": 0.5, "macs": 100.0}, True, ("failed", (), {})),
        (None, False, ("pruned", (), {})),
        ({"epoch": 0, "macs": 170.0, "done": True}, False, ("pruned", (), {"macs": 20.0})),  # above the budget
        ({"epoch": 0, "macs": 100.0, "failed": "no data"}, False, ("failed", (), {})),  # refused
    ],
)
def test_every_way_to_end_has_its_state(
    result: dict[str, Any] | None, error: bool, expected: tuple[str, tuple[float, ...], dict[str, float]]
) -> None:
    feedback = feedback_of(result, objectives=("accuracy", "macs"), epochs=8, budget=150.0, error=error)
    assert (feedback.state, feedback.values, feedback.constraints) == expected


def test_without_a_budget_there_are_no_constraints() -> None:
    whole, part = ({"epoch": epoch, "accuracy": 0.5} for epoch in (8, 3))
    assert feedback_of(whole, objectives=["accuracy"], epochs=8, budget=None) == Feedback(
        state="complete", values=(0.5,)
    )
    assert feedback_of(part, objectives=["accuracy"], epochs=8, budget=None) == Feedback(state="pruned")


OWN = """
from nasray.searchers import Searcher

class Alternating(Searcher):
    def __init__(self, config, problem):
        super().__init__(config, problem)
        self.asked = 0

    def ask(self):
        self.asked += 1
        known = self.problem.architecture_parameters
        values = {name: accepted[self.asked % len(accepted)] for name, accepted in known.items()}
        return self.problem.proposal(values, self.asked)

    def tell(self, proposal, feedback):
        pass

class Nothing:
    pass
"""


def test_a_user_s_own_searcher_comes_through_the_same_door(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    assert is_searcher(f"{file}:Alternating")
    kind = find_searcher(f"{file}:Alternating")
    one = kind(kind.Config(), problem())
    assert len(set(go_on(one, 5))) == 5
    one.tell(Proposal(go_on(made("evolution"), 1)[0]), Feedback(state="failed"))
    assert not is_searcher(f"{file}:Nothing")
    with pytest.raises(InvalidInput, match=r"^'.*mine\.py:Nothing' is not a searcher: make it a subclass of "):
        find_searcher(f"{file}:Nothing")
