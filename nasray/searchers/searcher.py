"""What a searcher is: it is asked for architectures, or settings, and told what they came to.

Searchers stand beside the methods: a sweep takes either by name, and both leave rows in the same tables. A searcher
keeps nothing on disk. It is rebuilt by being asked and told again (:func:`rebuilt`).
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from nasray.errors import InvalidInput
from nasray.searchers.parameters import draw, neighbour
from nasray.settings import Choice, Range, Settings, setting
from nasray.spaces import Architecture, CellSpace
from nasray.spaces.encoding import Parameters, decode, encode, parameters
from nasray.spaces.metric import ACCURACY, Metric

Mode = Literal["min", "max"]


def objectives_of(metric: Metric) -> dict[str, Mode]:
    """What can be asked for, and whether more or less of it is better: a task's metric and the costs."""
    return {metric.name: metric.mode, "macs": "min", "params": "min", "latency_ms": "min"}


OBJECTIVES = objectives_of(ACCURACY)
"""Those of classification."""
BASELINE = "random_search"
"""The searcher that stands beside the others."""
EPOCH = "epoch"
"""In results of trials: epochs of training done."""
ENDED = "ended"
"""In results of trials: whether a trial came to its own end."""


@dataclass(frozen=True, kw_only=True)
class SearchProblem:
    """What a searcher searches."""

    space: CellSpace | None
    """Whose architectures are proposed; None where settings alone are."""
    cells: int = 0
    """Cells of the networks that are evaluated."""
    settings: Mapping[str, Range | Choice] = field(default_factory=dict)
    """Settings that are proposed, by name, with what they are drawn from."""
    objectives: Mapping[str, Mode]
    """Names in a result, each with whether less or more is better, in the order of a :class:`Feedback`'s values."""
    epochs: int | None
    """Epochs of a complete evaluation; None where each has its own number, as searches do, and a result says
    (:data:`ENDED`) whether it came to its end."""
    budget: float | None
    """Most multiply-adds (M); None means no budget."""
    macs: Callable[[Architecture], float]
    """Multiply-adds (M) of an architecture at the evaluation size."""
    seed: int

    @cached_property
    def architecture_parameters(self) -> Parameters:
        """The parameters that stand for an architecture (:mod:`nasray.spaces.encoding`); none without a space."""
        return {} if self.space is None else parameters(self.space, self.cells)

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """Random values of all parameters."""
        return draw(self.architecture_parameters, self.settings, generator)

    def neighbour(self, values: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
        """The same values but for one parameter."""
        return neighbour(self.architecture_parameters, self.settings, values, generator)

    def proposal(self, values: Mapping[str, Any], number: int | None = None) -> Proposal:
        """The proposal that values of all parameters stand for."""
        settings = {name: value for name, value in values.items() if name in self.settings}
        if self.space is None:
            return Proposal(None, settings, number)
        own = {name: value for name, value in values.items() if name not in self.settings}
        return Proposal(decode(self.space, own, self.cells), settings, number)

    def values(self, proposal: Proposal) -> dict[str, Any]:
        """The values that stand for a proposal."""
        if self.space is None or proposal.architecture is None:
            return dict(proposal.settings)
        return {**encode(self.space, proposal.architecture), **proposal.settings}

    def excess(self, proposal: Proposal) -> float:
        """Multiply-adds (M) above the budget; zero and below are within it. What an architecture costs is known before
        it is trained, and what a search will find is not."""
        if self.budget is None or proposal.architecture is None:
            return 0.0
        return self.macs(proposal.architecture) - self.budget


@dataclass(frozen=True)
class Proposal:
    """An architecture, settings, or both, and by what the searcher that proposed them recognises them."""

    architecture: Architecture | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values by name."""
    number: int | None = None
    """Number of the searcher's own proposal; None for what it did not propose."""

    @cached_property
    def key(self) -> str:
        """What is proposed, as JSON: the same for the same, whoever proposes it."""
        architecture = None if self.architecture is None else json.loads(self.architecture.to_json())
        return json.dumps({"architecture": architecture, "settings": dict(self.settings)}, sort_keys=True)

    @classmethod
    def of(cls, key: str, space: CellSpace | None) -> Proposal:
        """A proposal from its key.

        Raises:
            InvalidInput: it is none of the space.
        """
        values = json.loads(key)
        architecture = values["architecture"]
        found = None if space is None else Architecture.from_json(space, json.dumps(architecture))
        return cls(found, values["settings"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """What a searcher is told of a proposal."""

    state: Literal["complete", "pruned", "failed"]
    """Pruned means stopped before its last epoch, failed means without a usable result."""
    values: tuple[float, ...] = ()
    """Objectives of a complete trial, in the problem's order."""
    constraints: Mapping[str, float] = field(default_factory=dict)
    """How far each bounded quantity lies above its bound; zero and below are within it. None of a failed one."""
    points: tuple[tuple[float, float], ...] = ()
    """Multiply-adds (M) and accuracy of all that a search gave, its final architecture last."""


Known = tuple[str, Mapping[str, Any]]
"""Key of a proposal, and the last result of its trial."""


class Searcher(ABC):
    """A way of proposing architectures, settings, or both.

    A subclass is found through the entry points ``nasray.searchers``, or as ``file.py:NAME``. It proposes by what it
    was told and by a generator of its own that begins at the problem's seed, and by nothing else: asked and told the
    same, it proposes the same.

    Args:
        config: of the subclass's own ``Config``.
        problem: what is searched.
    """

    learns: ClassVar[bool] = True
    """Whether what it proposes depends on what it was told."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Settings):
        """Settings of every searcher."""

        evaluations: int = setting(100, low=1)
        """Number of proposals."""

    def __init__(self, config: Config, problem: SearchProblem) -> None:
        self.config = config
        self.problem = problem

    @abstractmethod
    def ask(self) -> Proposal | None:
        """The next proposal; several may be open at once. None where the searcher has no further one, or
        (:attr:`waits`) none before one that is open was told."""

    @property
    def waits(self) -> bool:
        """Whether there may be a further proposal once one that is open was told."""
        return False

    def notes(self) -> list[str]:
        """What is to be said once all proposals were told, each in a line."""
        return []

    def resume(self, proposal: Proposal) -> None:
        """Take what an earlier session proposed, and is still under way, for a proposal that is open. Most searchers
        need not know: they are told of it when it ends."""
        return None

    @abstractmethod
    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Learn what a proposal came to, or an architecture that another searcher proposed.

        Raises:
            InvalidInput: another number of values than of objectives.
        """


def feedback_of(
    result: Mapping[str, Any] | None,
    *,
    objectives: Iterable[str],
    epochs: float | None,
    budget: float | None,
    error: bool = False,
    time_attr: str = EPOCH,
) -> Feedback:
    """What a searcher is told of a trial that ended.

    It is complete if it reached its last epoch, pruned if it was stopped before: its figures belong to another
    fidelity. It failed if it raised an error, did nothing though it was within the budget, or if an objective or its
    cost is missing or not a number.

    Args:
        result: the trial's last one; None or empty if it ended before it began.
        objectives: names of the objectives in a result.
        epochs: of a complete evaluation; None where the result says whether it is one.
        budget: largest multiply-adds (M).
        error: whether the trial raised an error.
        time_attr: what counts epochs in a result.
    """
    if error:
        return Feedback(state="failed")
    if not result:
        return Feedback(state="pruned")
    if _is_missing(result, time_attr) or (budget is not None and _is_missing(result, "macs")):
        return Feedback(state="failed")
    constraints = {} if budget is None else {"macs": float(result["macs"]) - budget}
    points = tuple((float(macs), float(accuracy)) for macs, accuracy in result.get("points", ()))
    if result[time_attr] < epochs if epochs is not None else not result.get(ENDED):
        refused = result[time_attr] <= 0 and not any(above > 0 for above in constraints.values())
        return Feedback(state="failed") if refused else Feedback(state="pruned", constraints=constraints)
    names = tuple(objectives)
    if any(_is_missing(result, name) for name in names):
        return Feedback(state="failed")
    values = tuple(float(result[name]) for name in names)
    return Feedback(state="complete", values=values, constraints=constraints, points=points)


def _is_missing(result: Mapping[str, Any], name: str) -> bool:
    value = result.get(name)
    return value is None or math.isnan(value)


def rebuilt(
    kind: type[Searcher],
    config: Searcher.Config,
    problem: SearchProblem,
    told: Iterable[tuple[Proposal, Feedback]],
    under_way: Sequence[Proposal] = (),
) -> Searcher:
    """A searcher that continues from earlier results, whoever proposed them.

    Its random numbers are not those that the other would have drawn next: they follow from the problem's seed and from
    how many proposals there were. Where every result is known beforehand, as in a table, a new searcher with the same
    seed that is asked and told again proposes the very same.

    Args:
        kind: the searcher's class.
        config: its settings.
        problem: what is searched, with the seed of the whole search.
        told: proposals with what they came to, in the order in which they were told.
        under_way: proposals that were made and not told yet.
    """
    results = list(told)
    searcher = kind(config, replace(problem, seed=seed_after(problem.seed, len(results) + len(under_way))))
    catch_up(searcher, results, under_way)
    return searcher


def catch_up(searcher: Searcher, told: Iterable[tuple[Proposal, Feedback]], under_way: Iterable[Proposal] = ()) -> None:
    """Tell a new searcher earlier results, in order, and what is under way."""
    for proposal, feedback in told:
        searcher.tell(replace(proposal, number=None), feedback)
    for proposal in under_way:
        searcher.resume(replace(proposal, number=None))


def seed_after(seed: int, proposals: int) -> int:
    """Seed of a searcher that continues after so many proposals; the seed itself after none."""
    return int(np.random.SeedSequence([seed, proposals]).generate_state(1)[0]) if proposals else seed


def check_values(feedback: Feedback, problem: SearchProblem) -> None:
    """Refuse a complete result with another number of values than the problem has objectives.

    Raises:
        InvalidInput: it has.
    """
    if feedback.state == "complete" and len(feedback.values) != len(problem.objectives):
        raise InvalidInput(
            f"{len(feedback.values)} values for {len(problem.objectives)} objectives: give one for each of "
            f"{', '.join(problem.objectives)}."
        )
