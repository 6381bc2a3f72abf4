"""What a trial is, before it runs: a search, or a training from scratch (or its look-up in a table).

A trial is named by what it is, and its digest covers all that it depends on: a driver that goes on with a run finds
its rows, its checkpoints and its outcome by them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from nasray import registry
from nasray.settings import TRAINED
from nasray.spaces import Architecture
from nasray.trials.accuracy_source import AccuracySource
from nasray.trials.evaluation import Evaluation, EvaluationConfig
from nasray.trials.identity import identity
from nasray.trials.lookup import Lookup, tabular_size
from nasray.trials.population import Population
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig

Kind = Literal["searches", "trainings"]
SEED = "seed"
"""Among proposed settings: the seed of a search."""


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """A search.

    Args:
        run: name of the run.
        config: all that the search depends on.
        varied: settings that the sweep varies, each a column of its rows.
        training: settings that a searcher proposed beside the search's own, with which what it finds is trained.
        rungs: epochs at which it may be stopped.
    """

    kind: ClassVar[Kind] = "searches"
    run: str
    config: SearchConfig
    varied: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    rungs: tuple[int, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Digest of all that it depends on, the content of its data and of a user's code included."""
        return _digest({**identity(self.config), **({"training": dict(self.training)} if self.training else {})})

    @property
    def name(self) -> str:
        """Ten hexadecimal digits: the ``trial_id`` of its candidates."""
        return self.digest[:10]

    @property
    def method(self) -> str:
        """Method of the search, as its rows have it."""
        return registry.portable(self.config.method)

    @property
    def space(self) -> str:
        """That is searched."""
        return self.config.space

    @property
    def is_looked_up(self) -> bool:
        """No search is."""
        return False

    def start(self) -> Search:
        """The search before its first epoch.

        Raises:
            InvalidInput: it cannot be searched, or its data are missing.
        """
        return Search(self.config)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {**asdict(self), "config": self.config.to_dict()}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SearchTrial:
        """A trial from what :meth:`to_dict` gave."""
        config = SearchConfig.of(values["config"])
        return cls(**{**values, "config": config, "varied": tuple(values["varied"]), "rungs": tuple(values["rungs"])})


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an architecture that is trained comes from."""

    method: str
    """That found it; several are joined by a comma."""
    search_trial_id: str | None = None
    """Id of the search that found it."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Swept settings of that search."""
    baseline_of: str | None = None
    """Id of the architecture that it is a random baseline of."""


@dataclass(frozen=True, kw_only=True)
class TrainingTrial:
    """A training from scratch, or its look-up in a table.

    Args:
        run: name of the run.
        config: all that the training depends on.
        origin: where its architecture comes from.
        rungs: epochs at which it leaves a row of what is not complete.
        source: the table in which its accuracies are looked up; None trains.
        population: of which it is a member; the settings of its config are then those that it begins with.
    """

    kind: ClassVar[Kind] = "trainings"
    run: str
    config: EvaluationConfig
    origin: Origin
    rungs: tuple[int, ...] = ()
    source: AccuracySource | None = None
    population: Population | None = None

    @cached_property
    def digest(self) -> str:
        """Digest of all that its row depends on, the content of its data and of a user's code included."""
        values = identity(self.config, None if self.source is None else self.source.digest)
        source = None if self.source is None else self.source.settings
        others = {} if self.population is None else {"population": self.population.to_dict()}
        return _digest({**values, "method": portable_methods(self.origin.method), "source": source, **others})

    @property
    def name(self) -> str:
        """Architecture, method, seed, and the first digits of the digest."""
        method = portable_methods(self.origin.method)
        return f"{training_name(self.architecture.id, method, self.config.seed)}_{self.digest[:8]}"

    @property
    def method(self) -> str:
        """That found the architecture, as its rows have it."""
        return portable_methods(self.origin.method)

    @property
    def settings(self) -> str:
        """What its rows have in their column ``settings``: JSON."""
        if self.source is not None:
            return self.source.settings
        own = self.config.settings
        return json.dumps(own.to_dict() if self.population is None else self.population.settings(own))

    @property
    def space(self) -> str:
        """Space of the architecture."""
        return self.config.space

    @property
    def architecture(self) -> Architecture:
        """That is trained."""
        return self.config.architecture

    @property
    def is_looked_up(self) -> bool:
        """Whether it takes no training."""
        return self.source is not None

    def start(self) -> Evaluation | Lookup:
        """The training before its first epoch.

        Raises:
            InvalidInput: the architecture is not of the space, or data or table are missing.
        """
        if self.source is None:
            return Evaluation(self.config)
        table = self.source.open(self.config.space, self.config.dataset)
        return Lookup(table, self.architecture, tabular_size(table.space, self.config.dataset, self.source), self.rungs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "run": self.run,
            "config": self.config.to_dict(),
            "origin": asdict(self.origin),
            "rungs": list(self.rungs),
            "source": None if self.source is None else self.source.to_dict(),
            "population": None if self.population is None else self.population.to_dict(),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TrainingTrial:
        """A trial from what :meth:`to_dict` gave."""
        source, population = values["source"], values["population"]
        made = {
            "config": EvaluationConfig.of(values["config"]),
            "origin": Origin(**values["origin"]),
            "rungs": tuple(values["rungs"]),
            "source": None if source is None else AccuracySource.of(source),
            "population": None if population is None else Population.of(population),
        }
        return cls(**{**values, **made})


Trial = SearchTrial | TrainingTrial


def trial_of(values: Mapping[str, Any]) -> Trial:
    """A trial from what its ``to_dict`` gave."""
    return SearchTrial.of(values) if "varied" in values else TrainingTrial.of(values)


def proposed(shared: Trial, architecture: Architecture | None, settings: Mapping[str, Any]) -> Trial:
    """The trial of what a searcher proposes.

    Args:
        shared: what all its trials have beside what is proposed.
        architecture: that is trained; None of a search.
        settings: values of those that are varied, of the training's under ``training.NAME``, and of the seed of a
            search, where it is proposed too.
    """
    if isinstance(shared, SearchTrial):
        own = {name: value for name, value in settings.items() if name != SEED and not name.startswith(TRAINED)}
        seed = settings.get(SEED, shared.config.seed)
        config = replace(shared.config, settings=replace(shared.config.settings, **own), seed=seed)
        return replace(shared, config=config, training={**shared.training, **_of_training(settings)})
    assert architecture is not None
    trained = _of_training(settings)
    training = replace(shared.config, architecture=architecture, settings=replace(shared.config.settings, **trained))
    return replace(shared, config=training, origin=replace(shared.origin, knobs={**shared.origin.knobs, **settings}))


def _of_training(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(TRAINED): value for name, value in settings.items() if name.startswith(TRAINED)}


def training_name(architecture_id: str, method: str, seed: int | str) -> str:
    """The name of a training but for its digest; `method` as its row has it."""
    return f"{architecture_id}_{path_part(method.replace(', ', '+'))}_{seed}"


def portable_methods(names: str) -> str:
    """Names of methods, joined by a comma, without the folders of those from files."""
    return ", ".join(registry.portable(name) for name in names.split(", "))


def path_part(method: str) -> str:
    """The name of a method as a part of a path: of one from a file its last part, and a digest."""
    method = registry.portable(method)
    if re.fullmatch(r"[\w+-]+", method):
        return method
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", method.rpartition("/")[2])[:40]
    return f"{readable}-{hashlib.sha256(method.encode()).hexdigest()[:8]}"


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
