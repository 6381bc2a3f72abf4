"""Searchers take the direction of their objectives from the task's metric."""

from __future__ import annotations

from nasray.searchers import OBJECTIVES, Feedback, SearchProblem
from nasray.searchers.evolution import Evolution
from nasray.searchers.searcher import objectives_of
from nasray.spaces.metric import MEAN_IOU, PERPLEXITY
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201


def test_directions_are_the_metrics_own() -> None:
    assert OBJECTIVES == {"accuracy": "max", "macs": "min", "params": "min", "latency_ms": "min"}
    assert objectives_of(PERPLEXITY) == {"perplexity": "min", "macs": "min", "params": "min", "latency_ms": "min"}
    assert objectives_of(MEAN_IOU)["mean_iou"] == "max"


def test_evolution_by_perplexity_goes_as_by_its_negative() -> None:
    found = []
    for mode, sign in ((objectives_of(PERPLEXITY)["perplexity"], 1.0), ("max", -1.0)):
        problem = SearchProblem(
            space=NAS_BENCH_201, cells=15, objectives={"it": mode}, epochs=1, budget=None, macs=lambda _: 1.0, seed=0
        )
        evolution = Evolution(Evolution.Config(initial=5, sample=5, population=10), problem)
        ids = []
        for _ in range(30):
            proposal = evolution.ask()
            assert proposal is not None
            ids.append(proposal.architecture.id)
            evolution.tell(proposal, Feedback(state="complete", values=(sign * int(ids[-1], 16),)))
        found.append(ids)
    assert found[0] == found[1]
    best = min(int(identity, 16) for identity in found[0][5:])
    assert best < min(int(identity, 16) for identity in found[0][:5])
