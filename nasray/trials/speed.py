"""How long an epoch takes: a search or a training tried for a few batches in this process."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TypeVar

from nasray.settings import TrainingSettings
from nasray.training.dataset import Dataset
from nasray.training.splits import splits_of
from nasray.trials.evaluation import Evaluation, EvaluationConfig
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig

S = TypeVar("S", bound=TrainingSettings)

BATCHES = 4
"""That a measured epoch has, at most."""


def epoch_seconds(config: SearchConfig | EvaluationConfig, dataset: Dataset, device: str | None = None) -> float:
    """Seconds of an epoch, validation included, by one of a few batches that follows another.

    A search that empties its gates becomes faster than this.

    Args:
        config: of the search or the training.
        dataset: that it names.
        device: one of torch's; None is as the settings say.

    Raises:
        InvalidInput: it could not run.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    settings: TrainingSettings = config.settings
    whole = len(splits_of(dataset, settings, 0.0).train)
    fraction = config.method_class.architecture_fraction if isinstance(config, SearchConfig) else 0.0
    few = min(whole, round(BATCHES * settings.batch_size / (1 - fraction)))
    trial: Search | Evaluation
    if isinstance(config, SearchConfig):
        trial = Search(replace(config, settings=_shortened(config.settings, few)), dataset, device)
    else:
        trial = Evaluation(replace(config, settings=_shortened(config.settings, few)), dataset, device)
    trial.run_epoch()  # the first one makes what the others use again
    began = time.perf_counter()
    trial.run_epoch()
    return (time.perf_counter() - began) * whole / few


def _shortened(settings: S, examples: int) -> S:
    return replace(settings, train_examples=examples, epochs=max(2, settings.epochs))
