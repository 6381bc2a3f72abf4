"""Searchers take the direction of their objectives from the task's metric."""

from __future__ import annotations

from nasray.searchers.searchers import OBJECTIVES, objectives_of

from nasray.searchers.evolution import RegularisedEvolution
from nasray.spaces.metric import MEAN_IOU, PERPLEXITY
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201


def test_directions_are_the_metrics_own() -> None:
    assert OBJECTIVES == {"accuracy": "max", "macs": "min", "params": "min", "latency_ms": "min"}
    assert objectives_of(PERPLEXITY) == {"perplexity": "min", "macs": "min", "params": "min", "latency_ms": "min"}
    assert objectives_of(MEAN_IOU)["mean_iou"] == "max"


def test_evolution_by_perplexity_goes_as_by_its_negative() -> None:
    found = []
    for mode, sign in ((objectives_of(PERPLEXITY)["perplexity"], 1.0), ("max", -1.0)):
        evolution = RegularisedEvolution(NAS_BENCH_201, 15, [mode], initial=5, sample=5, population=10)
        ids = []
        for _ in range(30):
            architecture = evolution.ask()
            assert architecture is not None
            ids.append(architecture.id)
            evolution.tell(architecture, [sign * int(architecture.id, 16)])
        found.append(ids)
    assert found[0] == found[1]
    best = min(int(identity, 16) for identity in found[0][5:])
    assert best < min(int(identity, 16) for identity in found[0][:5])
