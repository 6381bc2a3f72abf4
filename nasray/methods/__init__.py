"""One paper a file, and the solvers that they need beside them."""

from nasray.methods.method import (
    Batch,
    EpochEnd,
    Learner,
    Problem,
    SearchMethod,
    first_order_step,
    joint_step,
    weight_step,
)

__all__ = [
    "Batch",
    "EpochEnd",
    "Learner",
    "Problem",
    "SearchMethod",
    "first_order_step",
    "joint_step",
    "weight_step",
]
