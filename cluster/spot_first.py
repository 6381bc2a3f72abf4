"""Spot machines first, on demand where AWS has none: how Ray's autoscaler chooses among node types.

Ray 2.60 does not fall back by itself. Its second autoscaler tries the type of the highest priority again and again when
a launch is refused, for it looks only at launches that time out; the first one notes refused launches, and hands the
note to the function that scores node types, but its own function leaves it unread. So cluster/aws.yaml runs the first
autoscaler with the function below, named by RAY_AUTOSCALER_UTILIZATION_SCORER. A note is forgotten after 30 minutes
(AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S), and spot is tried again.
"""

from __future__ import annotations

from typing import Any


def spot_first(
    node_resources: dict[str, float],
    resources: list[dict[str, float]],
    node_type: str,
    *,
    node_availability_summary: Any,
) -> tuple[Any, ...] | None:
    """A score of a node type for what is asked for, highest first; None where nothing of it fits.

    Args:
        node_resources: what a node of the type has.
        resources: what is asked for.
        node_type: name of the type; spot types have ``spot`` in it.
        node_availability_summary: the last launch of each type, of the last 30 minutes.
    """
    from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer

    fits = _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    if fits is None:
        return None
    last = node_availability_summary.node_availabilities.get(node_type)
    gpu_ok, *utilisation = fits
    return gpu_ok, last is None or last.is_available, *utilisation, "spot" in node_type
