"""Pareto fronts and hypervolume, of one run or of several: frames in, frames out. Needs neither torch nor Ray."""

from nasray.fronts.across import front_across
from nasray.fronts.attainment import QUARTILES, attained, attainment_surfaces
from nasray.fronts.pareto import (
    average_over_seeds,
    check_comparable,
    comparable_parts,
    complete,
    hypervolume,
    near_front,
    pareto_front,
)
from nasray.fronts.ranks import kendall_tau
from nasray.fronts.repetitions import repetitions

__all__ = [
    "QUARTILES",
    "attained",
    "attainment_surfaces",
    "average_over_seeds",
    "check_comparable",
    "comparable_parts",
    "complete",
    "front_across",
    "hypervolume",
    "kendall_tau",
    "near_front",
    "pareto_front",
    "repetitions",
]
