"""The size of the network that a row of a run's tables is of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nasray.spaces import NetworkSize


def size_of_row(row: Mapping[str, Any], data: Mapping[str, Any]) -> NetworkSize:
    """The size at which a row's multiply-adds were counted.

    Args:
        row: of candidates, evaluations or a front, with its columns ``channels``, ``cells`` and ``settings``.
        data: run.json's entry of this name: shape of an input, and number of classes.

    Raises:
        KeyError, TypeError, ValueError, InvalidInput: something is missing, or is no size.
    """
    return NetworkSize(
        channels=int(row["channels"]),
        cells=int(row["cells"]),
        input_shape=tuple(int(length) for length in data["input_shape"]),
        classes=int(data["classes"]),
        skeleton=skeleton_of(row["settings"]),
    )


def skeleton_of(settings: Any) -> str:
    """What surrounds the cells at the evaluation size, as a row's column ``settings`` says it."""
    try:
        values = json.loads(settings)
    except (TypeError, ValueError):
        values = None
    values = values if isinstance(values, dict) else {}
    inner = values.get("settings")
    own = values.get("skeleton", inner.get("skeleton") if isinstance(inner, dict) else None)
    return str(values.get("evaluation_skeleton") or own or "auto")
