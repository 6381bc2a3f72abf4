"""A searcher of Ray Tune that proposes a trial only while few enough of its trials go on.

Where the cluster has room for some trials only, a searcher should not propose more before it knows what came of
those. And where a trial takes milliseconds, as one that looks its accuracy up does, a second one at its side gains
nothing: Ray Tune would start a process for it that takes seconds to come up, give the trial to the first process,
which is free by then, and end the other before it ever ran, again and again. And a searcher that always knows what its
last proposal came to proposes the same trials every time.
"""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher


class AtMost(Searcher):
    """Asks another searcher only while fewer than so many of its trials go on.

    Which trials go on is not saved with a run (as Tune's ``ConcurrencyLimiter`` does): the trials of a run and the
    state of its searcher are two files, and after a kill between them a run could wait for a trial that is not there.
    So in a run that was resumed trials that go on have as many more at their side, until they end.

    Args:
        searcher: what is asked, and told.
        trials: how many may go on.
    """

    def __init__(self, searcher: Searcher, trials: int) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher
        self.trials = trials
        self._going: set[str] = set()

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Leave it to the searcher."""
        return bool(self.searcher.set_search_properties(metric, mode, config, **spec))

    def suggest(self, trial_id: str) -> Any:
        """What the searcher proposes, or None while as many trials as may go on."""
        if len(self._going) >= self.trials:
            return None
        suggested: Any = self.searcher.suggest(trial_id)
        if suggested is not None and suggested != str(Searcher.FINISHED):
            self._going.add(trial_id)
        return suggested

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the searcher."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the searcher, and let it propose again."""
        self.searcher.on_trial_complete(trial_id, result=result, error=error)
        self._going.discard(trial_id)

    def get_state(self) -> dict[str, Any]:
        """Nothing: Tune saves the searcher itself."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """No trial goes on that this searcher must wait for."""
        self._going.clear()

    def save(self, checkpoint_path: str) -> None:
        """Save the searcher."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the searcher."""
        self.searcher.restore(checkpoint_path)
