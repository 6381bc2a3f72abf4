"""Searches that pruned nothing: their settings were too weak for their length, which no table says by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from nasray import registry
from nasray.costs.table import cost_table
from nasray.runs.events import note
from nasray.training.dataset import Dataset
from nasray.trials.search_config import SearchConfig, sizes


def say_unpruned(candidates: pd.DataFrame, searches: Mapping[str, SearchConfig], dataset: Dataset) -> None:
    """Print a line for each method some of whose searches ended with the largest architecture there is.

    Args:
        candidates: rows of a run.
        searches: configs of its searches, by trial id.
        dataset: that they searched on.
    """
    whole: dict[str, list[str]] = {}
    for trial_id, config in searches.items():
        rows = candidates[candidates["trial_id"] == trial_id] if len(candidates) else candidates
        # A width of their own makes multiply-adds incomparable.
        if config.method_class.shrunk_by and config.evaluation_width_budget is None and len(rows):
            _, size = sizes(config, config.cell_space, dataset)
            last = rows.sort_values("epoch")["macs"].iloc[-1]
            if last >= cost_table(config.cell_space, size).largest_macs * (1 - 1e-9):
                whole.setdefault(config.method, []).append(trial_id)
    for method, ids in whole.items():
        note(f"nasray: {_line(method, ids, searches)}")


def _line(method: str, trial_ids: Sequence[str], searches: Mapping[str, SearchConfig]) -> str:
    of_method = [config for config in searches.values() if config.method == method]
    config = searches[trial_ids[0]]
    *others, last = (f"{name} (now {getattr(config.settings, name)})" for name in config.method_class.shrunk_by)
    some = f"{len(trial_ids)} of {len(of_method)} searches" if len(of_method) > 1 else "the search"
    raised = f"{', '.join(others)} or {last}" if others else last
    return f"{some} by {registry.portable(method)} pruned nothing and ended with the largest network. Raise {raised}."
