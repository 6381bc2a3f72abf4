"""What a sweep is: methods on spaces and a dataset, what is varied, and how their fronts are trained from scratch."""

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
class Arm:
    """A method on a space, and what is varied of its settings.

    Its searches are all combinations of the param space's tuples and ``samples`` draws from its ranges. Any setting
    of the method can be varied: knobs, learning rates, channels, epochs.

    Raises:
        InvalidInput: a part that does not exist, a setting that is none of the method's, a value out of its range.
    """

    method: str
    space: str
    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")]
    """Of every search, where the param space does not say otherwise: the method's Config."""
    param_space: Annotated[ParamSpace, tyro.conf.Suppress] = field(default_factory=dict)
    samples: int = 1
    """Draws from the ranges of the param space (a Latin hypercube); without ranges it must be 1."""

    def __post_init__(self) -> None:
        for kind in ("method", "space"):
            object.__setattr__(self, kind, registry.absolute(getattr(self, kind)))
        config = find_method(self.method).Config
        if type(self.settings) is not config:
            raise InvalidInput(
                f"settings {type(self.settings).__qualname__} for method {self.method!r}: "
                f"accepted is {config.__qualname__}"
            )
        if self.samples < 1:
            raise InvalidInput(f"samples {self.samples}: accepted are values from 1")
        check_names(config, self.param_space)
        if self.samples > 1 and not _ranges(self.param_space):
            raise InvalidInput(f"samples {self.samples} of a param space without ranges: accepted is 1")
        for name, values in self.param_space.items():
            for value in (values.low, values.high) if isinstance(values, Range) else values:
                dataclasses.replace(self.settings, **{name: value})

    def points(self) -> list[TrainingSettings]:
        """The settings of all its searches, for one seed; the same at every call."""
        names = list(self.param_space)
        grids = [[(n, value) for value in v] for n, v in self.param_space.items() if not isinstance(v, Range)]
        found = []
        for draw, point in itertools.product(
            latin_hypercube(_ranges(self.param_space), self.samples), itertools.product(*grids)
        ):
            chosen = {**draw, **dict(point)}
            found.append(dataclasses.replace(self.settings, **{name: chosen[name] for name in names}))
        return found


@dataclass(frozen=True, kw_only=True)
class Sweep(Arm):
    """Searches by one method or several, and the training of their fronts.

    Raises:
        InvalidInput: a part that does not exist, a setting that is none of the method's, a value out of its range.
    """

    name: str
    """Name of the run, unless another is given: running it again under one name resumes it."""
    dataset: str
    others: Annotated[tuple[Arm, ...], tyro.conf.Suppress] = ()
    """Further methods or spaces, which share everything below."""
    presets: Annotated[Mapping[str, Sweep], tyro.conf.Suppress] = field(default_factory=dict, compare=False)
    """The same sweep in other sizes, by name: ``paper`` is the full schedule of the paper."""
    seeds: tuple[int, ...] = (0,)
    """Of the searches: each sample is searched with each."""
    retrain: Literal["front", "final", "nothing"] = "front"
    """What is trained from scratch once the searches are done: each method's front, or the last architecture of every
    search. A method that trains its network to the end itself is left as it is."""
    retrain_within: float = 0.0
    """How far, in accuracy, a candidate may lie below its method's front and still be trained: accuracies by inherited
    weights are coarse, and trained from scratch its place may change."""
    retrain_seeds: tuple[int, ...] = (0,)
    """Of the trainings from scratch; with several, the front is one of means."""
    random_baseline: bool = True
    """Whether beside every architecture that is trained from scratch a random one of like multiply-adds is."""
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    """How architectures are trained from scratch."""
    budget: float | None = None
    """Largest multiply-adds (M, at the evaluation size) of what is trained from scratch."""
    reference: tuple[float, float] | None = None
    """The hypervolume's reference point, multiply-adds (M) and accuracy. None is the spaces' largest network and
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
        super().__post_init__()
        object.__setattr__(self, "dataset", registry.absolute(self.dataset))
        for name in ("seeds", "retrain_seeds"):
            if not getattr(self, name) or len(set(getattr(self, name))) < len(getattr(self, name)):
                raise InvalidInput(f"{name} {getattr(self, name)}: accepted are one or more different numbers")
        for name, low in (
            ("max_failures", 0),
            ("cpus_per_trial", 0.01),
            ("gpus_per_trial", 0.0),
            ("retrain_within", 0),
        ):
            if getattr(self, name) < low:
                raise InvalidInput(f"{name} {getattr(self, name)}: accepted are values from {low}")
        if not self.name or self.name.startswith(".") or set(self.name) & set("/\\\0"):
            raise InvalidInput(f"name {self.name!r}: accepted is the name of one folder")
        for arm in self.arms:
            self._search(arm, arm.settings, 0)  # refuses what cannot be searched

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All its methods: its own, and the others."""
        return (self, *self.others)

    def searches(self) -> list[SearchConfig]:
        """The configs of all searches, the same at every call."""
        return [
            self._search(arm, settings, seed) for seed in self.seeds for arm in self.arms for settings in arm.points()
        ]

    @property
    def varied(self) -> list[str]:
        """Names of the settings that some arm varies."""
        return list(dict.fromkeys(name for arm in self.arms for name in arm.param_space))

    def _search(self, arm: Arm, settings: TrainingSettings, seed: int) -> SearchConfig:
        return SearchConfig(
            method=arm.method,
            space=arm.space,
            dataset=self.dataset,
            settings=settings,
            seed=seed,
            evaluation_channels=self.evaluation.channels,
            evaluation_cells=self.evaluation.cells,
            data_root=self.data_root,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; its presets are not part of it."""
        values = dataclasses.asdict(dataclasses.replace(self, presets={}))
        del values["presets"]
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Sweep:
        """A sweep from what :meth:`to_dict` gave.

        Raises:
            InvalidInput: a field that a sweep does not have, or a value that it does not accept.
        """
        known = {one.name for one in fields(cls)} - {"presets"}
        unknown = sorted(set(values) - known)
        if unknown or not {"name", "method", "space", "dataset", "settings"} <= set(values):
            raise InvalidInput(f"sweep with {', '.join(unknown) or 'fields missing'}: accepted are {', '.join(known)}")
        made = {**values, **_arm_fields(values)}
        made["others"] = tuple(Arm(**{**other, **_arm_fields(other)}) for other in values.get("others", ()))
        made["evaluation"] = EvaluationSettings.of(values.get("evaluation", {}))
        for name in ("seeds", "retrain_seeds", "reference"):
            if values.get(name) is not None:
                made[name] = tuple(values[name])
        return cls(**made)


def _arm_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings and param space of an arm, from JSON's values."""
    return {
        "settings": find_method(values["method"]).Config.of(values["settings"]),
        "param_space": {
            name: Range(**v) if isinstance(v, dict) else tuple(v) for name, v in values.get("param_space", {}).items()
        },
    }


def _ranges(param_space: ParamSpace) -> dict[str, Range]:
    return {name: values for name, values in param_space.items() if isinstance(values, Range)}


def with_method(sweep: Sweep, method: str) -> Sweep:
    """The same sweep by one method alone: as one of its arms says or, where none has this method, with the settings
    that both have at their values and the others at their defaults.

    Raises:
        InvalidInput: there is no such method.
    """
    method = registry.absolute(method)
    arm = next((one for one in sweep.arms if one.method == method), None)
    if arm is None:
        config = find_method(method).Config
        names = {one.name for one in fields(config)}
        settings = config.of({name: value for name, value in changes(sweep.settings).items() if name in names})
        varied = {name: values for name, values in sweep.param_space.items() if name in names}
        samples = sweep.samples if _ranges(varied) else 1
        arm = Arm(method=method, space=sweep.space, settings=settings, param_space=varied, samples=samples)
    shared = {one.name: getattr(arm, one.name) for one in fields(Arm)}
    return dataclasses.replace(sweep, others=(), **shared)


def with_settings(sweep: Sweep, values: Mapping[str, Any]) -> Sweep:
    """The same sweep with settings fixed in every arm whose method has them: there they are no longer varied.

    Raises:
        InvalidInput: a value that a method does not accept.
    """

    def fixed(arm: Arm) -> dict[str, Any]:
        own = {one.name for one in fields(arm.settings)}
        varied = {name: v for name, v in arm.param_space.items() if name not in values}
        return {
            "settings": dataclasses.replace(arm.settings, **{n: v for n, v in values.items() if n in own}),
            "param_space": varied,
            "samples": arm.samples if _ranges(varied) else 1,
        }

    others = tuple(dataclasses.replace(arm, **fixed(arm)) for arm in sweep.others)
    return dataclasses.replace(sweep, others=others, **fixed(sweep))


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
