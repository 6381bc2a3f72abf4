"""Sweeps: many searches under Ray Tune, their front trained from scratch. Importing this imports no Ray."""

from nasray.searchers import Searcher
from nasray.settings import Range
from nasray.sweeps.sweep import Arm, Sweep
from nasray.trials.evaluation import EvaluationSettings

__all__ = ["Arm", "EvaluationSettings", "Range", "Searcher", "Sweep"]
