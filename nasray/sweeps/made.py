"""The sweep that a name and options make, ready or fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.runs import open_storage
from nasray.runs.events import note
from nasray.sweeps.fitting import SIZES, FittedSweep, fit
from nasray.sweeps.options import with_options
from nasray.sweeps.run import read_run
from nasray.sweeps.sweep import Sweep
from nasray.training.dataset import load_dataset
from nasray.training.image_size import with_size


def sweep_of(found: Sweep | FittedSweep, options: Mapping[str, Any]) -> Sweep:
    """A sweep with options.

    A fitted one takes its sizes from its run where that exists, so that the same command goes on; else they are fitted
    now, and the rules that gave them are printed.

    Args:
        found: the sweep.
        options: as of :func:`nasray.sweeps.options.with_options`; ``image_size`` (``"HxW"``) of the dataset; and of
            fitted sweeps ``minutes``.

    Raises:
        InvalidInput: an option that the sweep does not have, a value that it does not accept, or data that are missing.
    """
    given = {name: value for name, value in options.items() if name not in ("image_size", "minutes")}
    minutes, image_size = options.get("minutes"), options.get("image_size")
    dataset = given.get("dataset", getattr(found, "dataset", None))
    if image_size is not None and dataset is not None:
        given["dataset"] = dataset = with_size(dataset, image_size)
    if isinstance(found, Sweep):
        if minutes is not None:
            raise InvalidInput(f"minutes {minutes:g}: sweep {found.name} has sizes of its own. Leave it out.")
        return with_options(found, given)
    if dataset is None:
        raise InvalidInput(f"--data missing: sweep {found.name} is for your own images. Give --data folder:PATH")
    storage = open_storage(given.get("storage") or "runs").child(given.get("name") or found.name)
    if storage.exists("run.json"):
        begun, _ = read_run(storage)
        changed = with_options(begun, given)
        load_dataset(changed.dataset, changed.execution.data_root)  # what is not there is told first, and alone
        note(f"{found.name}: sizes as {storage} began with")
        return changed
    sizes = {name: given[name] for name in SIZES if given.get(name) is not None}
    data = load_dataset(registry.absolute(dataset), given.get("data_root"))
    sweep, rules = fit(
        found, dataset, data, minutes=minutes, given=sizes, change=lambda fitted: with_options(fitted, given)
    )
    if not given.get("quiet"):
        shape = "x".join(map(str, data.input_shape))
        for line in (f"{len(data.train[1])} training images of {shape}, {data.classes} classes", *rules):
            note(f"{found.name}: {line}")
    return sweep
