"""What mattered of what runs varied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nasray.errors import InvalidInput, shown
from nasray.results.effects import effects_of
from nasray.results.importance import importances
from nasray.results.run import Run, named_storages
from nasray.results.searches import Searches, searches_of


def importance(
    runs: Run | str | Path | Sequence[Run | str | Path], *, table: str | None = None, seed: int = 0
) -> pd.DataFrame:
    """How important each setting that a sweep varied is, for the metric, for macs and for the hypervolume.

    A search is worth the metric and the multiply-adds of its final architecture, and the hypervolume of all that it
    gave, from the runs' reference point. Importance is the share of the variance between searches that a setting alone
    explains, over all values of the others (fANOVA), as shares of what all settings explain so: they sum to 1 for each
    method and metric. What settings do only together is in none of them. Numbers count evenly over their range, on a
    logarithmic scale where the largest is more than ten times the smallest, and the steps of a grid alike.

    It has none (NaN), and `note` says why, where there are fewer than eight searches, or fewer than four combinations
    of settings for each setting which are no whole grid, where the metric is the same in all searches, and where
    `explained` is not above 0: a forest that learnt other searches then predicts nothing of those that it has not seen,
    and what importance it has is chance. One that is only slightly above 0 says little.

    Args:
        runs: one, or several of one dataset, as :func:`open` gives or takes them. In what several differ is a setting.
        table: ``candidates`` (inherited accuracy) or ``evaluations`` (trained from scratch); None is evaluations where
            the training was varied (``training.NAME``), and candidates else, which every search has.
        seed: of the forests: the same seed gives the same figures.

    Returns:
        A row for each method, space, metric and setting: `method`, `space`, `metric`, `setting`, `importance` (0 to 1),
        `explained` (share of the variance that is predicted of unseen searches, at most 1), `searches` (their number)
        and `note`.

    Raises:
        InvalidInput: the runs varied nothing, have no rows of that table, or rows that do not compare.
    """
    return importances(_searches(runs, table), seed)


def effects(
    runs: Run | str | Path | Sequence[Run | str | Path], setting: str | None = None, *, table: str | None = None
) -> pd.DataFrame:
    """Mean metric, macs and hypervolume of searches over the values of a setting, with 95 % intervals.

    A search is worth what :func:`importance` says. The steps of a grid stand each for itself; values that were drawn
    are put together in two to eight bins of equally many searches. Means are of the searches as they are, no model
    between: with the few that a sweep has, a forest's partial dependence hides how little it stands on. The other
    settings are averaged as they fell, evenly in a grid or a Latin hypercube; in a sweep that learnt, they moved along,
    and the effect is theirs too.

    Args:
        runs: as of :func:`importance`.
        setting: name of the setting, a column of the tables (``lambda0``, ``training.learning_rate``); None is all that
            were varied.
        table: as of :func:`importance`.

    Returns:
        A row for each method, space, setting, metric and bin: `method`, `space`, `setting`, `metric`, `value` (median
        of the bin's values), `least` and `most` (of them), `mean`, `low` and `high` (Student's interval for the mean,
        by the spread within all bins of the setting together; NaN where none has two searches), `searches` (their
        number).

    Raises:
        InvalidInput: as of :func:`importance`, or the setting was not varied.
    """
    found = _searches(runs, table)
    if setting is not None and not any(setting in own.settings for own in found):
        known = ", ".join(dict.fromkeys(name for own in found for name in own.settings))
        raise InvalidInput(f"setting {shown(setting)}: not varied. Varied are {known}.")
    return effects_of(found, None if setting is None else [setting])


def _searches(runs: Run | str | Path | Sequence[Run | str | Path], table: str | None) -> list[Searches]:
    storages = named_storages([runs] if isinstance(runs, Run | str | Path) else runs)
    found = searches_of(storages, table)
    if not found:
        kind = "" if table is None else f" of {table}"
        raise InvalidInput(
            f"Nothing differs{kind} in {', '.join(storages)}: all rows of a method have the same settings. Expected "
            "two searches, or trainings, that a sweep varied."
        )
    return found
