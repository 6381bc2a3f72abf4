"""Whether a trial has room on any node: what no node can hold would wait for ever.

What each node has counts, not their sum: a trial lies on one node, and so does each worker of a group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import joblib
import torch

from nasray.errors import InvalidInput

Node = Mapping[str, float]
"""What a node has (or one trial needs) of each of Ray's resources, used or not."""


def has_own_ray(address: str | None) -> bool:
    """Whether a run with this address starts a Ray of its own, on this machine alone."""
    import ray

    return not ray.is_initialized() and (address or os.environ.get("RAY_ADDRESS") or "local") == "local"


def own_resources() -> dict[str, float]:
    """What a Ray of our own takes this machine to have: cores for this process, and GPUs that torch sees."""
    return {"CPU": joblib.cpu_count(), "GPU": torch.cuda.device_count()}


def cluster_nodes() -> list[Node]:
    """What each node of the connected cluster has now."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def places(nodes: Sequence[Node], need: Node) -> int:
    """How many trials, or workers of a group, that each need so much, idle nodes hold at once."""
    wanted = {name: amount for name, amount in need.items() if amount > 0}
    if not wanted:
        return sys.maxsize
    return sum(min(_places(name, node.get(name, 0.0), amount) for name, amount in wanted.items()) for node in nodes)


def _places(name: str, has: float, amount: float) -> int:
    # Ray counts in parts of 1/10,000, so three thirds have room on one; a share of a GPU is of one GPU.
    one_gpu = name == "GPU" and amount < 1
    return int(has) * int(1 / amount + 1e-9) if one_gpu else int(has / amount + 1e-9)


def no_room(nodes: Sequence[Node], *, cpus: float, gpus: float, workers: int = 1) -> str | None:
    """What is wrong in one sentence where a trial cannot run on these nodes, however long it waits; else None.

    Args:
        nodes: what each has.
        cpus: that the trial, or each of its workers, needs.
        gpus: of these too.
        workers: of the trial.
    """
    need = {"CPU": cpus, "GPU": gpus}
    found = places(nodes, need)
    if found >= workers:
        return None
    asked = " and ".join(f"{amount:g} {name}{'s' * (amount != 1)}" for name, amount in need.items() if amount > 0)
    largest = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in need}
    most = " and ".join(f"{largest[name]:g} {name}{'s' * (largest[name] != 1)}" for name in need)
    if workers > 1:
        return f"A training needs {workers} workers with {asked} each, and there is room for {found}"
    has = "this machine has" if len(nodes) == 1 else "no node has more than"
    return f"A trial needs {asked}, and {has} {most}"


def check_resources(
    address: str | None, *, cpus: float, gpus: float | str, workers: int = 1, nodes: Sequence[Node] | None = None
) -> None:
    """Refuse what a Ray of our own could never run; on a cluster it is reported while it waits (waiting.py).

    Needs no connection, so that it can come before anything is written.

    Args:
        address: of a cluster, as the sweep has it.
        cpus: per trial, or per worker of a training.
        gpus: likewise; ``"auto"`` is measured later, and takes no more than a GPU that there is.
        workers: per training.
        nodes: what this machine has; None is :func:`own_resources`.

    Raises:
        InvalidInput: it has no room.
    """
    if not has_own_ray(address):
        return
    each = 0.0 if isinstance(gpus, str) else float(gpus)
    reason = no_room([own_resources()] if nodes is None else nodes, cpus=cpus, gpus=each, workers=workers)
    if reason is not None:
        fields = "--cpus-per-trial, --gpus-per-trial" + (" or --workers-per-evaluation" if workers > 1 else "")
        raise InvalidInput(f"{reason}. Lower {fields}, or give the --address of a larger cluster.")
