"""What a sweep is: methods on spaces and a dataset, what is varied, and how their fronts are trained from scratch."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args

import numpy as np
import tyro

from nasray import registry
from nasray.errors import InvalidInput
from nasray.methods.random import Random
from nasray.searchers import OBJECTIVES, find_searcher, is_searcher
from nasray.settings import Range, Settings, TrainingSettings, changes, check_names, check_seed
from nasray.spaces import CellSpace
from nasray.tabular import Unit
from nasray.trials.evaluation import EvaluationSettings
from nasray.trials.lookup import AccuracySource, tabular_size
from nasray.trials.search_config import SearchConfig, find_method
from nasray.tune.execution import Execution
from nasray.tune.reports.trackers import Tracker

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
    """Or a black-box searcher."""
    space: str
    settings: Annotated[Settings, tyro.conf.arg(name="")]
    """Of every search, where the param space does not say otherwise: the method's Config."""
    param_space: Annotated[ParamSpace, tyro.conf.Suppress] = field(default_factory=dict)
    samples: int = 1
    """Draws from the ranges of the param space (a Latin hypercube); without ranges it must be 1."""

    def __post_init__(self) -> None:
        for kind in ("method", "space"):
            object.__setattr__(self, kind, registry.absolute(getattr(self, kind)))
        config = config_of(self.method)
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

    def points(self) -> list[Settings]:
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
    """Of the trainings from scratch; with several, the front is one of means. What black-box searchers propose is
    trained with the first, and with the others where it is near the front."""
    random_baseline: bool = True
    """Whether random architectures are trained too: beside every one that a method found one of like multiply-adds,
    beside a black-box search as many as it proposes."""
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    """How architectures are trained from scratch."""
    rungs: tuple[int, ...] = ()
    """Epochs at which trainings are compared by ParetoASHA, and all but the best stopped. None lets all end."""
    reduction_factor: float = 3.0
    """One of so many goes on at a rung."""
    objectives: tuple[str, ...] = ("accuracy", "macs")
    """What black-box searchers trade: of accuracy, macs, params, latency_ms."""
    table: str | None = None
    """File of accuracies that are looked up in place of training (nasray.tabular)."""
    table_columns: tuple[str, ...] = ()
    """Its columns, as COLUMN=EPOCHS; none is as far as their names tell."""
    table_unit: Unit = "percent"
    """Of its accuracies."""
    budget: float | None = None
    """Largest multiply-adds (M, at the evaluation size): what is trained from scratch obeys it, as a narrower network
    if need be."""
    reference: tuple[float, float] | None = None
    """The hypervolume's reference point, multiply-adds (M) and accuracy. None is the spaces' largest network and
    the accuracy of guessing."""
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | Literal["auto"] = 0.0
    """May be a fraction: several trials then share a GPU. ``auto`` measures the largest of them on one of the cluster's
    GPUs, and lets as many share one as its memory holds with a margin. What is looked up in a table takes none."""
    workers_per_evaluation: int = 1
    """Processes that train one architecture from scratch together, each with ``cpus_per_trial`` and, where
    ``gpus_per_trial`` is not 0, a GPU of its own. The batch is split over them."""
    max_failures: int = 2
    """How often a trial that fails is tried again, from its last checkpoint."""
    trackers: tuple[Tracker, ...] = ()
    """What else is told of trials as they go on: tensorboard, mlflow, wandb, and optuna, whose journal optuna-dashboard
    shows."""
    storage: str = "runs"
    """Folder of all runs: a local path, or one of pyarrow's file systems (s3://, gs://)."""
    data_root: str | None = None
    """Folder of the dataset; None is the environment's NASRAY_DATA."""
    address: str | None = None
    """Of the Ray cluster. None is the environment's RAY_ADDRESS, or a Ray of its own on this machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "dataset", registry.absolute(self.dataset))
        if not self.table:  # which names its dataset only
            registry.find("dataset", self.dataset)
        for name in ("data_root", "table"):
            object.__setattr__(self, name, registry.absolute_path(getattr(self, name)))
        for name in ("seeds", "retrain_seeds"):
            if not getattr(self, name) or len(set(getattr(self, name))) < len(getattr(self, name)):
                raise InvalidInput(f"{name} {getattr(self, name)}: accepted are one or more different numbers")
            for seed in getattr(self, name):
                check_seed(name, seed)
        unknown = [name for name in self.objectives if name not in OBJECTIVES]
        if unknown or not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise InvalidInput(f"objectives {self.objectives}: accepted are different ones of {', '.join(OBJECTIVES)}")
        if "latency_ms" in self.objectives and (self.table or self.evaluation.latency_batch is None):
            raise InvalidInput("objective latency_ms: accepted with evaluation.latency_batch, and without a table")
        if self.table and len(self.retrain_seeds) > 1:
            raise InvalidInput(
                f"retrain_seeds {self.retrain_seeds} with a table: accepted is one, for a table has the same accuracy "
                "for every seed"
            )
        if not self.reduction_factor > 1:
            raise InvalidInput(f"reduction_factor {self.reduction_factor}: accepted are values above 1")
        ascending = all(a < b for a, b in itertools.pairwise((0, *self.rungs)))
        if not ascending or (not self.table and self.rungs and self.rungs[-1] >= self.evaluation.epochs):
            raise InvalidInput(f"rungs {self.rungs}: accepted are rising epochs below those of the evaluation")
        for name, low in (
            ("max_failures", 0),
            ("workers_per_evaluation", 1),
            ("cpus_per_trial", 0.01),
            ("gpus_per_trial", 0.0),
            ("retrain_within", 0),
        ):
            value, words = getattr(self, name), "auto, or " if name == "gpus_per_trial" else ""
            if value != "auto" and (isinstance(value, str) or value < low):
                raise InvalidInput(f"{name} {value!r}: accepted are {words}values from {low}")
        if self.workers_per_evaluation > self.evaluation.batch_size:
            raise InvalidInput(
                f"workers_per_evaluation {self.workers_per_evaluation}: accepted are as many as the batch of "
                f"{self.evaluation.batch_size} has examples for, and fewer"
            )
        # What cannot be printed may look like another name, or end a line.
        plain = self.name.isprintable() and self.name == self.name.strip() and not set(self.name) & set("/\\")
        if not self.name or self.name.startswith(".") or not plain or len(self.name.encode()) > 200:
            raise InvalidInput(f"name {self.name!r:.80}: accepted is the name of one folder, up to 200 bytes")
        if not set(self.trackers) <= set(get_args(Tracker)) or len(set(self.trackers)) < len(self.trackers):
            raise InvalidInput(
                f"trackers {self.trackers}: accepted are different ones of {', '.join(get_args(Tracker))}"
            )
        for arm in self.arms:
            self.search_config(arm)  # refuses what cannot be searched

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All its methods: its own, and the others."""
        return (self, *self.others)

    def searches(self) -> list[SearchConfig]:
        """The configs of all searches, the same at every call."""
        return [
            self.search_config(arm, settings, seed)
            for seed in self.seeds
            for arm in self.arms
            if not is_searcher(arm.method)
            for settings in arm.points()
        ]

    @property
    def black_box_arms(self) -> list[Arm]:
        """Those whose method is a black-box searcher."""
        return [arm for arm in self.arms if is_searcher(arm.method)]

    @property
    def varied(self) -> list[str]:
        """Names of the settings that some arm varies."""
        return list(dict.fromkeys(name for arm in self.arms for name in arm.param_space))

    def search_config(self, arm: Arm, settings: Settings | None = None, seed: int = 0) -> SearchConfig:
        """Of one search of an arm, by the arm's own settings where none are given.

        For a black-box searcher it is that of a random search at the evaluation size, which says what sizes are.

        Raises:
            InvalidInput: what cannot be searched.
        """
        method, settings = arm.method, settings or arm.settings
        if is_searcher(method):
            method = "random"
            settings = Random.Config(channels=self.evaluation.channels, cells=self.cells_of(arm.space))
        assert isinstance(settings, TrainingSettings)
        if self.budget is not None:
            settings = find_method(method).within_budget(settings, self.budget)
        return SearchConfig(
            method=method,
            space=arm.space,
            dataset=self.dataset,
            settings=settings,
            seed=seed,
            data_root=self.data_root,
            **{f"evaluation_{name}": value for name, value in self._evaluated_size(arm.space).items()},
        )

    def _evaluated_size(self, space: str) -> dict[str, Any]:
        """What the size of the networks depends on that are trained from scratch, or looked up."""
        names = ("channels", "cells", "skeleton")
        if self.table:
            published = tabular_size(registry.find("space", space, CellSpace), self.dataset)
            return {name: getattr(published, name) for name in names}
        return {name: getattr(self.evaluation, name) for name in (*names, "width_budget")}

    def cells_of(self, space: str) -> int:
        """Cells of the networks that are trained from scratch."""
        found: CellSpace = registry.find("space", space, CellSpace)
        if self.table:
            return tabular_size(found, self.dataset).cells
        return self.evaluation.cells or found.evaluation_cells

    @property
    def source(self) -> AccuracySource | None:
        """The table of accuracies, where they are looked up."""
        if self.table is None:
            return None
        return AccuracySource(path=self.table, columns=self.table_columns, unit=self.table_unit)

    @property
    def execution(self) -> Execution:
        """Where and how its trials run."""
        return Execution(
            data_root=self.data_root,
            address=self.address,
            cpus_per_trial=self.cpus_per_trial,
            gpus_per_trial=self.gpus_per_trial,
            max_failures=self.max_failures,
            trackers=self.trackers,
        )

    def fidelities(self, space: str) -> tuple[int, ...]:
        """The rungs, and the epochs of a complete training.

        Raises:
            InvalidInput: the table cannot be read, or does not have a rung.
        """
        if self.source is None:
            return (*self.rungs, self.evaluation.epochs)
        *below, last = self.source.open(space, self.dataset).epochs
        unknown = [rung for rung in self.rungs if rung not in below]
        if unknown:
            accepted = ", ".join(map(str, below)) or "none"
            raise InvalidInput(f"rung of {unknown[0]} epochs: accepted are those of the table below {last}, {accepted}")
        return (*self.rungs, last)

    @property
    def fidelity(self) -> str:
        """What rows of one front were trained with, as their column ``settings`` says it."""
        return json.dumps(self.evaluation.to_dict()) if self.source is None else self.source.settings

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
        for name in ("seeds", "retrain_seeds", "reference", "rungs", "objectives", "table_columns", "trackers"):
            if values.get(name) is not None:
                made[name] = tuple(values[name])
        return cls(**made)


def config_of(method: str) -> type[Settings]:
    """The settings of a method, or of a black-box searcher.

    Raises:
        InvalidInput: there is neither.
    """
    return find_searcher(method).Config if is_searcher(method) else find_method(method).Config


def _arm_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings and param space of an arm, from JSON's values."""
    return {
        "settings": config_of(values["method"]).of(values["settings"]),
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
        config = config_of(method)
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
