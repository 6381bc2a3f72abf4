"""Sweeps: many searches under Ray Tune, their front trained from scratch. Importing this imports no Ray."""

from nasray.costs import Budget
from nasray.searchers import Searcher
from nasray.settings import Choice, Range
from nasray.sweeps.arm import Arm
from nasray.sweeps.fitting import FittedSweep, Sizes
from nasray.sweeps.sweep import Sweep
from nasray.sweeps.training import Training
from nasray.trials.accuracy_source import AccuracySource
from nasray.trials.evaluation import EvaluationSettings
from nasray.tune.execution import Execution

__all__ = [
    "AccuracySource",
    "Arm",
    "Budget",
    "Choice",
    "EvaluationSettings",
    "Execution",
    "FittedSweep",
    "Range",
    "Searcher",
    "Sizes",
    "Sweep",
    "Training",
]
