"""Filling a front: searches whose cost knob is chosen so that a candidate falls near each of some multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasray.errors import InvalidInput, shown
from nasray.methods import CostKnob
from nasray.searchers import Feedback, Proposal, Searcher, SearchProblem, catch_up
from nasray.searchers.filling import TOLERANCE, Filling, Probe
from nasray.settings import as_tuple, check_fields, check_number
from nasray.sweeps.arm import Arm
from nasray.sweeps.points import drawn_of
from nasray.trials.search_config import find_method
from nasray.trials.trial import SEED

_OF_NODES = ("edges_per_node", "operations_per_node")
SEARCHES = 20
"""Most searches of an arm where none are given."""


@dataclass(frozen=True, kw_only=True)
class Fill:
    """What a front is to have.

    Raises:
        InvalidInput: neither or both of ``at`` and ``count``, or a value that is not accepted.
    """

    at: tuple[float, ...] = ()
    """Multiply-adds (M) near which a candidate is wanted."""
    count: int | None = None
    """How many of them, evenly in log multiply-adds, from the cheapest to the dearest that the method reaches."""
    tolerance: float = TOLERANCE
    """Share of a target by which a candidate may miss it."""
    searches: int = SEARCHES
    """Most searches of each arm."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", as_tuple("fill_at", self.at))
        if bool(self.at) == (self.count is not None):
            raise InvalidInput("fill: expected multiply-adds (fill_at 100 200) or how many (fill 8), one of the two")
        for target in self.at:
            check_number("fill_at", target, above=0.0)
        if self.count is not None:
            check_number("fill", self.count, low=1, whole=True)
        check_number("fill_tolerance", self.tolerance, above=0.0)
        if self.tolerance >= 1:
            raise InvalidInput(f"fill_tolerance {shown(self.tolerance)}: expected a share of a target below 1")
        check_number("fill_searches", self.searches, low=1, whole=True)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Fill:
        """From JSON's values.

        Raises:
            InvalidInput: a field that it does not have, or a value that is not accepted.
        """
        check_fields("fill", cls, values)
        return cls(**{**values, "at": tuple(values.get("at", ()))})


def knob_of(arm: Arm) -> CostKnob:
    """The cost knob of an arm's method.

    Raises:
        InvalidInput: it has none, it moves nothing in the arm's space, or the arm varies it, or draws from ranges.
    """
    knob = find_method(arm.method).cost_knob
    if knob is None:
        raise InvalidInput(f"fill: method {arm.method} names no setting that moves cost. Leave its arm out.")
    if knob.name in _OF_NODES and any(graph.one_per_edge for graph in arm.cell_space.cells.values()):
        raise InvalidInput(f"fill: {knob.name} of {arm.method} moves nothing in {arm.space}, one operation an edge.")
    varied = [name for name in (knob.name, *drawn_of(arm.param_space)) if name in arm.param_space]
    if varied:
        raise InvalidInput(
            f"fill: {varied[0]} of {arm.method} is varied. Give it one value: filling chooses {knob.name}."
        )
    return knob


class FillingSearcher(Searcher):
    """A :class:`nasray.searchers.filling.Filling` as a searcher of settings: of the knob, and of the seed of a search
    that repeats a value."""

    def __init__(self, config: Searcher.Config, problem: SearchProblem, fill: Fill, knob: CostKnob) -> None:
        super().__init__(config, problem)
        self._knob = knob
        self.filling = Filling(
            fill.count if fill.count is not None else fill.at,
            knob.name,
            knob.within,
            falls=knob.falls,
            searches=fill.searches,
            tolerance=fill.tolerance,
        )

    @property
    def waits(self) -> bool:
        """Whether there may be a further search once one that is under way has ended."""
        return not self.filling.is_finished

    def ask(self) -> Proposal | None:
        """The next search; None where there is none now."""
        probe = self.filling.ask()
        if probe is None:
            return None
        return Proposal(None, {self._knob.name: probe.value, SEED: self.problem.seed + probe.turn})

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Learn what a search gave."""
        complete = feedback.state == "complete"
        self.filling.tell(self._probe(proposal), [macs for macs, _ in feedback.points] if complete else ())

    def notes(self) -> list[str]:
        """Which targets were not met, and why."""
        met, unmet = self.filling.met(), self.filling.unmet()
        if not met and not unmet:
            return ["no targets were set: no search at an end of the knob's range gave a candidate"]
        said = [f"{len(met)} of {len(met) + len(unmet)} targets met"]
        return said + [f"{target:.4g} M not met: {why}" for target, why in unmet.items()]

    def resume(self, proposal: Proposal) -> None:
        """Take a search of an earlier session for one that was asked for."""
        self.filling.resume(self._probe(proposal))

    def _probe(self, proposal: Proposal) -> Probe:
        return Probe(proposal.settings[self._knob.name], proposal.settings[SEED] - self.problem.seed)


def rebuilt_filling(
    fill: Fill,
    knob: CostKnob,
    problem: SearchProblem,
    told: Sequence[tuple[Proposal, Feedback]],
    first: Sequence[tuple[Proposal, Feedback]],
    under_way: Sequence[Proposal],
) -> FillingSearcher:
    """One that was told results, in order, while others are under way: it then asks for the same. Its model alone knows
    the results of other runs, which come first: a target is met by a candidate of its own."""
    searcher = FillingSearcher(Searcher.Config(evaluations=fill.searches), problem, fill, knob)
    for proposal, feedback in first:
        searcher.filling.learn(proposal.settings[knob.name], feedback.points[-1][0])
    catch_up(searcher, told, under_way)
    return searcher
