"""Repetitions of one sweep: what its fronts have in common, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasray.errors import InvalidInput
from nasray.fronts.across import Rows, reference_of, rows_of_runs
from nasray.fronts.attainment import MAY_DIFFER, QUARTILES, attained, attainment_surfaces
from nasray.fronts.pareto import average_over_seeds, check_comparable, hypervolume, pareto_front
from nasray.runs.identity import differences
from nasray.runs.schema import EVALUATIONS
from nasray.runs.storage import Storage

_OF_A_REPETITION = frozenset({"name", "seeds", *MAY_DIFFER})
"""Fields of a sweep that say which repetition it is."""


@dataclass(frozen=True)
class Repetitions:
    """The fronts of repetitions, of each method its own."""

    names: tuple[str, ...]
    """Names of the repetitions."""
    fronts: Mapping[str, Mapping[str, pd.DataFrame]]
    """By method, then by repetition."""
    surfaces: Mapping[str, pd.DataFrame]
    """Attainment surfaces of each method, as :func:`attainment_surfaces` gives them."""
    spread: Mapping[str, pd.DataFrame]
    """Spread of each method at the corners of its median surface: the cost, `mean` and `std` of the metric's values
    attained at it (missing where a repetition attains none), and the value of each surface by its fraction."""
    volumes: pd.DataFrame
    """`method`, `repetition` and `hypervolume` (M, or the cost's unit, x the metric's)."""
    reference: tuple[float, float]
    """Multiply-adds (M), metric: the one that all runs wrote down. Of another cost the largest of all rows."""
    rows: Rows
    """All that could be on a front."""


def repetitions(
    runs: Mapping[str, Storage],
    over: Literal["runs", "seeds"] = "runs",
    *,
    budget: float | None = None,
    table: str | None = None,
    only: Sequence[str] = (),
    fractions: Sequence[float] = QUARTILES,
    cost: str = "macs",
    equal_tries: bool = False,
) -> Repetitions:
    """Fronts of repetitions of a sweep, with their attainment surfaces and hypervolumes.

    Args:
        runs: folders by name, of sweeps that differ in nothing but their seeds and where they ran.
        over: ``runs``: each run is a repetition; or ``seeds``: each seed of a run, of searches for candidates and of
            trainings for evaluations.
        budget: largest multiply-adds (M).
        table: ``evaluations`` or ``candidates``; None is evaluations where every run has some.
        only: conditions that rows must meet, as :func:`rows_of_runs` takes them.
        fractions: of the repetitions, one for each attainment surface.
        cost: column of the cost.
        equal_tries: take equally many trainings of every network of a front, as :func:`pareto_front` does.

    Raises:
        InvalidInput: fewer than two repetitions, sweeps or reference points that differ, rows that do not compare.
    """
    reference = _common_reference(runs)
    _check_one_sweep(runs)
    rows = rows_of_runs(runs, budget=budget, table=table, only=only, cost=cost)
    everything = pd.concat(rows.of.values(), ignore_index=True)
    check_comparable(everything, cost=cost, but=MAY_DIFFER)
    if cost != "macs":
        reference = (float(everything[cost].max()), reference[1])
    parts = dict(_parts(rows.of, over))
    if len(parts) < 2:
        raise InvalidInput(f"{len(parts)} repetition over {over}: expected two or more")
    methods = sorted({name for frame in rows.of.values() for names in frame["method"] for name in names.split(", ")})
    fronts = {
        method: {name: _front(rows, frame[_found_by(frame, method)], equal_tries) for name, frame in parts.items()}
        for method in methods
    }
    surfaces = {
        method: attainment_surfaces(list(own.values()), fractions, minimise=cost) for method, own in fronts.items()
    }
    return Repetitions(
        names=tuple(parts),
        fronts=fronts,
        surfaces=surfaces,
        spread={method: _spread(surfaces[method], list(own.values()), cost) for method, own in fronts.items()},
        volumes=pd.DataFrame(
            [
                {"method": method, "repetition": name, "hypervolume": hypervolume(front, reference, minimise=cost)}
                for method, own in fronts.items()
                for name, front in own.items()
            ]
        ),
        reference=reference,
        rows=rows,
    )


def _common_reference(runs: Mapping[str, Storage]) -> tuple[float, float]:
    points = {name: reference_of(run) for name, run in runs.items()}
    missing = [name for name, point in points.items() if point is None]
    if missing:
        raise InvalidInput(f"run {missing[0]!r} has no reference point: expected runs of sweeps, which have one")
    if len(set(points.values())) > 1:
        said = ", ".join(f"{name} ({point[0]:.12g} M, {point[1]:.12g})" for name, point in points.items() if point)
        raise InvalidInput(
            f"reference points that differ: {said}; expected repetitions with one and the same (a sweep's field "
            "reference sets it)"
        )
    return next(point for point in points.values() if point)


def _check_one_sweep(runs: Mapping[str, Storage]) -> None:
    sweeps = [run.read_json("run.json").get("sweep", {}) for run in runs.values()]
    found = differences([values if isinstance(values, dict) else {} for values in sweeps], but=_OF_A_REPETITION)
    differing = [f"{name} ({', '.join(values[:5])})" for name, values in found.items()]
    if differing:
        raise InvalidInput(
            f"runs of several sweeps, which differ in {', '.join(differing[:5])}: expected repetitions of one "
            "sweep, which differ in their seeds alone"
        )


def _parts(rows: Mapping[str, pd.DataFrame], over: Literal["runs", "seeds"]) -> Iterator[tuple[str, pd.DataFrame]]:
    for run, frame in rows.items():
        if over == "runs":
            yield run, frame
        else:
            for seed, own in frame.groupby("seed"):
                yield f"seed {seed}" if len(rows) == 1 else f"{run}, seed {seed}", own


def _found_by(frame: pd.DataFrame, method: str) -> npt.NDArray[np.bool_]:
    return np.array([method in names.split(", ") for names in frame["method"]], dtype=bool)


def _front(rows: Rows, frame: pd.DataFrame, equal_tries: bool) -> pd.DataFrame:
    means = average_over_seeds(frame, cost=rows.cost) if rows.table is EVALUATIONS else frame
    return pareto_front(means, minimise=rows.cost, equal_tries=equal_tries)


def _spread(surfaces: pd.DataFrame, fronts: Sequence[pd.DataFrame], cost: str) -> pd.DataFrame:
    by_fraction = {fraction: surfaces[surfaces["fraction"] == fraction] for fraction in surfaces["fraction"].unique()}
    if not by_fraction:
        return pd.DataFrame({cost: [], "mean": [], "std": []})
    median = min(by_fraction, key=lambda fraction: abs(fraction - 0.5))
    corners = by_fraction[median][cost].to_numpy()
    at_cost = pd.DataFrame([attained(front, corners, minimise=cost) for front in fronts])
    return pd.DataFrame(
        {
            cost: corners,
            "mean": at_cost.mean(skipna=False),
            "std": at_cost.std(skipna=False),
            **{f"{100 * fraction:g} %": attained(own, corners, minimise=cost) for fraction, own in by_fraction.items()},
        }
    )
