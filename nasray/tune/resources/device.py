"""The kind of device that a run's trials compute on, where their settings leave it open (``device="auto"``).

It is settled once, when a run begins, and written down with it: numbers differ between kinds of device, so a run that
is resumed elsewhere keeps its own.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Literal

from nasray.errors import InvalidInput
from nasray.tune.execution import Execution
from nasray.tune.resources.room import cluster_nodes, has_own_ray, own_resources, places

Kind = Literal["cpu", "cuda"]


def has_gpus() -> bool:
    """Whether a node of the connected cluster has a GPU now."""
    return places(cluster_nodes(), {"GPU": 1.0}) > 0


def pick_kind(execution: Execution, run: str, session: ExitStack) -> Kind:
    """The GPU where trials reserve one, or a part of one, else the processor.

    Args:
        execution: says what trials reserve; with ``"auto"`` they do where there are GPUs.
        run: name of the run, for events.
        session: in which the cluster is connected to, if it has to be asked.

    Raises:
        InvalidInput: the cluster cannot be connected to.
    """
    if execution.gpus_per_trial != "auto":
        return "cuda" if execution.gpus_per_trial > 0 else "cpu"
    if has_own_ray(execution.address):
        return "cuda" if own_resources()["GPU"] else "cpu"
    from nasray.tune.session.connection import connection

    session.enter_context(connection(execution.address, run))
    return "cuda" if has_gpus() else "cpu"


def check_gpus(execution: Execution) -> None:
    """Refuse trials on GPUs that reserve none, or that this machine cannot give any.

    Raises:
        InvalidInput: what is missing.
    """
    if execution.gpus_per_trial == 0:
        raise InvalidInput(
            "The trials compute on GPUs (device cuda) but reserve none. Give --gpus-per-trial auto, or a number."
        )
    if has_own_ray(execution.address) and not own_resources()["GPU"]:
        raise InvalidInput(
            "The trials compute on GPUs (device cuda), and this machine has none. Give the --address of a cluster with "
            "GPUs, or start another run with another --name."
        )
