"""What a sweep is: a method on a space and a dataset, what is varied, and how the front is trained from scratch."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from nasray import registry
from nasray.errors import InvalidInput
from nasray.evaluation import EvaluationSettings
from nasray.search import SearchConfig, find_method
from nasray.settings import Range, TrainingSettings, changes, check_names

ParamSpace = Mapping[str, Range | tuple[Any, ...]]
"""Setting to what it takes: all of a tuple's values, or draws from a range."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Searches over a param space, and the training of their front.

    The searches are all combinations of the seeds, the param space's tuples and ``samples`` draws from its ranges.
    Any setting of the method can be varied: knobs, learning rates, channels, epochs.

    Raises:
        InvalidInput: a part that does not exist, a setting that is none of the method's, a value out of its range.
    """

    name: str
    """Name of the run, unless another is given: running it again under one name resumes it."""
    method: str
    space: str
    dataset: str
    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")]
    """Of every search, where the param space does not say otherwise: the method's Config."""
    param_space: Annotated[ParamSpace, tyro.conf.Suppress] = field(default_factory=dict)
    samples: int = 1
    """Draws from the ranges of the param space (a Latin hypercube); without ranges it must be 1."""
    seeds: tuple[int, ...] = (0,)
    """Of the searches: each sample is searched with each."""
    retrain: Literal["front", "nothing"] = "front"
    """What is trained from scratch once the searches are done."""
    retrain_within: float = 0.0
    """How far, in accuracy, a candidate may lie below the front and still be trained: accuracies by inherited weights
    are coarse, and trained from scratch its place may change."""
    retrain_seeds: tuple[int, ...] = (0,)
    """Of the trainings from scratch; with several, the front is one of means."""
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    """How the front is trained from scratch."""
    budget: float | None = None
    """Largest multiply-adds (M, at the evaluation size) of what is trained from scratch."""
    reference: tuple[float, float] | None = None
    """The hypervolume's reference point, multiply-adds (M) and accuracy. None is the space's largest network and
    the accuracy of guessing."""
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    """May be a fraction: several trials then share a GPU."""
    max_failures: int = 2
    """How often a trial that fails is tried again, from its last checkpoint."""
    storage: str = "runs"
    """Folder of all runs: a local path, or one of pyarrow's file systems (s3://, gs://)."""
    data_root: str | None = None
    """Folder of the dataset; None is the environment's NASRAY_DATA."""
    address: str | None = None
    """Of the Ray cluster. None is the environment's RAY_ADDRESS, or a Ray of its own on this machine."""

    def __post_init__(self) -> None:
        for kind in ("method", "space", "dataset"):
            object.__setattr__(self, kind, registry.absolute(getattr(self, kind)))
        config = find_method(self.method).Config
        if type(self.settings) is not config:
            raise InvalidInput(
                f"settings {type(self.settings).__qualname__} for method {self.method!r}: "
                f"accepted is {config.__qualname__}"
            )
        self._search(self.settings, 0)  # refuses what cannot be searched
        for name in ("seeds", "retrain_seeds"):
            if not getattr(self, name) or len(set(getattr(self, name))) < len(getattr(self, name)):
                raise InvalidInput(f"{name} {getattr(self, name)}: accepted are one or more different numbers")
        for name, low in (
            ("samples", 1),
            ("max_failures", 0),
            ("cpus_per_trial", 0.01),
            ("gpus_per_trial", 0.0),
            ("retrain_within", 0),
        ):
            if getattr(self, name) < low:
                raise InvalidInput(f"{name} {getattr(self, name)}: accepted are values from {low}")
        if not self.name or self.name.startswith(".") or set(self.name) & set("/\\\0"):
            raise InvalidInput(f"name {self.name!r}: accepted is the name of one folder")
        check_names(config, self.param_space)
        ranges = {name: values for name, values in self.param_space.items() if isinstance(values, Range)}
        if self.samples > 1 and not ranges:
            raise InvalidInput(f"samples {self.samples} of a param space without ranges: accepted is 1")
        for name, values in self.param_space.items():
            for value in (values.low, values.high) if isinstance(values, Range) else values:
                dataclasses.replace(self.settings, **{name: value})

    def searches(self) -> list[SearchConfig]:
        """The configs of all searches, the same at every call."""
        names = list(self.param_space)
        ranges = {n: v for n, v in self.param_space.items() if isinstance(v, Range)}
        grids = [[(n, value) for value in v] for n, v in self.param_space.items() if not isinstance(v, Range)]
        found = []
        for seed, draw, point in itertools.product(
            self.seeds, latin_hypercube(ranges, self.samples), itertools.product(*grids)
        ):
            chosen = {**draw, **dict(point)}
            settings = dataclasses.replace(self.settings, **{name: chosen[name] for name in names})
            found.append(self._search(settings, seed))
        return found

    def _search(self, settings: TrainingSettings, seed: int) -> SearchConfig:
        return SearchConfig(
            method=self.method,
            space=self.space,
            dataset=self.dataset,
            settings=settings,
            seed=seed,
            evaluation_channels=self.evaluation.channels,
            evaluation_cells=self.evaluation.cells,
            data_root=self.data_root,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Sweep:
        """A sweep from what :meth:`to_dict` gave.

        Raises:
            InvalidInput: a field that a sweep does not have, or a value that it does not accept.
        """
        known = {one.name for one in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown or not {"name", "method", "space", "dataset", "settings"} <= set(values):
            raise InvalidInput(f"sweep with {', '.join(unknown) or 'fields missing'}: accepted are {', '.join(known)}")
        made = dict(values)
        made["settings"] = find_method(values["method"]).Config.of(values["settings"])
        made["evaluation"] = EvaluationSettings.of(values.get("evaluation", {}))
        made["param_space"] = {
            name: Range(**v) if isinstance(v, dict) else tuple(v) for name, v in values.get("param_space", {}).items()
        }
        for name in ("seeds", "retrain_seeds", "reference"):
            if values.get(name) is not None:
                made[name] = tuple(values[name])
        return cls(**made)


def with_method(sweep: Sweep, method: str) -> Sweep:
    """The same sweep by another method: settings that both have keep their values, the others take their defaults.

    Raises:
        InvalidInput: there is no such method.
    """
    config = find_method(method).Config
    names = {one.name for one in fields(config)}
    settings = config.of({name: value for name, value in changes(sweep.settings).items() if name in names})
    varied = {name: values for name, values in sweep.param_space.items() if name in names}
    ranges = any(isinstance(values, Range) for values in varied.values())
    return dataclasses.replace(
        sweep, method=method, settings=settings, param_space=varied, samples=sweep.samples if ranges else 1
    )


def latin_hypercube(ranges: Mapping[str, Range], samples: int) -> list[dict[str, float]]:
    """Draws from ranges that fall into each of ``samples`` equal parts of every range once, seeded by their names."""
    generator = np.random.default_rng([samples, *"".join(ranges).encode()])
    columns = {}
    for name, one in ranges.items():
        places = (generator.permutation(samples) + generator.random(samples)) / samples
        low, high = (np.log(one.low), np.log(one.high)) if one.log else (one.low, one.high)
        values = low + places * (high - low)
        values = np.clip(np.exp(values) if one.log else values, one.low, one.high)
        columns[name] = [round(v) if one.integer else float(f"{v:.6g}") for v in values.tolist()]
    return [{name: column[i] for name, column in columns.items()} for i in range(samples)]
