"""Searches of differentiable methods whose settings a searcher chooses, by what the searches before were worth.

A search gives several candidates, so that what it is worth has to be said: by default the hypervolume of its own
candidates from the run's reference point, a single number that rises with each of them that is cheap or accurate; else
what it adds to the hypervolume of all searches; else the metric and the multiply-adds of its final architecture, for
searchers of several objectives. Searches run at once; what a searcher proposes then depends on the order in which they
end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from nasray import registry
from nasray.fronts import hypervolume
from nasray.runs.outcomes import Point as Gave
from nasray.searchers import (
    Feedback,
    Known,
    Mode,
    Proposal,
    Searcher,
    SearchProblem,
    catch_up,
    feedback_of,
    find_searcher,
    rebuilt,
)
from nasray.settings import Choice, Range, Settings
from nasray.sweeps.accepted import Worth
from nasray.sweeps.arm import Arm
from nasray.sweeps.fill import Fill, knob_of, rebuilt_filling
from nasray.sweeps.gains import GainSearcher
from nasray.sweeps.points import drawn_of
from nasray.sweeps.sweep import Sweep
from nasray.trials.trial import SearchTrial
from nasray.tune.phase import Proposing

OBJECTIVES_OF: Mapping[Worth, Mapping[str, Mode]] = {
    "hypervolume": {"hypervolume": "max"},
    "gain": {"hypervolume": "max"},
    "final": {"accuracy": "max", "macs": "min"},
}
"""What a searcher of settings is told of a search, by what searches are worth."""


@dataclass(frozen=True)
class Learner:
    """One searcher of an arm's settings, for one seed; or for all of them, where it fills a front."""

    arm: Arm
    settings: Settings
    """Of all its searches, but for the values that it chooses."""
    seeds: tuple[int, ...]
    fill: Fill | None = None
    """What a front is to have, where that says which values it chooses."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings with which what its searches find is trained, where the arm has several values of them."""

    @property
    def name(self) -> str:
        """Ten hexadecimal digits, made of all that it depends on."""
        drawn = {name: repr(one) for name, one in drawn_of(self.arm.param_space).items()}
        names = [registry.portable(one) for one in (self.arm.method, self.arm.space, self.arm.searcher)]
        values = [
            *names,
            self.settings.to_dict(),
            drawn,
            self.searches,
            self.seeds,
            repr(self.fill),
            dict(self.training),
        ]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def searches(self) -> int:
        """How many searches it makes at most."""
        return self.arm.samples if self.fill is None else self.fill.searches * len(self.seeds)

    @property
    def chosen(self) -> dict[str, Range | Choice]:
        """The settings whose values it chooses, with what they are drawn from."""
        if self.fill is None:
            return drawn_of(self.arm.param_space)
        knob = knob_of(self.arm)
        return {knob.name: knob.within}

    @property
    def learns(self) -> bool:
        """Whether what it chooses depends on what it was told."""
        return self.fill is not None or self.arm.is_told

    @property
    def chooser(self) -> str:
        """Who chooses, and for what, in words."""
        who = "filling" if self.fill is not None else registry.portable(self.arm.searcher)
        return f"{who} for {registry.portable(self.arm.method)} on {registry.portable(self.arm.space)}"

    def searcher(
        self,
        sweep: Sweep,
        reference: tuple[float, float],
        told: Sequence[tuple[Proposal, Feedback]] = (),
        under_way: Sequence[Proposal] = (),
        first: Sequence[tuple[Proposal, Feedback]] = (),
    ) -> Searcher:
        """What chooses, as it stands once it was told results.

        Args:
            sweep: that it is of.
            reference: the run's reference point: multiply-adds (M), accuracy.
            told: proposals with what they came to, in order.
            under_way: proposals that were made and not told yet.
            first: those of other runs, which were told before.
        """
        problem = SearchProblem(
            space=None,
            settings=self.chosen,
            objectives=OBJECTIVES_OF[sweep.worth],
            epochs=None,
            budget=sweep.most_macs,
            macs=_of_no_architecture,
            seed=self.seeds[0],
        )
        if self.fill is not None:
            return rebuilt_filling(self.fill, knob_of(self.arm), problem, self.seeds, told, first, under_way)
        kind = find_searcher(self.arm.searcher)
        config = kind.Config(evaluations=self.arm.samples)
        if sweep.worth != "gain":
            return rebuilt(kind, config, problem, [*first, *told], under_way)
        searcher = GainSearcher(config, problem, partial(rebuilt, kind, config, problem), reference, sweep.most_macs)
        catch_up(searcher, [*first, *told], under_way)
        return searcher

    def proposing(self, sweep: Sweep, reference: tuple[float, float], known: Iterable[Known] = ()) -> Proposing:
        """Who proposes in a phase, and what all its searches share.

        Args:
            sweep: that it is of.
            reference: the run's reference point: multiply-adds (M), accuracy.
            known: results of other runs.
        """
        config = sweep.search_config(self.arm, self.settings, self.seeds[0])
        objectives, worth = OBJECTIVES_OF[sweep.worth], worth_of(sweep.worth, reference, sweep.most_macs)
        first = []
        for key, result in known:
            valued = {**result, **worth([(macs, accuracy) for macs, accuracy in result["points"]])}
            feedback = feedback_of(valued, objectives=objectives, epochs=None, budget=None)
            first.append((Proposal.of(key, None), feedback))
        return Proposing(
            searcher=partial(self.searcher, sweep, reference, first=first),
            evaluations=self.searches,
            shared=SearchTrial(
                run=sweep.name,
                config=config,
                varied=tuple(sweep.varied),
                training=self.training,
                rungs=sweep.search_rungs,
            ),
            cells=0,
            chooser=self.chooser,
            worth=worth,
        )


def learners(sweep: Sweep) -> list[Learner]:
    """Those of a sweep: of each arm that learns one for each seed and combination of its tuples. Where a front is
    filled they are shared over the seeds."""
    if sweep.fill is not None:
        arms = ((arm, point) for arm in sweep.search_arms for point in arm.grid())
        return [Learner(arm, point.settings, sweep.seeds, sweep.fill, point.training) for arm, point in arms]
    return [
        Learner(arm, point.settings, (seed,), training=point.training)
        for seed in sweep.seeds
        for arm in sweep.search_arms
        if arm.learns
        for point in arm.grid()
    ]


def worth_of(
    worth: Worth, reference: tuple[float, float], budget: float | None
) -> Callable[[Sequence[Gave]], dict[str, float]]:
    """What gives the objectives of a search by what it gave.

    Args:
        worth: what searches are worth.
        reference: multiply-adds (M) and accuracy of the hypervolume's reference point.
        budget: most multiply-adds (M) of what counts; None is any.
    """
    return _final if worth == "final" else partial(_hypervolume, reference, budget)


def _hypervolume(reference: tuple[float, float], budget: float | None, gave: Sequence[Gave]) -> dict[str, float]:
    points = pd.DataFrame([one for one in gave if budget is None or one[0] <= budget], columns=["macs", "accuracy"])
    return {"hypervolume": hypervolume(points, reference) if len(points) else 0.0}


def _final(gave: Sequence[Gave]) -> dict[str, float]:
    macs, accuracy = gave[-1]
    return {"accuracy": accuracy, "macs": macs}


def _of_no_architecture(_: Any) -> float:
    return 0.0
