"""Black-box searches of a sweep: who proposes, what its trials share, and the random one beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from nasray import registry
from nasray.costs import macs
from nasray.searchers import (
    BASELINE,
    Feedback,
    Known,
    Proposal,
    Searcher,
    SearchProblem,
    feedback_of,
    find_searcher,
    rebuilt,
)
from nasray.settings import Choice, Range
from nasray.spaces import Architecture, CellSpace
from nasray.spaces.encoding import decode, parameters, sample
from nasray.sweeps.arm import Arm, Point
from nasray.sweeps.points import drawn_of
from nasray.sweeps.selection import trained_size, training_trial
from nasray.sweeps.sweep import Sweep
from nasray.trials.trial import Origin
from nasray.tune.phase import Proposing


@dataclass(frozen=True)
class Proposals:
    """One black-box search."""

    method: str
    """The searcher's name."""
    space: str
    settings: Searcher.Config
    seed: int
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the training, where the arm has several values of them."""
    drawn: Mapping[str, Range | Choice] = field(default_factory=dict)
    """Settings of the training that it proposes beside the architecture, as ``training.NAME``."""

    @property
    def evaluations(self) -> int:
        """How many architectures it proposes."""
        return self.settings.evaluations

    @property
    def cell_space(self) -> CellSpace:
        """The search space behind the name."""
        found: CellSpace = registry.find("space", self.space, CellSpace)
        return found

    @property
    def trial_id(self) -> str:
        """Ten hexadecimal digits that name the search by all that it depends on."""
        names = map(registry.portable, (self.method, self.space))
        values = [*names, self.settings.to_dict(), self.seed, *([self.training] if self.training else [])]
        values += [{name: repr(one) for name, one in self.drawn.items()}] if self.drawn else []
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def chooser(self) -> str:
        """Who proposes, and in what space, in words."""
        return f"{registry.portable(self.method)} on {registry.portable(self.space)}"

    @property
    def learns(self) -> bool:
        """Whether what it proposes depends on what it was told."""
        return find_searcher(self.method).learns

    def searcher(
        self,
        sweep: Sweep,
        told: Sequence[tuple[Proposal, Feedback]] = (),
        under_way: Sequence[Proposal] = (),
        first: Sequence[tuple[Proposal, Feedback]] = (),
    ) -> Searcher:
        """What proposes, as it stands once it was told results, in order, while others are under way.

        Args:
            sweep: that it is of.
            told: proposals with what they came to, in order.
            under_way: proposals that were made and not told yet.
            first: those of other runs, which were told before.
        """
        space = self.cell_space

        def cost(architecture: Architecture) -> float:
            return macs(space, architecture, trained_size(sweep, space, architecture))

        problem = SearchProblem(
            space=space,
            cells=sweep.cells_of(space),
            settings=self.drawn,
            objectives=sweep.modes,
            epochs=sweep.fidelities(self.space)[-1],
            budget=sweep.most_macs,
            macs=cost,
            seed=self.seed,
        )
        return rebuilt(find_searcher(self.method), self.settings, problem, [*first, *told], under_way)

    def proposing(self, sweep: Sweep, known: Iterable[Known] = ()) -> Proposing:
        """Who proposes in a phase, and what all its trials share.

        Args:
            sweep: that it is of.
            known: results of other runs.
        """
        epochs = sweep.fidelities(self.space)[-1]
        first = [
            (
                Proposal.of(key, self.cell_space),
                feedback_of(result, objectives=sweep.modes, epochs=epochs, budget=sweep.most_macs),
            )
            for key, result in known
        ]
        origin = Origin(method=self.method, search_trial_id=self.trial_id)
        space, cells = self.cell_space, sweep.cells_of(self.cell_space)
        # In whose place the proposed ones are put.
        some = decode(space, sample(parameters(space, cells), np.random.default_rng(0)), cells)
        settings = dataclasses.replace(sweep.training.settings, **self.training)
        return Proposing(
            searcher=partial(self.searcher, sweep, first=first),
            evaluations=self.evaluations,
            shared=training_trial(sweep, self.space, some, origin, sweep.training.seeds[0], settings),
            cells=cells,
            chooser=self.chooser,
        )


def proposals(sweep: Sweep) -> list[Proposals]:
    """The black-box searches of a sweep, each with each seed; with the baseline, a random one of each space."""
    found: list[Proposals] = []
    for seed in sweep.seeds:
        arms = sweep.black_box_arms
        for arm in arms:
            found += [
                Proposals(arm.method, arm.space, _settings(point), seed, point.training, drawn_of(arm.param_space))
                for point in arm.points()
            ]
        if sweep.random_baseline:
            found += [_baseline([arm for arm in arms if arm.space == space], seed) for space in _spaces(arms)]
    return found


def _spaces(arms: list[Arm]) -> list[str]:
    """Those in which no arm is the baseline itself."""
    random = {arm.space for arm in arms if arm.method == BASELINE}
    return [space for space in dict.fromkeys(arm.space for arm in arms) if space not in random]


def _baseline(arms: list[Arm], seed: int) -> Proposals:
    most = max(_settings(point).evaluations for arm in arms for point in arm.points())
    settings = dataclasses.replace(find_searcher(BASELINE).Config(), evaluations=most)
    drawn = {name: one for arm in arms for name, one in drawn_of(arm.param_space).items()}
    return Proposals(BASELINE, arms[0].space, settings, seed, drawn=drawn)


def _settings(point: Point) -> Searcher.Config:
    assert isinstance(point.settings, Searcher.Config)
    return point.settings
