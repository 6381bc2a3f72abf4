"""Filling a front: values of a method's cost knob at which its searches give candidates near given multiply-adds.

A :class:`Filling` is asked for the knob's next value and told what the search came to, like a searcher. It keeps
nothing on disk: told the same in the same order, with the same searches under way, it asks for the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nasray.errors import InvalidInput
from nasray.searchers.monotone import MonotoneModel
from nasray.settings import Range, check_number

Floats = npt.NDArray[np.float64]

TOLERANCE = 0.05
"""Share of a target by which a candidate may miss it."""
_PARTS = 32
"""Into which a gap between two told values is divided to choose one inside."""
_FINEST = 1 / 2048
"""Of a knob's range: a gap that is narrower is not divided, for the cost jumps there."""
_WHOLE = 1024
"""Most whole values of a knob that are all looked at."""
_UNSURE, _WIDE = 0.2, 1 / 32
"""A target that no value meets with this probability is unsure, and still to be located where the best value for it
lies in a gap wider than this share of the range."""
_HOPELESS = 0.01
"""A target that no value of the knob meets with this probability is given up, unless it lies in a gap that can still be
narrowed."""
_FAILURES = 2
"""A value at which so many searches failed, and none did not, is left."""


@dataclass(frozen=True)
class Probe:
    """A search to run."""

    value: float
    """Of the knob; an int where the knob is whole."""
    turn: int
    """0 for the first search at this value, then 1, 2, ...: each needs another seed, or it would find the same."""


class Filling:
    """Searches of one method, by the value of its cost knob, until each target has a candidate near it.

    The first two are at the ends of the knob's range, beside them runs one in the middle. From then on a search is
    where it is likely to meet most of the targets that are not met yet, by a monotone model of the log cost over the
    knob. The model is of what a search *ends* with: that is what the knob moves, and what a method that passes through
    many costs (gradual pruning) gives last. A target is met by any candidate.

    Of searches under way it is believed that they come to what is expected of them. Each target is sought by one search
    at a time, and one that is still far from located not where another search will soon tell more: so parallel ones
    differ, few are wasted, and there are not always as many as could run.

    Args:
        targets: multiply-adds (M); or how many, then they lie evenly in their logarithm from the cheapest to the
            dearest of what the first searches ended with, and are set once both ends of the range were told.
        knob: its name, for what is said.
        within: its values.
        falls: whether the cost falls as the knob rises.
        searches: most searches, failed ones and those told from elsewhere included.
        tolerance: share of a target by which a candidate may miss it.
        most: multiply-adds (M) above which no candidate counts; a number of targets ends there.

    Raises:
        InvalidInput: no targets, one that is not above zero, a tolerance outside 0 to 1, or no searches.
    """

    def __init__(
        self,
        targets: Sequence[float] | int,
        knob: str,
        within: Range,
        *,
        falls: bool,
        searches: int,
        tolerance: float = TOLERANCE,
        most: float | None = None,
    ) -> None:
        check_number("searches", searches, low=1, whole=True)
        check_number("tolerance", tolerance, above=0.0)
        if tolerance >= 1:
            raise InvalidInput(f"tolerance {tolerance:g}: expected a share of a target below 1")
        if isinstance(targets, int):
            check_number("targets", targets, low=1, whole=True)
        elif not targets:
            raise InvalidInput("No targets: give one or more, in M multiply-adds.")
        else:
            for target in targets:
                check_number("target", target, above=0.0)
        self._wanted = targets if isinstance(targets, int) else None
        self.targets: tuple[float, ...] = () if isinstance(targets, int) else tuple(sorted(set(map(float, targets))))
        """Multiply-adds (M), rising; none while they are still to be set."""
        self.searches, self.tolerance = searches, tolerance
        self._most = math.inf if most is None else most
        self._knob, self._within, self._falls = knob, within, falls
        self._told: list[tuple[Probe, tuple[float, ...]]] = []
        self._learnt: list[tuple[float, float]] = []
        """Value of the knob and last cost of searches elsewhere."""
        self._open: list[Probe] = []
        self._ends = [0.0, 1.0]
        """Places of the range's cheap and dear end; one where searches fail moves inwards."""

    def ask(self) -> Probe | None:
        """The next search; several may be under way at once.

        None where all targets are met, the searches are spent, or nothing more can be reached (:attr:`is_finished`);
        or where all that is worth a search is under way: ask again when one was told.
        """
        if len(self._told) + len(self._open) >= self.searches or (self.targets and not self._missing()):
            return None
        place = self._next_start() if self._starts() else self._most_likely()
        if place is None:
            return None
        value = self._value(place)
        turns = {one.turn for one in [*self._open, *(told for told, _ in self._told)] if one.value == value}
        probe = Probe(value, next(turn for turn in range(len(turns) + 1) if turn not in turns))
        self._open.append(probe)
        return probe

    def resume(self, probe: Probe) -> None:
        """Take a search for one that was asked for: an earlier session began it, and it is still under way.

        Raises:
            InvalidInput: its value lies outside the range.
        """
        self._check(probe)
        self._open.append(probe)

    def tell(self, probe: Probe, macs: Sequence[float]) -> None:
        """Learn what a search came to; also of one that was not asked for.

        Args:
            probe: the search.
            macs: multiply-adds (M) of all its candidates, the last one at the end; none of a search that failed.

        Raises:
            InvalidInput: a cost that is not above zero, or a value outside the range.
        """
        self._check(probe)
        for one in macs:
            check_number("macs", one, above=0.0)
        if probe in self._open:
            self._open.remove(probe)
        self._told.append((probe, tuple(map(float, macs))))
        self._leave_failing_ends()
        self._set_targets()

    def learn(self, value: float, macs: float) -> None:
        """Let the model know what a search elsewhere ended with: it is none of the searches here, and meets no target.

        Args:
            value: of the knob.
            macs: multiply-adds (M) of its final candidate.

        Raises:
            InvalidInput: a cost that is not above zero, or a value outside the range.
        """
        self._check(Probe(value, 0))
        check_number("macs", macs, above=0.0)
        self._learnt.append((value, float(macs)))
        self._set_targets()

    def follow(self, other: Filling) -> None:
        """Seek the targets of another, where it has some: its ends of the range are the ends here too."""
        if other.targets:
            self.targets, self._ends = other.targets, list(other._ends)

    def _set_targets(self) -> None:
        if self._wanted is not None and not self.targets and not self._starts():
            costs = sorted(cost for _, cost in self._modelled())
            cheapest, dearest = costs[0], max(costs[0], min(costs[-1], self._most))
            # Of a knob that moves nothing, or hardly anything, there is no more to ask for.
            wanted = self._wanted if dearest > cheapest * (1 + self.tolerance) else 1
            self.targets = targets_between(cheapest, dearest, wanted)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to run, nor under way."""
        if self._open:
            return False
        if len(self._told) >= self.searches or (self.targets and not self._missing()):
            return True
        return not self._starts() and self._most_likely() is None

    def met(self) -> dict[float, float]:
        """By target that is met the multiply-adds (M) of the candidate nearest to it."""
        nearest = {target: self._nearest(target) for target in self.targets}
        return {target: cost for target, cost in nearest.items() if cost is not None and self._is_met(target, cost)}

    @property
    def is_flat(self) -> bool:
        """Whether the knob moves the cost by less than the tolerance, so that one target is all that was set."""
        return bool(self.targets) and self._wanted is not None and len(self.targets) < self._wanted

    def unmet(self) -> dict[float, str]:
        """By target that is not met, why, in one line. (M multiply-adds)"""
        return {target: self._why(target) for target in self._missing()}

    def _missing(self) -> list[float]:
        met = self.met()
        return [target for target in self.targets if target not in met]

    def _is_met(self, target: float, cost: float) -> bool:
        # A candidate at the very tolerance meets it, whatever the rounding.
        return abs(cost - target) <= self.tolerance * target * (1 + 1e-9)

    def _nearest(self, target: float) -> float | None:
        costs = [cost for _, costs in self._told for cost in costs if cost <= self._most]
        return min(costs, key=lambda cost: abs(cost - target), default=None)

    def _check(self, probe: Probe) -> None:
        low, high = self._within.low, self._within.high
        if not low <= probe.value <= high:
            raise InvalidInput(f"{self._knob} {probe.value:g}: expected a value from {low:g} to {high:g}")

    def _modelled(self) -> list[tuple[float, float]]:
        """Value of the knob and last cost of every search that gave a candidate."""
        return [*self._learnt, *((probe.value, costs[-1]) for probe, costs in self._told if costs)]

    def _place(self, value: float) -> float:
        """Where a value lies in the range, from its cheap end (0) to its dear one (1)."""
        low, high = self._within.low, self._within.high
        if low == high:
            return 0.0
        if self._within.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        along = (value - low) / (high - low)
        return 1.0 - along if self._falls else along

    def _value(self, place: float) -> float:
        low, high = self._within.low, self._within.high
        along = 1.0 - place if self._falls else place
        value = low * (high / low) ** along if self._within.log else low + (high - low) * along
        # Few digits: a command shows them all, and a value comes back from its place as it was.
        return round(value) if self._within.integer else min(max(float(f"{value:.6g}"), low), high)

    def _starts(self) -> bool:
        """Whether an end of the range is still to be told."""
        told = {self._value(self._place(value)) for value, _ in self._modelled()}
        return not {self._value(end) for end in self._ends} <= told

    def _next_start(self) -> float | None:
        """An end that is to be told, or the middle beside them; None where all are under way."""
        known = {probe.value for probe in self._open} | {value for value, _ in self._modelled()}
        for place in (*self._ends, sum(self._ends) / 2):
            value = self._value(place)
            if value not in known and (place in self._ends or not self._fails(value)):
                return place
        return None

    def _fails(self, value: float) -> bool:
        outcomes = [bool(costs) for probe, costs in self._told if probe.value == value]
        return len(outcomes) >= _FAILURES and not any(outcomes)

    def _leave_failing_ends(self) -> None:
        for index in (0, 1):
            while self._fails(self._value(self._ends[index])):
                here, other = self._ends[index], self._ends[1 - index]
                inwards = here + (other - here) / 8
                if self._within.integer and self._value(inwards) == self._value(here):
                    step = self._value(here) + (1 if self._value(other) > self._value(here) else -1)
                    inwards = self._place(step)
                if abs(inwards - here) < _FINEST:
                    return
                self._ends[index] = inwards

    def _model(self) -> MonotoneModel | None:
        """Of what was told, and believed of what is under way; None where nothing was told."""
        told = [(self._place(value), math.log(cost)) for value, cost in self._modelled()]
        if not told:
            return None
        places, costs = map(np.array, zip(*told, strict=True))
        if self._open:
            under_way = np.array([self._place(probe.value) for probe in self._open])
            believed = MonotoneModel(places, costs).mean(under_way)
            places, costs = np.append(places, under_way), np.append(costs, believed)
        return MonotoneModel(places, costs)

    def _most_likely(self) -> float | None:
        """The place where a search is likely to meet most targets; None where none is worth a search now.

        Targets that are still to be located come first, for that serves their neighbours too. A gap that has become
        narrow and is still unsure is a jump: what cannot be reached is left for the end.
        """
        model = self._model()
        if model is None:
            return None
        sought = self._sought(model)
        places = np.array([one for one in self._places(model) if not self._fails(self._value(one))])
        if not len(sought) or not len(places):
            return None
        found_TG = model.probabilities(places, *self._bounds(sought))
        unsure_T = found_TG.max(axis=1) < _UNSURE
        found_TG[np.ix_(unsure_T, self._are_beside_open(places))] = 0.0
        hope_T = np.array([_has_hope(model, places, *one) for one in zip(sought, found_TG, strict=True)])
        if not hope_T.any():
            return None
        to_locate_T = hope_T & unsure_T & (model.gaps(places[found_TG.argmax(axis=1)]) > _WIDE)
        score_G = found_TG[to_locate_T if to_locate_T.any() else hope_T].sum(axis=0)
        return float(places[score_G.argmax()])

    def _are_beside_open(self, places: Floats) -> npt.NDArray[np.bool_]:
        """Which places lie in a gap between two told ones in which a search is under way."""
        told = np.unique([self._place(value) for value, _ in self._modelled()])
        under_way = np.searchsorted(told, [self._place(probe.value) for probe in self._open], side="right")
        return np.isin(np.searchsorted(told, places, side="right"), under_way)

    def _sought(self, model: MonotoneModel) -> list[float]:
        """Targets that are not met, without those nearest to what is believed of the searches under way."""
        left = self._missing()
        for cost in model.mean(np.array([self._place(probe.value) for probe in self._open])):
            if left:
                left.remove(min(left, key=lambda target: abs(math.log(target) - cost)))
        return left

    def _bounds(self, targets: Sequence[float]) -> tuple[Floats, Floats]:
        logs = np.log(np.array(targets))
        return logs + math.log(1 - self.tolerance), logs + math.log(1 + self.tolerance)

    def _places(self, model: MonotoneModel) -> Floats:
        """Where a search may be: every whole value, or the values told and parts of the gaps between them."""
        low, high = self._within.low, self._within.high
        if self._within.integer and high - low < _WHOLE:
            return np.sort([self._place(value) for value in range(math.ceil(low), math.floor(high) + 1)])
        parts = [model.places_K]
        for start, end in zip(model.places_K[:-1], model.places_K[1:], strict=True):
            if end - start > _FINEST:
                parts.append(np.linspace(start, end, _PARTS + 1)[1:-1])
        places = np.concatenate(parts)
        if self._within.integer:
            places = np.array([self._place(self._value(place)) for place in places])
        return np.unique(places)

    def _why(self, target: float) -> str:
        nearest, model = self._nearest(target), self._model()
        if model is None or (nearest is None and self._told):
            return f"no search gave a candidate: {len(self._told)} failed"
        seen = "no search was worth making" if nearest is None else f"the nearest candidate has {nearest:.4g} M"
        (likely_G,) = model.probabilities(places := self._places(model), *self._bounds([target]))
        if _has_hope(model, places, target, likely_G):
            if len(self._told) >= self.searches:
                return f"all {self.searches} searches are spent; {seen}"
            return f"it is still sought; {seen}"
        costs_K = np.exp(model.fitted_K)
        above = int(np.searchsorted(costs_K, target))
        if 0 < above < len(costs_K):
            low, high = (f"{costs_K[k]:.4g} M at {self._said(model.places_K[k])}" for k in (above - 1, above))
            return f"the cost jumps from {low} to {high}, and no value between them is worth a search"
        side, last = ("cheaper", 0) if above == 0 else ("dearer", -1)
        failing = ", and searches beyond fail" if self._ends[last] not in (0.0, 1.0) else ""
        return f"the method gets no {side} than {costs_K[last]:.4g} M, at {self._said(model.places_K[last])}{failing}"

    def _said(self, place: float) -> str:
        return f"{self._knob} {self._value(place):.6g}"


def _has_hope(model: MonotoneModel, places: Floats, target: float, likely_G: Floats) -> bool:
    """Whether a target is likely somewhere, or lies in a gap that can be narrowed, however tall."""
    above = int(np.searchsorted(model.fitted_K, math.log(target)))
    between = 0 < above < len(model.fitted_K) and bool(
        np.any((places > model.places_K[above - 1]) & (places < model.places_K[above]) & (likely_G > 0))
    )
    return between or bool(likely_G.max() >= _HOPELESS)


def targets_between(cheapest: float, dearest: float, count: int) -> tuple[float, ...]:
    """Multiply-adds (M) evenly in their logarithm, both ends among them; of one, their geometric mean.

    Raises:
        InvalidInput: ``cheapest`` is not above zero, exceeds ``dearest``, or there is to be none.
    """
    check_number("cheapest", cheapest, above=0.0)
    check_number("dearest", dearest, low=cheapest)
    check_number("count", count, low=1, whole=True)
    if count == 1:
        return (math.sqrt(cheapest * dearest),)
    return tuple(float(one) for one in np.geomspace(cheapest, dearest, count))
