"""Filling a front: searches whose cost knob is chosen so that a candidate falls near each of some multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasray.errors import InvalidInput, shown
from nasray.methods import CostKnob
from nasray.searchers import Feedback, Proposal, Searcher, SearchProblem, catch_up
from nasray.searchers.filling import TOLERANCE, Filling, Probe
from nasray.settings import TRAINED, Choice, Range, as_tuple, check_fields, check_number
from nasray.sweeps.arm import Arm
from nasray.sweeps.points import drawn_of
from nasray.trials.search_config import find_method
from nasray.trials.trial import SEED

FILL = ("fill", "fill_at", "fill_tolerance", "fill_searches")
"""Options that say near which multiply-adds candidates are wanted."""
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
    """Most searches of each arm, for each seed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", as_tuple("fill_at", self.at))
        if bool(self.at) == (self.count is not None):
            raise InvalidInput("fill: expected multiply-adds (fill_at 100 200) or how many (fill 8), one of the two")
        for target in self.at:
            check_number("fill_at", target, above=0.0)
        if self.count is not None:
            check_number("fill", self.count, low=1, whole=True)
            check_number(
                "fill_searches", self.searches, low=2, whole=True, words="one at each end of the knob's range, "
            )
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


def fill_of(before: Fill | None, options: Mapping[str, Any]) -> Fill:
    """What a front is to have.

    Args:
        before: what it was to have, whose values hold where none are given.
        options: ``fill`` (how many), ``fill_at`` (M), ``fill_tolerance``, ``fill_searches``.

    Raises:
        InvalidInput: a value that is not accepted.
    """
    names = {"fill": "count", "fill_at": "at", "fill_tolerance": "tolerance", "fill_searches": "searches"}
    given = {names[name]: options[name] for name in FILL if options.get(name) is not None}
    kept: dict[str, Any] = {}
    if before is not None:
        kept = {"tolerance": before.tolerance, "searches": before.searches}
        if not {"count", "at"} & set(given):
            kept |= {"count": before.count, "at": before.at}
    return Fill(**kept | given)


def check_free(arms: Sequence[Arm], options: Mapping[str, Any]) -> None:
    """Refuse options that say what filling a front chooses, or who chooses it.

    Args:
        arms: of the sweep.
        options: all that are given, by name.

    Raises:
        InvalidInput: of what is not to be chosen twice.
    """
    own = (find_method(arm.method).cost_knob for arm in arms if not arm.is_black_box)
    knobs = {knob.name for knob in own if knob is not None}
    for name, value in options.items():
        if name in knobs:
            raise InvalidInput(f"{name} with fill, which chooses it. Leave one of the two out.")
        if isinstance(value, Range | Choice):
            raise InvalidInput(
                f"{name} over a range, with fill: only {' and '.join(sorted(knobs))} is chosen. Give one value."
            )
        if name in ("draws", "searcher") and value is not None:
            raise InvalidInput(
                f"{name} with fill, which chooses by itself and takes fill_searches. Leave one of the two out."
            )


def knob_of(arm: Arm) -> CostKnob:
    """The cost knob of an arm's method.

    Raises:
        InvalidInput: it has none, or one that its settings do not accept; it moves nothing in the arm's space; the arm
            varies it, draws from ranges, or varies the training.
    """
    knob = find_method(arm.method).cost_knob
    if knob is None:
        raise InvalidInput(f"fill: method {arm.method} names no setting that moves cost. Leave its arm out.")
    if knob.name in _OF_NODES and any(graph.one_per_edge for graph in arm.cell_space.cells.values()):
        raise InvalidInput(f"fill: {knob.name} of {arm.method} moves nothing in {arm.space}, one operation an edge.")
    try:
        for value in (knob.within.low, knob.within.high):
            type(arm.settings).of({knob.name: value})
    except InvalidInput as error:
        raise InvalidInput(
            f"fill: the cost knob of {arm.method} is none of its settings, or too wide: {error}"
        ) from None
    trained = [name for name in arm.param_space if name.startswith(TRAINED)]
    varied = [name for name in (knob.name, *drawn_of(arm.param_space), *trained) if name in arm.param_space]
    if varied:
        raise InvalidInput(
            f"fill: {varied[0]} of {arm.method} is varied. Give it one value: filling chooses {knob.name}."
        )
    return knob


class FillingSearcher(Searcher):
    """A :class:`nasray.searchers.filling.Filling` for each seed as one searcher of settings: of the knob and the seed.

    The targets are the same for all seeds, and each is to be met for every one of them. What a search of one seed came
    to is known to the models of the others, so that each later seed needs fewer searches. A search that repeats a value
    has a seed that no other has.
    """

    def __init__(
        self, config: Searcher.Config, problem: SearchProblem, fill: Fill, knob: CostKnob, seeds: Sequence[int]
    ) -> None:
        super().__init__(config, problem)
        self._knob, self._seeds = knob, tuple(seeds)
        self._stride = max(seeds) - min(seeds) + 1
        self.fillings = tuple(
            Filling(
                fill.count if fill.count is not None else fill.at,
                knob.name,
                knob.within,
                falls=knob.falls,
                searches=fill.searches,
                tolerance=fill.tolerance,
                most=problem.budget,
            )
            for _ in seeds
        )

    @property
    def waits(self) -> bool:
        """Whether there may be a further search once one that is under way has ended."""
        return not all(one.is_finished for one in self.fillings)

    def ask(self) -> Proposal | None:
        """The next search, of the first seed that has one; None where there is none now."""
        for seed, filling in zip(self._seeds, self.fillings, strict=True):
            if probe := filling.ask():
                return Proposal(None, {self._knob.name: probe.value, SEED: seed + probe.turn * self._stride})
            if not filling.targets and not filling.is_finished:
                return None  # the first seed's ends set them for all
        return None

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Learn what a search gave."""
        gave = [macs for macs, _ in feedback.points] if feedback.state == "complete" else []
        place, probe = self._probe(proposal)
        self.fillings[place].tell(probe, gave)
        for other in self.fillings if gave else ():
            if other is not self.fillings[place]:
                other.learn(probe.value, gave[-1])
            other.follow(self.fillings[0])

    def learn(self, value: float, macs: float) -> None:
        """Let the models know what a search of another run ended with."""
        for filling in self.fillings:
            filling.learn(value, macs)

    def notes(self) -> list[str]:
        """Which targets were not met, and why."""
        said: list[str] = []
        for seed, filling in zip(self._seeds, self.fillings, strict=True):
            met, unmet = filling.met(), filling.unmet()
            of = f"seed {seed}: " if len(self._seeds) > 1 else ""
            if not met and not unmet:
                said.append(f"{of}no targets were set: no search at an end of the knob's range gave a candidate")
                continue
            said.append(f"{of}{len(met)} of {len(met) + len(unmet)} targets met")
            if filling.is_flat:
                said.append(f"{of}{self._knob.name} hardly moves the cost here: one target is all that there is")
            said += [f"{of}{target:.4g} M not met: {why}" for target, why in unmet.items()]
        return said

    def resume(self, proposal: Proposal) -> None:
        """Take a search of an earlier session for one that was asked for."""
        place, probe = self._probe(proposal)
        self.fillings[place].resume(probe)

    def _probe(self, proposal: Proposal) -> tuple[int, Probe]:
        """Place of the seed among the sweep's, and the search."""
        seed = proposal.settings[SEED]
        place = next(n for n, own in enumerate(self._seeds) if (seed - own) % self._stride == 0)
        return place, Probe(proposal.settings[self._knob.name], (seed - self._seeds[place]) // self._stride)


def rebuilt_filling(
    fill: Fill,
    knob: CostKnob,
    problem: SearchProblem,
    seeds: Sequence[int],
    told: Sequence[tuple[Proposal, Feedback]],
    first: Sequence[tuple[Proposal, Feedback]],
    under_way: Sequence[Proposal],
) -> FillingSearcher:
    """One that was told results, in order, while others are under way: it then asks for the same. Its model alone knows
    the results of other runs, which come first: a target is met by a candidate of its own."""
    config = Searcher.Config(evaluations=fill.searches * len(seeds))
    searcher = FillingSearcher(config, problem, fill, knob, seeds)
    for proposal, feedback in first:
        searcher.learn(proposal.settings[knob.name], feedback.points[-1][0])
    catch_up(searcher, told, under_way)
    return searcher
