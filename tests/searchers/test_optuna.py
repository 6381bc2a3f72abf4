"""What Optuna's study says of proposals that ended in every way, and what its samplers learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nasray.errors import InvalidInput
from nasray.searchers import Feedback, Proposal, SearchProblem, find_searcher, rebuilt
from nasray.searchers.optuna import NSGA2, TPE, OptunaSearcher
from nasray.spaces import Architecture
from nasray.spaces.encoding import decode, encode, sample
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201


def threes(architecture: Architecture) -> int:
    """How many of the six edges have the dearest operation: 1.2 of random ones."""
    return sum(operation == "nor_conv_3x3" for _, _, operation in architecture.cells["normal"])


def problem(**changes: Any) -> SearchProblem:
    fields: dict[str, Any] = dict(
        space=NAS_BENCH_201, cells=15, objectives={"accuracy": "max"}, epochs=200, budget=None, macs=threes, seed=1
    )
    return SearchProblem(**{**fields, **changes})


def searcher(name: str, **changes: Any) -> OptunaSearcher:
    kind = find_searcher(name)
    assert issubclass(kind, OptunaSearcher)
    return kind(kind.Config(), problem(**changes))


def test_every_way_to_end_has_its_state_whoever_proposed() -> None:
    ends = [
        Feedback(state="complete", values=(0.5, 100.0), constraints={"macs": -50.0}),
        Feedback(state="complete", values=(0.6, 170.0), constraints={"macs": 20.0}),
        Feedback(state="pruned", constraints={"macs": -50.0}),
        Feedback(state="failed"),
    ]
    objectives = {"accuracy": "max", "macs": "min"}
    for name in ("tpe", "nsga2"):  # the two ways in which another's results reach a study
        asked = searcher(name, objectives=objectives)
        proposals = [asked.ask() for _ in ends]
        for proposal, feedback in reversed(list(zip(proposals, ends, strict=True))):
            asked.tell(proposal, feedback)
        told = searcher(name, objectives=objectives)
        for proposal, feedback in zip(proposals, ends, strict=True):
            told.tell(Proposal(proposal.architecture), feedback)
        for study in (asked.study, told.study):
            assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE"]
            assert [(t.state, tuple(t.values or ()), t.constraints) for t in study.trials] == [
                (TrialState.COMPLETE, (0.5, 100.0), {"macs": -50.0}),
                (TrialState.COMPLETE, (0.6, 170.0), {"macs": 20.0}),
                (TrialState.PRUNED, (), {"macs": -50.0}),
                (TrialState.FAIL, (), {}),
            ]
            assert [t.params for t in study.trials] == [encode(NAS_BENCH_201, p.architecture) for p in proposals]
            assert [t.number for t in study.best_trials] == [0]


def test_a_proposal_is_told_once() -> None:
    one = searcher("tpe")
    proposal = one.ask()
    one.tell(proposal, Feedback(state="failed"))
    with pytest.raises(InvalidInput, match=r"^Proposal 0 is not open"):
        one.tell(proposal, Feedback(state="failed"))


def evaluate(one: OptunaSearcher, trials: int) -> list[int]:
    """How many dear operations each proposal has, of which more are better."""
    found = []
    for _ in range(trials):
        proposal = one.ask()
        found.append(threes(proposal.architecture))
        constraints = {} if one.problem.budget is None else {"macs": found[-1] - one.problem.budget}
        one.tell(proposal, Feedback(state="complete", values=(float(found[-1]),), constraints=constraints))
    return found


@pytest.mark.parametrize(
    ("name", "trials"), [("tpe", 150), ("nsga2", 300), ("nsga3", 300), pytest.param("gp", 30, marks=pytest.mark.slow)]
)
def test_samplers_learn_of_the_budget(name: str, trials: int) -> None:
    # The objective grows with what the budget limits: without it, what it leads to violates it.
    late = {budget: evaluate(searcher(name, budget=budget), trials)[-trials // 4 :] for budget in (None, 2.0)}
    over = {budget: sum(dear > 2 for dear in found) for budget, found in late.items()}
    assert over[2.0] < 0.7 * over[None]


@pytest.mark.parametrize("kind", [TPE, NSGA2])
def test_a_rebuilt_searcher_has_learnt_from_what_others_proposed(kind: type[OptunaSearcher]) -> None:
    generator = np.random.default_rng(0)
    drawn = [decode(NAS_BENCH_201, sample(problem().architecture_parameters, generator), 15) for _ in range(120)]
    told = [(Proposal(one), Feedback(state="complete", values=(float(threes(one)),))) for one in drawn]
    one = rebuilt(kind, kind.Config(), problem(), told)
    assert isinstance(one, OptunaSearcher)
    assert np.mean(evaluate(one, 40)) > 2.0
    assert len(one.study.trials) == 160


def test_optuna_is_quiet() -> None:
    searcher("tpe")
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
