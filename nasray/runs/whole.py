"""Whether a run's folder has what its rows name: the files of their networks."""

from __future__ import annotations

import pandas as pd

from nasray.runs.storage import Storage


def write_architectures(storage: Storage, front: pd.DataFrame) -> None:
    """Write each architecture of a front as ``architectures/ID.json``, where that is not there: all others lie in rows.

    Args:
        storage: the run's folder.
        front: rows of the front.
    """
    there = set(storage.list("architectures", ".json"))
    for id, text in dict(zip(front["architecture_id"], front["architecture"], strict=True)).items():
        name = f"architectures/{id}.json"
        if name not in there:
            storage.write_bytes(name, text.encode())


def lost_weights(storage: Storage, rows: pd.DataFrame) -> tuple[str, ...]:
    """A line for each file of trained weights that rows of evaluations name, and that is missing."""
    there = set(storage.list("architectures"))
    lost = [name for name in rows["weights"].dropna().unique() if name not in there]
    return tuple(f"{name}, the weights of a trained network, is missing. Its row stands" for name in sorted(lost))
