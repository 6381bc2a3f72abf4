"""A searcher of Ray Tune that proposes the next trial once the last one has ended.

Where a trial takes milliseconds, as one that looks its accuracy up does, a second one at its side gains nothing: Ray
Tune would start a process for it that takes seconds to come up, give the trial to the first process, which is free by
then, and end the other before it ever ran, again and again. And a searcher that always knows what its last proposal
came to proposes the same trials every time.
"""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher


class OneAtATime(Searcher):
    """Asks another searcher only while no trial of it goes on.

    Which trial goes on is not saved with a run (as Tune's ``ConcurrencyLimiter`` does): the trials of a run and the
    state of its searcher are two files, and after a kill between them a run could wait for a trial that is not there.
    So in a run that was resumed a trial that goes on has one more at its side, until it ends.

    Args:
        searcher: what is asked, and told.
    """

    def __init__(self, searcher: Searcher) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher
        self._proposed: str | None = None

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Leave it to the searcher."""
        return bool(self.searcher.set_search_properties(metric, mode, config, **spec))

    def suggest(self, trial_id: str) -> Any:
        """What the searcher proposes, or None while a trial goes on."""
        if self._proposed is not None:
            return None
        suggested: Any = self.searcher.suggest(trial_id)
        if suggested is not None and suggested != str(Searcher.FINISHED):
            self._proposed = trial_id
        return suggested

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the searcher."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the searcher, and let it propose again."""
        self.searcher.on_trial_complete(trial_id, result=result, error=error)
        if trial_id == self._proposed:
            self._proposed = None

    def get_state(self) -> dict[str, Any]:
        """Nothing: Tune saves the searcher itself."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """No trial goes on that this searcher must wait for."""
        self._proposed = None

    def save(self, checkpoint_path: str) -> None:
        """Save the searcher."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the searcher."""
        self.searcher.restore(checkpoint_path)
