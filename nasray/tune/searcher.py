"""nasray's searchers as a searcher of Ray Tune: the one adapter.

Earlier results are not this file's concern: the searcher arrives rebuilt, and nothing of Tune's is ever read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher as TuneSearcher

from nasray.searchers.searcher import EPOCH, Feedback, Proposal, Searcher, feedback_of
from nasray.trials.running import GIVEN_UP, WAITS
from nasray.tune.phase import PROPOSAL, TRIAL

TOLD = "told"
"""In a trial's config how many results its searcher had been told; in a known result which of them it was."""

Result = Mapping[str, Any]
"""What a trial reported, or reported in an earlier session: epochs, objectives and costs."""


class AskTellSearch(TuneSearcher):
    """Proposes under Ray Tune what one of nasray's searchers proposes, and tells it what came of it.

    A trial's config is ``{"trial": its name, "proposal": its key, "told": results told so far}``.

    What has a known result gets no trial: the searcher is told its result, and is asked for the next proposal. If its
    trial is still under way, the searcher is told when that ends. Both count as proposals, so a search in a space with
    fewer architectures than proposals ends too.

    How many trials are open at once is ``max_concurrent_trials`` of Tune's ``TuneConfig``. Results that are looked up
    need a limit of 1: a second trial beside one that takes milliseconds gains nothing, for Tune starts a process for it
    that takes seconds; and a searcher that always knows what its last proposal came to repeats itself exactly.

    Args:
        searcher: what is asked and told, by this adapter alone.
        proposals: how many it makes in all, those of earlier sessions (``told``) included.
        name_of: a proposal's trial, by what it is (architecture, settings, fidelity, seed).
        known: the last result of a proposal's trial if an earlier session ended it for good.
        on_told: called with a proposal, its trial's last result, and with which of all results it was that the
            searcher was told, counted from 1. Of known results only with those that do not hold their number under
            ``told`` yet.
        valued: gives a result with the objectives that follow from it.
        told: how many results the searcher was told when it was rebuilt; the known ones hold their numbers.
        distinct: how many different proposals these were; None is as many.
        unfinished: proposals whose trials an earlier session began and did not end: they come first. The searcher
            knows that they are under way.
        tells: whether the searcher is told at all; else results are counted, for one that is told them later.
    """

    def __init__(
        self,
        searcher: Searcher,
        proposals: int,
        *,
        name_of: Callable[[Proposal], str],
        known: Callable[[Proposal], Result | None] | None = None,
        on_told: Callable[[Proposal, Result, int], None] | None = None,
        valued: Callable[[Result], Result] = lambda result: result,
        told: int = 0,
        distinct: int | None = None,
        unfinished: Sequence[Proposal] = (),
        tells: bool = True,
    ) -> None:
        super().__init__()
        self.black_box = searcher  # an attribute `searcher` Tune would take for a wrapped searcher of its own
        self.proposals = proposals
        self.proposed = told
        """Proposals so far, repetitions included."""
        self.told = told
        """Results that the searcher was told so far."""
        self.distinct = told if distinct is None else distinct
        """Different ones among them."""
        self._told_before = told
        self._name_of = name_of
        self._known = known
        self._on_told = on_told
        self._valued, self._tells = valued, tells
        self._unfinished = list(unfinished)
        self._came_to: dict[str, Feedback] = {}
        """By a proposal's key."""
        self._open: dict[str, list[Proposal]] = {}
        """By the key of what is under way, every proposal of it."""
        self._again: list[Proposal] = []
        """Those of them whose trials run in this Tuner."""
        self._exhausted = False
        self._trials: dict[str, Proposal] = {}
        """By Tune's id of a trial that is under way."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take no notice: the objectives are the searcher's own."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next proposal without a known result, or that there is none."""
        if self._again:
            return self._begin(trial_id, self._again.pop(0))
        while self.proposed < self.proposals:
            proposal = self._next()
            if proposal is None:
                if self._open and self.black_box.waits:
                    return None  # Tune asks again once a trial has ended
                self._exhausted = True
                break
            self.proposed += 1
            key = proposal.key
            if key in self._open:
                self._open[key].append(proposal)
                continue
            if key not in self._came_to:
                result = None if self._known is None else self._known(proposal)
                number = None if result is None else result.get(TOLD)
                self.distinct += number is None or number > self._told_before
                if result is None:
                    self._open[key] = [proposal]
                    return self._begin(trial_id, proposal)
                self._came_to[key] = self._feedback(result, error=False)
                if number is None and self._on_told is not None:
                    self._on_told(proposal, result, self.told + 1)
            self._tell([proposal])
        return str(TuneSearcher.FINISHED)

    def _next(self) -> Proposal | None:
        return self._unfinished.pop(0) if self._unfinished else self.black_box.ask()

    def begin_pass(self) -> None:
        """Take up in a new Tuner what is open: trials that wait for more memory, or that the last Tuner left."""
        self._trials.clear()
        self._again = [proposals[0] for proposals in self._open.values()]

    @property
    def is_finished(self) -> bool:
        """Whether all proposals are made, and what came of each is told."""
        return (self.proposed >= self.proposals or self._exhausted) and not self._open

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the searcher what a trial came to, once for every proposal that it was of."""
        proposal = self._trials.pop(trial_id, None)
        if proposal is None or (result and result.get(WAITS)):
            return
        gave_up = bool(result and result.get(GIVEN_UP))
        self._came_to[proposal.key] = self._feedback(result, error=error or gave_up)
        number = self.told + 1
        self._tell(self._open.pop(proposal.key))
        if result and self._on_told is not None:
            self._on_told(proposal, result, number)

    def _begin(self, trial_id: str, proposal: Proposal) -> dict[str, Any]:
        self._trials[trial_id] = proposal
        return {TRIAL: self._name_of(proposal), PROPOSAL: proposal.key, TOLD: self.told}

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: a searcher is rebuilt from what it was told."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def _tell(self, proposals: Sequence[Proposal]) -> None:
        for proposal in proposals:
            if self._tells:
                self.black_box.tell(proposal, self._came_to[proposal.key])
            self.told += 1

    def _feedback(self, result: Result | None, *, error: bool) -> Feedback:
        problem = self.black_box.problem
        return feedback_of(
            None if result is None else self._valued(result),
            objectives=problem.objectives,
            epochs=problem.epochs,
            budget=problem.budget,
            error=error,
            time_attr=EPOCH,
        )
