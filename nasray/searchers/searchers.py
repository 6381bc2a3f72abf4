"""Black-box searchers: they propose architectures, and see no more of one than what its evaluation came to.

They stand beside the methods: a sweep takes either by name, and both leave rows in the same tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from nasray import registry
from nasray.errors import InvalidInput
from nasray.settings import Settings, setting
from nasray.spaces import Architecture, CellSpace
from nasray.spaces.encoding import parameters
from nasray.spaces.metric import ACCURACY, Metric

if TYPE_CHECKING:
    from ray.tune.search import Searcher as TuneSearcher


def objectives_of(metric: Metric) -> dict[str, Literal["min", "max"]]:
    """What can be asked for, and whether more or less of it is better: a task's metric and the costs."""
    return {metric.name: metric.mode, "macs": "min", "params": "min", "latency_ms": "min"}


OBJECTIVES = objectives_of(ACCURACY)
"""Those of classification."""
BASELINE = "random_search"
"""The searcher that stands beside the others."""
EPOCH = "epoch"
"""In the results of trials: the epochs of training that they are of."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a searcher searches."""

    space: CellSpace
    cells: int
    """Positions of the networks that are evaluated."""
    objectives: tuple[str, ...]
    """Of :data:`OBJECTIVES`."""
    epochs: int
    """Of a complete evaluation."""
    budget: float | None
    """Largest multiply-adds (M)."""
    macs: Callable[[Architecture], float]
    """M, at the evaluation size."""
    seed: int


class Searcher(ABC):
    """A way of proposing architectures."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Settings):
        """Settings of every searcher."""

        evaluations: int = setting(100, low=1)
        """Architectures that are proposed."""

    @classmethod
    @abstractmethod
    def make(cls, config: Config, task: Task) -> TuneSearcher:
        """A searcher of Ray Tune whose trials' configs are the parameters of an architecture (see
        :mod:`nasray.spaces.encoding`), or hold it as JSON under ``architecture``."""


class _OptunaSampler(Searcher):
    """One of Optuna's samplers, over the categorical parameters of architectures."""

    sampler: ClassVar[str]

    @classmethod
    def make(cls, config: Searcher.Config, task: Task) -> TuneSearcher:
        """A searcher that tells Optuna what exceeds the budget as a constraint, and what was stopped as pruned."""
        import optuna

        from nasray.tune.optuna_search import ParetoOptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return ParetoOptunaSearch(
            {
                name: optuna.distributions.CategoricalDistribution(values)
                for name, values in parameters(task.space, task.cells).items()
            },
            metrics=task.objectives,
            modes=[OBJECTIVES[name] for name in task.objectives],
            max_t=task.epochs,
            time_attr=EPOCH,
            sampler=cls.sampler,
            seed=task.seed,
            upper_bounds=None if task.budget is None else {"macs": task.budget},
        )


class TPE(_OptunaSampler):
    """Tree-structured Parzen estimators for several objectives, Optuna's (Ozaki et al., GECCO 2020)."""

    sampler = "tpe"


class GP(_OptunaSampler):
    """Gaussian processes, Optuna's: for evaluations that take minutes, for it takes seconds itself."""

    sampler = "gp"


class NSGA2(_OptunaSampler):
    """NSGA-II, Optuna's (Deb et al., 2002)."""

    sampler = "nsga2"


class NSGA3(_OptunaSampler):
    """NSGA-III, Optuna's (Deb and Jain, 2014): for three objectives and more."""

    sampler = "nsga3"


class Evolution(Searcher):
    """Regularised evolution for several objectives (Real et al., AAAI 2019)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Searcher.Config):
        """Settings of regularised evolution."""

        population: int = setting(100, low=1)
        """P: how many of the last evaluated architectures are alive."""
        sample: int = setting(100, low=1)
        """S: how many of them are drawn, of which one is the parent."""
        initial: int = setting(20, low=1)
        """Architectures that are drawn at random before the first is mutated."""

    @classmethod
    def make(cls, config: Searcher.Config, task: Task) -> TuneSearcher:
        """A searcher that proposes within the budget only, and nothing twice."""
        assert isinstance(config, cls.Config)
        return _evolution(config.population, config.sample, config.initial, task)


class RandomSearch(Searcher):
    """Random architectures, none twice: the baseline of the other searchers."""

    @classmethod
    def make(cls, config: Searcher.Config, task: Task) -> TuneSearcher:
        """A searcher that proposes within the budget only: evolution that never begins to mutate."""
        return _evolution(1, 1, config.evaluations + 1, task)


def _evolution(population: int, sample: int, initial: int, task: Task) -> TuneSearcher:
    from nasray.searchers.evolution import RegularisedEvolution
    from nasray.tune.evolution_search import EvolutionSearch

    budget = task.budget
    return EvolutionSearch(
        RegularisedEvolution(
            task.space,
            task.cells,
            [OBJECTIVES[name] for name in task.objectives],
            violation=None if budget is None else lambda architecture: task.macs(architecture) - budget,
            population=population,
            sample=sample,
            initial=initial,
            seed=task.seed,
        ),
        metrics=task.objectives,
        max_t=task.epochs,
        time_attr=EPOCH,
    )


def find_searcher(name: str) -> type[Searcher]:
    """A searcher's class by its name.

    Raises:
        InvalidInput: there is none, or what is there is no searcher.
    """
    found = registry.find("searcher", name)
    if not (isinstance(found, type) and issubclass(found, Searcher)):
        raise InvalidInput(
            f"searcher {name!r} is {found!r}: accepted is a subclass of nasray.searchers.searchers.Searcher"
        )
    return found


def is_searcher(name: str) -> bool:
    """Whether a name is a searcher's rather than a method's."""
    if ".py:" in name:
        found = registry.find("searcher", name)
        return isinstance(found, type) and issubclass(found, Searcher)
    return name in registry.names("searcher")
