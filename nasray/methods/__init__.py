"""One paper a file, and the solvers that they need beside them."""

from nasray.methods.method import (
    CostKnob,
    EpochEnd,
    Learner,
    Problem,
    SearchMethod,
    first_order_step,
    joint_step,
    weight_step,
)
from nasray.networks import Batch

__all__ = [
    "Batch",
    "CostKnob",
    "EpochEnd",
    "Learner",
    "Problem",
    "SearchMethod",
    "first_order_step",
    "joint_step",
    "weight_step",
]
