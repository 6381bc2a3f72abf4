"""What a node can hold is counted by node; what none can hold is refused, or said every minute."""

from __future__ import annotations

import pytest
import ray

from nasray.errors import InvalidInput
from nasray.tune.resources import waiting as module
from nasray.tune.resources.room import check_resources, no_room, own_resources, places
from nasray.tune.resources.waiting import WaitingForRoom

SMALL, LARGE = {"CPU": 2.0}, {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("nodes", "need", "count"),
    [
        ([SMALL], {"CPU": 8.0}, 0),
        ([SMALL] * 4, {"CPU": 8.0}, 0),  # 8 in all, and none on one node
        ([SMALL, LARGE], {"CPU": 8.0}, 2),
        ([SMALL, LARGE], {"CPU": 1.0, "GPU": 0.4}, 4),  # two on each GPU, and not five on both
        ([{"CPU": 9.0, "GPU": 1.0}], {"CPU": 1.0, "GPU": 1 / 3}, 3),
        ([], {"CPU": 1.0}, 0),
    ],
)
def test_places_are_counted_by_node(nodes: list[dict[str, float]], need: dict[str, float], count: int) -> None:
    assert places(nodes, need) == count


def test_a_group_may_lie_on_several_nodes_but_a_trial_may_not() -> None:
    assert no_room([SMALL, SMALL], cpus=2.0, gpus=0.0, workers=2) is None
    assert no_room([SMALL, SMALL], cpus=4.0, gpus=0.0) == (
        "A trial needs 4 CPUs, and no node has more than 2 CPUs and 0 GPUs"
    )
    assert no_room([SMALL, SMALL], cpus=2.0, gpus=0.0, workers=3) == (
        "A training needs 3 workers with 2 CPUs each, and there is room for 2"
    )


def test_a_ray_of_our_own_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InvalidInput) as refused:
        check_resources(None, cpus=8, gpus="auto", nodes=[SMALL])
    assert str(refused.value) == (
        "A trial needs 8 CPUs, and this machine has 2 CPUs and 0 GPUs. Lower --cpus-per-trial, --gpus-per-trial, or "
        "give the --address of a larger cluster."
    )
    with pytest.raises(InvalidInput, match="needs 1 CPU and 2 GPUs"):
        check_resources("local", cpus=1, gpus=2.0, nodes=[SMALL])
    with pytest.raises(InvalidInput, match="3 workers"):
        check_resources(None, cpus=1, gpus=0.0, workers=3, nodes=[SMALL])
    check_resources(None, cpus=2, gpus="auto", nodes=[SMALL])
    check_resources("head:6379", cpus=8, gpus=0.0, nodes=[SMALL])  # such a node may join
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    check_resources(None, cpus=8, gpus=0.0, nodes=[SMALL])


def test_what_this_machine_has_is_what_this_process_may_use() -> None:
    import os

    has = own_resources()
    assert 1 <= has["CPU"] <= len(os.sched_getaffinity(0))


def test_on_a_cluster_it_is_said_every_minute_until_a_node_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes, now, said = [SMALL], [0.0], []
    monkeypatch.setattr(module, "cluster_nodes", lambda: nodes)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "say", lambda level, event, **fields: said.append((now[0], event, fields["waiting"])))
    callback = WaitingForRoom("run", cpus=8.0, gpus=0.0)
    for second in range(0, 181, 10):
        now[0] = float(second)
        if second == 130:
            nodes.append(LARGE)
        callback.on_step_end(second, [])
    assert said == [(0.0, "no_room", "0 min"), (60.0, "no_room", "1 min"), (120.0, "no_room", "2 min")]
