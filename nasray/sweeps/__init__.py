"""Sweeps: many searches under Ray Tune, their front trained from scratch. Importing this imports no Ray."""

from nasray.evaluation import EvaluationSettings
from nasray.settings import Range
from nasray.sweeps.searchers import Searcher
from nasray.sweeps.sweep import Arm, Sweep

__all__ = ["Arm", "EvaluationSettings", "Range", "Searcher", "Sweep"]
