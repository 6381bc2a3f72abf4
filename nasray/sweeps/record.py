"""What a run's folder says of its sweep: written once, and compared with whatever would go on there."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from nasray.errors import InvalidInput
from nasray.runs import Storage
from nasray.sweeps.command import Source, command_of
from nasray.sweeps.learnt import Learnt, keep
from nasray.sweeps.sweep import Sweep
from nasray.training.measure import host, versions
from nasray.trials.differing import differing_in
from nasray.trials.identity import identity_of
from nasray.tune.resources.device import Kind


def record(
    sweep: Sweep,
    storage: Storage,
    reference: tuple[float, float],
    kind: Kind | None,
    source: Source | None,
    learnt: Learnt,
) -> None:
    """Write down what is run into its folder, which is new or of the same sweep.

    Args:
        sweep: what is run.
        storage: the run's folder.
        reference: reference point of its hypervolumes: multiply-adds (M), accuracy.
        kind: of device that its trials compute on, where their settings leave it open.
        source: what the sweep was made of; None is Python.
        learnt: what its searchers are told first, where it begins now.

    Raises:
        InvalidInput: the folder is another sweep's.
    """
    if storage.exists("run.json"):
        check_same(sweep, storage)
        values = storage.read_json("run.json")
        now = json.loads(json.dumps(sweep.to_dict()))
        if values["sweep"] != now:  # its data, code or cluster have moved
            storage.write_json("run.json", {**values, "sweep": now})
        return
    keep(learnt, storage)  # before run.json: a run that goes on finds it
    size = sweep.network_size(sweep.arms[0], None if sweep.table else sweep.data)
    storage.write_json(
        "run.json",
        {
            "sweep": sweep.to_dict(),
            "identity": _identity(sweep),
            "data": {"input_shape": list(size.input_shape), "classes": size.classes},
            "reference": list(reference),
            **({"learnt": list(learnt.summary)} if learnt.summary else {}),
            **command_of(sweep, source),
            "versions": versions(),
            "host": host(),
            "cpus": os.cpu_count(),
            "device": kind,
            "started": datetime.now(UTC).isoformat(),
        },
    )


def check_same(sweep: Sweep, storage: Storage) -> None:
    """Refuse a sweep whose run's folder is another sweep's.

    Raises:
        InvalidInput: in what they differ.
    """
    values = storage.read_json("run.json")
    theirs = values.get("identity")
    if not isinstance(theirs, dict) or not isinstance(values.get("sweep"), dict):
        raise InvalidInput(f"{storage} holds no sweep: give another --name, or the folder of a sweep")
    differing = differing_in(_identity(sweep), theirs)
    if differing:
        raise InvalidInput(
            f"run {sweep.name!r} in {sweep.execution.storage} is of another sweep, which differs in "
            f"{', '.join(differing)}: run the same sweep, or give another --name"
        )


def _identity(sweep: Sweep) -> dict[str, Any]:
    """What makes two runs the same one: all but where and how they run, and the content of data and code."""
    values = sweep.identity()
    names = [("searcher" if arm.is_black_box else "method", arm.method) for arm in sweep.arms]
    names += [("space", arm.space) for arm in sweep.arms]
    if sweep.table is not None:
        return identity_of({**values, "table": sweep.table.settings}, names, sweep.table.digest)
    return identity_of(values, [*names, ("dataset", sweep.dataset)], sweep.data.digest)
