"""How much of what searches are worth each setting explains, by fANOVA.

F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014:
Optuna's own evaluator. Its default, PED-ANOVA, asks what tells the best tenth of the trials from the others: of the 16
searches of a sweep these are two (in four draws of 12 searches of pure noise it gave one of three settings 0.75 of the
importance on average), and multiply-adds have no best. fANOVA takes all searches, and has settings only that all of
them have: each method is a study of its own. Studies are made of the rows and kept nowhere.

Shares of noise sum to 1 too, so a forest has to predict searches that its trees did not learn from first (`explained`).
Of 50 draws of pure noise 4 to 8 % passed with 16 searches and 6 to 10 % with 8; of 30 in which 2 x + y lay under a
deviation of 0.3, x and y from 0 to 1, all passed with 16, and 77 % with 8.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasray.results.searches import Searches

FEWEST = 8
"""Searches below which nothing is said: learnt from five, a forest does not predict the sixth even of a plain line."""
_A_SETTING = 4
"""Combinations of settings for each setting, below which they are not told apart, unless all combinations are there:
of a Latin hypercube of four points in two settings either explains what the other does."""
_MOST = 150
"""Searches that are taken, at most: what fANOVA takes grows with the square, and is seconds there."""
_TREES = 64
_FEW = 12
"""Values below which numbers are taken for the steps of a grid: each counts alike, however far apart they lie."""


def importances(found: Sequence[Searches], seed: int = 0) -> pd.DataFrame:
    """Importances of what searches varied: see :func:`nasray.importance`."""
    names = ["method", "space", "metric", "setting", "importance", "explained", "searches", "note"]
    return pd.DataFrame([row for own in found for row in _of_method(own, seed)], columns=names)


def _of_method(own: Searches, seed: int) -> Iterator[dict[str, Any]]:
    complete = own.rows.dropna(subset=list(own.settings))
    for metric in own.metrics:
        rows = complete[np.isfinite(complete[metric])]
        told = {"method": own.method, "space": own.space, "metric": metric, "searches": len(rows)}
        shares: dict[str, float] = {}
        explained, note = np.nan, ""
        settings = [name for name in own.settings if rows[name].nunique() > 1]
        if len(rows) < FEWEST:
            note = f"too few searches: {len(rows)}, of at least {FEWEST}"
        elif not settings:
            note = "all searches that have every setting have the same"
        elif (combinations := len(rows.drop_duplicates(settings))) < _needed(rows, settings):
            least = _A_SETTING * len(settings)
            note = f"too few combinations of {len(settings)} settings: {combinations}, of at least {least}"
        elif rows[metric].max() - rows[metric].min() <= 1e-12 * abs(rows[metric].max()):
            note = f"{metric} is the same in all searches"
        else:
            if len(rows) > _MOST:
                note = f"of {_MOST} searches, drawn from {len(rows)}"
                rows = rows.sample(_MOST, random_state=seed).sort_index()
            shares, explained = _shares(rows, settings, metric, seed)
            if explained <= 0:
                shares, note = {}, f"the settings predict no {metric} of an unseen search: importance would be chance"
        for name in own.settings:
            share = shares.get(name, 0.0 if shares else np.nan)
            yield {**told, "setting": name, "importance": share, "explained": explained, "note": note}


def _needed(rows: pd.DataFrame, settings: Sequence[str]) -> int:
    """Combinations of settings that tell apart what each does."""
    return min(_A_SETTING * len(settings), math.prod(rows[name].nunique() for name in settings))


def _shares(rows: pd.DataFrame, settings: Sequence[str], metric: str, seed: int) -> tuple[dict[str, float], float]:
    """Importance of each setting, and the share of the variance that a forest predicts of what it has not seen."""
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from sklearn.ensemble import RandomForestRegressor

    scales = [_scale(rows[name]) for name in settings]
    values = rows[metric].to_numpy(dtype=np.float64)
    # Of the size of 1, for the evaluator takes a variance near 0 for none.
    values = (values - values.mean()) / values.std()
    trials = [
        optuna.trial.create_trial(
            params={name: of[row] for name, (of, _) in zip(settings, scales, strict=True)},
            distributions={name: own for name, (_, own) in zip(settings, scales, strict=True)},
            value=float(value),
        )
        for row, value in enumerate(values)
    ]
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a study says that it was made
    try:
        study = optuna.create_study()
    finally:
        optuna.logging.set_verbosity(before)
    study.add_trials(trials)
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=_TREES, seed=seed))
    forest = RandomForestRegressor(_TREES, oob_score=True, random_state=seed)
    inputs = np.column_stack([_input(of, own) for of, own in scales])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few searches some may be in every tree
        forest.fit(inputs, values)
    return shares, float(forest.oob_score_)


def _scale(column: pd.Series[Any]) -> tuple[list[Any], Any]:
    """A setting's values as a study has them, and their distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    is_number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if not is_number:
        texts = [str(value) for value in column]
        return texts, CategoricalDistribution(sorted(set(texts)))
    numbers = column.to_numpy(dtype=np.float64)
    steps = np.unique(numbers)
    if len(steps) <= min(_FEW, len(numbers) // 2):
        places = np.searchsorted(steps, numbers)
        return [int(place) for place in places], IntDistribution(0, len(steps) - 1)
    if is_wide(steps):
        numbers = np.log10(numbers)
    return [float(one) for one in numbers], FloatDistribution(float(numbers.min()), float(numbers.max()))


def is_wide(values: npt.NDArray[np.float64]) -> bool:
    """Whether numbers are best seen on a logarithmic scale."""
    return bool(values.min() > 0 and values.max() > 10 * values.min())


def _input(values: Sequence[Any], distribution: Any) -> npt.NDArray[np.float64]:
    """A setting as columns for a forest: categories have one each."""
    choices = getattr(distribution, "choices", None)
    if choices is None:
        return np.asarray(values, dtype=np.float64)[:, None]
    return np.asarray([[float(value == choice) for choice in choices] for value in values])
