"""Regularised evolution as a searcher of Ray Tune."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher

from nasray.errors import InvalidInput
from nasray.searchers.evolution import RegularisedEvolution
from nasray.spaces import Architecture


class EvolutionSearch(Searcher):
    """Proposes architectures by regularised evolution.

    A trial's config is the param space and ``architecture``, the canonical JSON of the proposed one. Only trials whose
    ``time_attr`` reached ``max_t`` enter the population: the metrics of one that was stopped before, or failed, are of
    another fidelity. It is not proposed again. The state is saved and restored with the run.

    Args:
        evolution: asked and told by this searcher alone.
        metrics: names of the objectives in a result, in the order of the evolution's modes.
        max_t: ``time_attr`` of a complete trial.
        time_attr: what counts the progress of a trial in a result.
    """

    def __init__(
        self,
        evolution: RegularisedEvolution,
        metrics: Sequence[str],
        max_t: float,
        time_attr: str = "training_iteration",
    ) -> None:
        super().__init__()
        self.evolution = evolution
        self.metrics = tuple(metrics)
        self.max_t = max_t
        self.time_attr = time_attr
        self._proposed: dict[str, Architecture] = {}
        """By the id of a trial that goes on."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: Mapping[str, Any], **_: Any) -> bool:
        """Take no notice: the objectives are this searcher's own."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next architecture, or that there is none."""
        architecture = self.evolution.ask()
        if architecture is None:
            return str(Searcher.FINISHED)
        self._proposed[trial_id] = architecture
        return {"architecture": architecture.to_json()}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Tell the evolution of a trial that ran to its end."""
        architecture = self._proposed.pop(trial_id, None)
        if architecture is None or error or not result or result.get(self.time_attr, -math.inf) < self.max_t:
            return
        missing = [name for name in self.metrics if name not in result]
        if missing:
            raise InvalidInput(
                f"result of trial {trial_id} without {missing[0]!r}: accepted is one with {', '.join(self.metrics)}"
            )
        self.evolution.tell(architecture, [result[name] for name in self.metrics])

    def save(self, checkpoint_path: str) -> None:
        """Write the state as JSON."""
        proposed = {trial_id: architecture.to_json() for trial_id, architecture in self._proposed.items()}
        with open(checkpoint_path, "w", encoding="utf-8") as file:
            json.dump({"evolution": self.evolution.state_dict(), "proposed": proposed}, file)

    def restore(self, checkpoint_path: str) -> None:
        """Go on with a saved state."""
        with open(checkpoint_path, encoding="utf-8") as file:
            state = json.load(file)
        self.evolution.load_state_dict(state["evolution"])
        space = self.evolution.space
        self._proposed = {i: Architecture.from_json(space, text) for i, text in state["proposed"].items()}
