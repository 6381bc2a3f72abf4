"""A sweep as a value: its arms, how their fronts are trained from scratch, and how all of it runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nasray import registry
from nasray.costs import Budget
from nasray.errors import InvalidInput, shown
from nasray.runs.front_file import name_of_run
from nasray.searchers import OBJECTIVES, Mode
from nasray.settings import (
    TRAINED,
    DeviceKind,
    Settings,
    TrainingSettings,
    as_tuple,
    check_fields,
    check_seeds,
)
from nasray.spaces import CellSpace, NetworkSize
from nasray.sweeps.accepted import (
    Worth,
    check_costs,
    check_learn_from,
    check_name,
    check_objectives,
    check_reference,
    check_training,
    check_worth,
    runs_learnt_from,
)
from nasray.sweeps.arm import Arm, Point
from nasray.sweeps.fill import Fill, knob_of
from nasray.sweeps.points import drawn_of
from nasray.sweeps.search_rungs import check_search_rungs, longest
from nasray.sweeps.training import FACTOR, Training
from nasray.training.dataset import Dataset, load_dataset
from nasray.trials.accuracy_source import AccuracySource
from nasray.trials.evaluation import EvaluationSettings
from nasray.trials.fidelity import Fidelity
from nasray.trials.lookup import tabular_size
from nasray.trials.search_config import SearchConfig
from nasray.tune.execution import Execution

_KINDS: tuple[tuple[str, type, bool], ...] = (
    *(("name", str, False), ("dataset", str, False), ("random_baseline", bool, False)),
    *(("training", Training, False), ("execution", Execution, False)),
    *(("budget", Budget, True), ("table", AccuracySource, True), ("fill", Fill, True)),
)
"""Fields of a sweep that hold one thing: its type, and whether it may be missing."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Searches by one arm or several on a dataset, and the training of what they find.

    Raises:
        InvalidInput: a part that does not exist, or a value that is not accepted.
    """

    name: str
    """Name of the run, if the command line gives no other. Running a sweep again under one name resumes the run."""
    dataset: str
    """Name of the dataset (``nasray list datasets``), ``folder:PATH``, ``torchvision:NAME``, or FILE.py:NAME. In Python
    also a dataset, or a function that gives one."""
    arms: tuple[Arm, ...]
    """Methods and searchers with their spaces and settings. Each has a front of its own beside the common one."""
    seeds: tuple[int, ...] = (0,)
    """Random seeds; each sampled setting is searched once per seed."""
    objectives: tuple[str, ...] = ("accuracy", "macs")
    """What black-box searchers trade off: any of accuracy, macs, params, latency_ms, and of the table's columns, which
    then are costs of it."""
    budget: Budget | None = None
    """Most multiply-adds of networks trained from scratch; a network that exceeds it is made narrower."""
    reference: tuple[float, float] | None = None
    """Reference point of the hypervolume: multiply-adds (M) and accuracy (fraction of 1). None means the largest
    network of the spaces and the accuracy of guessing."""
    table: AccuracySource | None = None
    """Table of accuracies that are looked up in place of training."""
    fill: Fill | None = None
    """Multiply-adds near which candidates are wanted: each method's searches then differ in its cost knob, which is
    chosen after each of them."""
    worth: Worth = "hypervolume"
    """What a search is worth to a searcher that chooses settings: the hypervolume of its own candidates, what it adds
    to that of all searches (gain), or accuracy and multiply-adds of its final architecture."""
    worth_by: Literal["inherited", "retrained"] = "inherited"
    """Which accuracies that is by: by weights that a network inherits from its search, told when that ends; or after
    training from scratch, told in four rounds, which takes more trainings."""
    search_rungs: tuple[int, ...] = ()
    """Epochs at which all but the best of a method's searches are stopped. ParetoASHA compares them by the accuracy of
    their supernets and by expected multiply-adds; nothing that a stopped one gave is trained. Without any, all search
    to the end."""
    search_reduction_factor: float = FACTOR
    """Keep the best 1/N of a method's searches at each rung."""
    learn_from: tuple[str, ...] = ()
    """Other runs, by folder, URI or name: what compares of their searches or trainings is told to searchers first."""
    random_baseline: bool = True
    """Whether random architectures are trained too: one of similar multiply-adds beside each that a method found, and
    as many as proposed beside a black-box search."""
    training: Training = field(default_factory=Training)
    """What is trained from scratch, and how."""
    execution: Execution = field(default_factory=Execution)
    """Where and how the sweep runs; it changes no result, and a resumed run may have another."""
    presets: Mapping[str, Sweep] = field(default_factory=dict, compare=False)
    """The same sweep in other sizes, by name: ``paper`` is the full schedule of the paper."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", registry.named("dataset", self.dataset))
        for name, kind, or_none in _KINDS:
            value = getattr(self, name)
            if not (isinstance(value, kind) or (or_none and value is None)):
                expected = {str: "text", bool: "true or false"}.get(kind, f"{kind.__name__}(...)")
                raise InvalidInput(f"{name} {shown(value)}: expected {expected}{', or None' if or_none else ''}")
        for name in ("arms", "seeds", "objectives", "learn_from", "reference", "search_rungs"):
            if name != "reference" or self.reference is not None:
                object.__setattr__(self, name, as_tuple(name, getattr(self, name)))
        check_name(self.name)
        if not self.arms or not all(isinstance(arm, Arm) for arm in self.arms):
            raise InvalidInput(f"arms {shown(self.arms)}: expected one or more of Arm(...)")
        object.__setattr__(self, "dataset", registry.absolute(self.dataset))
        if not self.table:  # which names its dataset only
            registry.find("dataset", self.dataset)
        check_seeds("seeds", self.seeds)
        check_objectives(self.objectives, self.table, self.training.settings.latency_batch)
        if self.table:
            costs = [*self.table.costs, *(name for name in self.objectives if name not in OBJECTIVES)]
            object.__setattr__(self, "table", dataclasses.replace(self.table, costs=tuple(dict.fromkeys(costs))))
            check_costs(
                self.table, [*self.varied, *(k for arm in self.search_arms for k in type(arm.settings).knobs())]
            )
        check_worth(self.worth, self.worth_by, self.arms, self.training)
        if self.fill is not None and not self.search_arms:
            raise InvalidInput("fill: no arm is of a differentiable method, whose cost a knob moves. Leave it out.")
        check_reference(self.reference)
        check_training(self.training, self.table)
        check_search_rungs(self.search_rungs, self.search_reduction_factor, self.search_arms, self.fill)
        for arm in self.arms:
            for point in arm.extremes() if arm.varied_training else ():
                if self.table:
                    raise InvalidInput(
                        f"{TRAINED}{arm.varied_training[0]} in a param space, with a table: nothing is trained. Leave "
                        "one of the two out."
                    )
                dataclasses.replace(self.training, settings=self.trained_with(point))
            if self.fill is not None and not arm.is_black_box:
                knob_of(arm)
            if not arm.is_black_box:
                self.search_config(arm, arm.settings)  # refuses what the method cannot search
        found = runs_learnt_from(self.learn_from, self.execution.storage)
        if found:
            check_learn_from(found, self.arms, self.fill, self.worth_by)
        object.__setattr__(self, "learn_from", found)

    @property
    def modes(self) -> dict[str, Mode]:
        """The objectives, each with whether less or more of it is better: of a table's costs it is less."""
        return {name: OBJECTIVES.get(name, "min") for name in self.objectives}

    @property
    def most_macs(self) -> float | None:
        """The budget as a number (M); None without one."""
        return None if self.budget is None else self.budget.macs

    @property
    def data(self) -> Dataset:
        """The dataset behind the name, loaded once in a process.

        Raises:
            InvalidInput: it is not available.
        """
        return load_dataset(self.dataset, self.execution.data_root)

    @property
    def black_box_arms(self) -> list[Arm]:
        """Those whose architectures a black-box searcher proposes."""
        return [arm for arm in self.arms if arm.is_black_box]

    @property
    def search_arms(self) -> list[Arm]:
        """Those of differentiable methods."""
        return [arm for arm in self.arms if not arm.is_black_box]

    @property
    def devices(self) -> set[DeviceKind]:
        """The kinds of device that its trials compute on; what is looked up computes on none."""
        settings = [arm.settings for arm in self.search_arms]
        kinds = {one.device for one in settings if isinstance(one, TrainingSettings)}
        if not self.table and self.training.select != "nothing":
            kinds.add(self.training.settings.device)
        return kinds

    @property
    def varied(self) -> list[str]:
        """Names of the settings that some arm varies of its searches, or that filling a front chooses."""
        varied = [name for arm in self.arms for name in arm.param_space if not name.startswith(TRAINED)]
        if self.fill is not None:
            varied += [knob_of(arm).name for arm in self.search_arms]
        return list(dict.fromkeys(varied))

    @property
    def varied_training(self) -> list[str]:
        """Names of the settings that some arm varies of the training."""
        return list(dict.fromkeys(name for arm in self.arms for name in arm.varied_training))

    def trained_with(self, point: Point) -> EvaluationSettings:
        """The settings with which what a search finds is trained from scratch.

        Raises:
            InvalidInput: values that do not go together.
        """
        return dataclasses.replace(self.training.settings, **point.training)

    def searches(self) -> list[SearchConfig]:
        """The configs of all searches that are known before the first one ends, the same at every call."""
        return list({json.dumps(config.to_dict()): config for config, _ in self.planned()}.values())

    def planned(self) -> list[tuple[SearchConfig, EvaluationSettings]]:
        """All searches that are known before the first one ends, each with the settings with which what it finds is
        trained. Points that differ in these alone have one search, which occurs once for each of them."""
        return [
            (self.search_config(arm, point.settings, seed), self.trained_with(point))
            for seed in self.seeds
            for arm in self.search_arms
            if not arm.learns and self.fill is None
            for point in arm.points()
        ]

    def search_config(self, arm: Arm, settings: Settings, seed: int = 0) -> SearchConfig:
        """The config of one search of an arm by a differentiable method, kept to the budget where the method can.

        Raises:
            InvalidInput: the method cannot search the space.
        """
        assert isinstance(settings, TrainingSettings)
        return SearchConfig(
            method=arm.method,
            space=arm.space,
            dataset=self.dataset,
            settings=settings,
            seed=seed,
            budget=self.most_macs,
            data_root=self.execution.data_root,
            **{f"evaluation_{name}": value for name, value in self._evaluated_size(arm).items()},
        )

    def _evaluated_size(self, arm: Arm) -> dict[str, Any]:
        """What the size of the networks depends on that are trained from scratch, or looked up."""
        names = ("channels", "cells", "skeleton")
        if self.table:
            published = tabular_size(arm.cell_space, self.dataset, self.table)
            return {name: getattr(published, name) for name in names}
        return {name: getattr(self.training.settings, name) for name in (*names, "width_budget")}

    def network_size(self, arm: Arm, dataset: Dataset | None) -> NetworkSize:
        """The size of the networks that an arm's architectures are trained as, before a budget makes them narrower.

        Args:
            arm: one of the sweep's.
            dataset: what they are trained on; not needed with a table.
        """
        space, settings = arm.cell_space, self.training.settings
        if self.table:
            return tabular_size(space, self.dataset, self.table)
        assert dataset is not None
        own = arm.settings
        cells = space.evaluation_cells
        if space.cell_per_position and isinstance(own, TrainingSettings):
            cells = own.cells or space.search_cells
        return NetworkSize(
            channels=settings.channels or space.evaluation_channels,
            cells=settings.cells or cells,
            input_shape=dataset.input_shape,
            classes=dataset.classes,
            skeleton=settings.skeleton,
        )

    def cells_of(self, space: CellSpace) -> int:
        """Cells of the networks that black-box searchers propose in a space."""
        if self.table:
            return tabular_size(space, self.dataset, self.table).cells
        return self.training.settings.cells or space.evaluation_cells

    @property
    def search_fidelities(self) -> tuple[int, ...]:
        """The rungs of searches, and the most epochs that one of them has; none without rungs."""
        return (*self.search_rungs, longest(self.search_arms)) if self.search_rungs else ()

    def fidelities(self, space: str) -> tuple[int, ...]:
        """The rungs, and the epochs of a complete training.

        Raises:
            InvalidInput: the table cannot be read, or does not have a rung.
        """
        rungs = self.training.rungs
        if self.table is None:
            return (*rungs, self.training.settings.epochs)
        *below, last = self.table.open(space, self.dataset).epochs
        unknown = [rung for rung in rungs if rung not in below]
        if unknown:
            accepted = ", ".join(map(str, below)) or "none"
            raise InvalidInput(f"rung of {unknown[0]} epochs: expected one of the table's below {last}: {accepted}")
        return (*rungs, last)

    @property
    def fidelity(self) -> Fidelity:
        """What rows of one front were trained with: all trainings, which differ in what arms vary."""
        if self.table is not None:
            return Fidelity((self.table.settings,))
        points = (point for arm in self.arms if arm.varied_training for point in arm.points())
        settings = dict.fromkeys([self.training.settings, *map(self.trained_with, points)])
        drawn = (name for arm in self.arms if arm.is_black_box or arm.learns for name in drawn_of(arm.param_space))
        names = tuple(dict.fromkeys(name.removeprefix(TRAINED) for name in drawn if name.startswith(TRAINED)))
        return Fidelity(tuple(json.dumps(one.to_dict()) for one in settings), names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; its presets are not part of it."""
        values = dataclasses.asdict(dataclasses.replace(self, presets={}))
        del values["presets"]
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same one: everything but the execution, as plain values."""
        values = {name: value for name, value in self.to_dict().items() if name != "execution"}
        return {**values, "learn_from": [name_of_run(where) for where in self.learn_from]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Sweep:
        """A sweep from what :meth:`to_dict` gave.

        Raises:
            InvalidInput: a field that a sweep does not have, or a value that it does not accept.
        """
        check_fields("sweep", cls, values, without=("presets",))
        made = {
            **values,
            "arms": tuple(Arm.of(arm) for arm in values["arms"]),
            "training": Training.of(values.get("training", {})),
            "execution": Execution.of(values.get("execution", {})),
        }
        if values.get("table") is not None:
            made["table"] = AccuracySource.of(values["table"])
        if values.get("fill") is not None:
            made["fill"] = Fill.of(values["fill"])
        if values.get("budget") is not None:
            made["budget"] = Budget(**values["budget"])
        for name in ("seeds", "objectives", "learn_from", "reference", "search_rungs"):
            if values.get(name) is not None:
                made[name] = tuple(values[name])
        return cls(**made)
