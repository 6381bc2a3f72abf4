"""Asynchronous successive halving for several objectives, as a scheduler of Ray Tune.

R. Schmucker, M. Donini, M. B. Zafar, D. Salinas, C. Archambeau, "Multi-objective Asynchronous Successive Halving",
arXiv:2106.12639 (MO-ASHA): in a rung trials are ordered by non-dominated rank, and inside a rank by an epsilon-net
(K. L. Clarkson, "Nearest-neighbor searching and metric space dimensions", 2006): one after another the point that is
farthest from all before it. L. Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
arXiv:1810.05934 (ASHA): the halving.

This is the stopping variant: a trial that reaches a rung continues or is stopped for good, by what the rung holds at
that moment. The promoting variant, which pauses every trial at a rung and takes up the best of them later, is left
out on purpose. In Tune a pause costs a checkpoint and a start, a run in which trials are paused does not end by
itself, and a searcher would not learn what became of a trial before the run's end.

This file imports nothing else of nasray and works in any run of Ray Tune.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import moocore
import numpy as np
import numpy.typing as npt
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

Mode = Literal["min", "max"]
Points_NM = npt.NDArray[np.float64]
"""(points, objectives), all to be minimised."""


def epsilon_net_order(points_NM: Points_NM) -> npt.NDArray[np.intp]:
    """Finite points from the most to the least needed to cover all of them: each is farthest from those before it.

    The first is the best in the first objective, the next ones being decisive where that is equal, as ties between
    distances are. Every objective is scaled to its range over the points (our choice: macs and accuracies have no
    unit in common). Copies of a point come last, in the order of their rows.
    """
    order = np.lexsort(points_NM.T[::-1])
    points = points_NM[order]
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - low) / np.where(high > low, high - low, 1.0)
    distance = np.full(len(points), np.inf)  # squared, to the nearest of those taken
    taken = []
    for _ in range(len(points)):
        taken.append(int(np.argmax(distance)))  # the first of equals
        distance = np.minimum(distance, ((points - points[taken[-1]]) ** 2).sum(axis=1))
        distance[taken] = -1.0
    return order[taken]


def standing(points_NM: Points_NM, row: int) -> tuple[int, int]:
    """Where a row stands among all rows, by non-dominated rank and then by epsilon-net order.

    Returns:
        Its rank (0 is not dominated), and its position in the whole order (0 is the first). Rows with an objective
        that is not finite have the rank behind all others, and follow one another as they come.
    """
    finite = np.asarray(np.isfinite(points_NM).all(axis=1))
    ranks = np.full(len(points_NM), len(points_NM), dtype=np.intp)
    if finite.any():
        ranks[finite] = moocore.pareto_rank(points_NM[finite])
    same = np.flatnonzero(ranks == ranks[row])
    if finite[row]:
        same = same[epsilon_net_order(points_NM[same])]
    return int(ranks[row]), int((ranks < ranks[row]).sum() + np.flatnonzero(same == row)[0])


class Entry(NamedTuple):
    """What a trial showed at a rung."""

    arrival: int
    """How many entries, of any rung, came before it."""
    values: tuple[float, ...]
    """Values of the metrics, in the metrics' order, as reported."""
    kept: bool
    """Whether the trial continued."""


class Record(NamedTuple):
    """What is known of a trial at a rung from an earlier run of the scheduler."""

    trial: str
    """Its name."""
    rung: float
    values: tuple[float, ...]
    """Values of the metrics, in the metrics' order, as reported."""
    stopped: bool | None
    """Whether it was stopped there; None is unknown."""


class ParetoASHA(FIFOScheduler):
    """Stops trials that are not among the best 1/eta of those that reached a rung, by several metrics at once.

    At each rung trials stand in the order of their non-dominated rank and, inside a rank, of an epsilon-net, in which
    the best by the first metric leads. With n trials at the rung, the newcomer included, it is kept if it stands
    among the first floor(n / eta). While those are fewer than the metrics, a trial that is not dominated is also kept
    if it stands among the first as many as there are metrics, so that each end of the first front survives (our
    choice; with one metric it is ASHA's "at least one"). What is kept runs on to the next rung, and is stopped at the
    last one, which ends every trial.

    - A metric may be a constant of the trial (multiply-adds, parameters), if it is reported.
    - A trial with a metric that is NaN or infinite ranks behind all others, and is stopped.
    - A copy of another trial's point comes last in its rank.
    - A trial that reports no result at a rung but later ones is judged by its first result past it. Where that is
      past several rungs, it is judged at the last of these and is no part of the others.
    - A trial that ends at a rung by itself counts there; one that ends between two rungs is no part of the later.
    - A trial that reports a rung again, as after a failure, is not counted again: what was decided stays.

    Nothing is saved. A new scheduler takes up where an earlier one ended by :meth:`refill`. Trials are known by their
    names, ``str(trial)``: ``trial_name_creator`` of ``TuneConfig`` must give a trial of a new run the same one.

    ``metric`` and ``mode`` of ``TuneConfig`` are the searcher's, and may be given or not.

    Args:
        metrics: names of the metrics in a result; of a nested one with slashes.
        modes: "min" or "max" for every metric.
        time_attr: what counts the progress of a trial in a result: whole or real numbers that rise.
        max_t: trials are stopped when ``time_attr`` reaches it. Given without ``rungs``.
        grace_period: the first rung. The others are its multiples by powers of ``reduction_factor`` below ``max_t``.
        reduction_factor: eta: the best 1/eta of the trials continue at a rung. With 3 and rungs of 12 and 200 epochs,
            a few hundred cells of NAS-Bench-201 reach the hypervolume of full training; 4 loses some in small runs.
        rungs: rungs in rising order instead of ``max_t`` and ``grace_period``; the last is where trials end.
        group_of: gives a trial's group by its name: it is compared with those of its own group alone, as where metrics
            of two groups mean different things. None compares all trials.

    Raises:
        ValueError: an argument that does not fit; later, a result at a rung without a metric, or one without
            ``time_attr``.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        modes: Sequence[Mode],
        time_attr: str = "training_iteration",
        max_t: float | None = None,
        grace_period: float = 1,
        reduction_factor: float = 3,
        rungs: Sequence[float] = (),
        group_of: Callable[[str], Hashable] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if isinstance(metrics, str) or not metrics or len(set(metrics)) < len(metrics):
            raise ValueError(f"metrics {metrics!r}: expected a sequence of one or more different names")
        if isinstance(modes, str) or len(modes) != len(metrics) or not set(modes) <= {"min", "max"}:
            raise ValueError(f"modes {modes!r}: expected 'min' or 'max' for each of {len(metrics)} metrics")
        if not reduction_factor > 1:
            raise ValueError(f"reduction_factor {reduction_factor}: expected a value above 1")
        if (max_t is None) == (not rungs):
            raise ValueError(f"max_t {max_t} and rungs {tuple(rungs)}: expected one of the two")
        if max_t is not None:
            if not 0 < grace_period <= max_t:
                raise ValueError(f"grace_period {grace_period}: expected a value above 0, up to max_t {max_t}")
            rungs = [*_geometric(grace_period, reduction_factor, max_t), max_t]
        if min(rungs) <= 0 or any(later <= earlier for earlier, later in itertools.pairwise(rungs)):
            raise ValueError(f"rungs {tuple(rungs)}: expected rising values above 0")
        self.metrics = tuple(metrics)
        self.modes = tuple(modes)
        self.time_attr = time_attr
        self.reduction_factor = reduction_factor
        self.max_t = rungs[-1]
        self._group_of = group_of
        self._rungs: dict[float, dict[str, Entry]] = {rung: {} for rung in rungs[:-1]}
        self._arrivals = 0

    @property
    def rungs(self) -> Mapping[float, Mapping[str, Entry]]:
        """Rungs at which trials are judged (all but the last one) to the entries there by trial name."""
        return self._rungs

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take no notice of the searcher's metric and mode."""
        return True

    def refill(self, records: Iterable[Record]) -> None:
        """Fill the rungs with what trials showed there in earlier runs.

        What was not decided is decided here, by the trials that had arrived before: as it would have been then.

        Args:
            records: in the order in which the trials arrived.

        Raises:
            ValueError: a rung that this scheduler does not have, or another number of values than of metrics.
        """
        for record in records:
            if record.rung not in self._rungs:
                known = ", ".join(f"{rung:g}" for rung in self._rungs) or "none"
                raise ValueError(f"record of trial {record.trial} at rung {record.rung:g}: the rungs are {known}.")
            if len(record.values) != len(self.metrics):
                raise ValueError(
                    f"record of trial {record.trial} with {len(record.values)} values: give one for each of "
                    f"{', '.join(self.metrics)}."
                )
            values = tuple(map(float, record.values))
            kept = self._kept(record.trial, record.rung, values) if record.stopped is None else not record.stopped
            self._enter(record.trial, record.rung, values, kept)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Stop the trial at a rung if it is not kept there, and at ``max_t``."""
        if self.time_attr not in result:
            raise ValueError(
                f"result of trial {trial} without {self.time_attr!r}: ParetoASHA needs its time_attr in every result"
            )
        if result[self.time_attr] >= self.max_t or not self._keep(trial, result):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        """Count the trial at a rung at which it ended by itself: Tune gave its last result to nobody before."""
        if result.get(self.time_attr, self.max_t) < self.max_t:
            self._keep(trial, result)

    def debug_string(self) -> str:
        """One line: how many trials are at each rung, and how many of them continued."""
        told = [f"{sum(e.kept for e in of.values())} of {len(of)} past {rung:g}" for rung, of in self._rungs.items()]
        return f"ParetoASHA: {', '.join(told) or 'no rungs before the end'}"

    def _keep(self, trial: Any, result: Mapping[str, Any]) -> bool:
        """Whether the trial continues; at a new rung it is decided now."""
        name = str(trial)
        reached = [rung for rung in self._rungs if rung <= result[self.time_attr]]
        if not all(self._rungs[rung][name].kept for rung in reached if name in self._rungs[rung]):
            return False
        if not reached or name in self._rungs[reached[-1]]:
            return True
        values = self._values(trial, result)
        kept = self._kept(name, reached[-1], values)
        self._enter(name, reached[-1], values, kept)
        return kept

    def _enter(self, name: str, rung: float, values: tuple[float, ...], kept: bool) -> None:
        self._rungs[rung][name] = Entry(self._arrivals, values, kept)
        self._arrivals += 1

    def _kept(self, name: str, rung: float, newcomer: tuple[float, ...]) -> bool:
        """Whether a trial is kept that comes to a rung after all that are there."""
        there, group_of = self._rungs[rung], self._group_of
        alike = there if group_of is None else [one for one in there if group_of(one) == group_of(name)]
        values = [*(there[one].values for one in alike), newcomer]
        signs = [1.0 if mode == "min" else -1.0 for mode in self.modes]
        rank, position = standing(np.array(values) * signs, len(values) - 1)
        # The last of all stands past these, and so does what is not finite.
        if position < math.floor(len(values) / self.reduction_factor):
            return True
        return rank == 0 and position < len(self.metrics)

    def _values(self, trial: Any, result: Mapping[str, Any]) -> tuple[float, ...]:
        missing = [name for name in self.metrics if name not in result]
        if missing:
            raise ValueError(
                f"result of trial {trial} at {self.time_attr} {result[self.time_attr]} without "
                f"{missing[0]!r}: ParetoASHA needs {', '.join(map(repr, self.metrics))} in a result at a rung"
            )
        return tuple(math.nan if result[name] is None else float(result[name]) for name in self.metrics)


def _geometric(first: float, factor: float, end: float) -> list[float]:
    """first, first * factor, first * factor^2, ... below end."""
    rungs: list[float] = []
    while (rung := first * factor ** len(rungs)) < end:
        rungs.append(rung)
    return rungs
