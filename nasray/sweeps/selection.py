"""What a run trains from scratch: chosen candidates, and a random architecture beside each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from nasray import registry
from nasray.errors import InvalidInput
from nasray.fronts import complete, near_front
from nasray.methods.random import Random
from nasray.runs.events import note
from nasray.searchers import BASELINE
from nasray.settings import TRAINED
from nasray.spaces import Architecture, CellSpace, NetworkSize
from nasray.sweeps.baseline import Drawn, random_like
from nasray.sweeps.sweep import Sweep
from nasray.trials.evaluation import EvaluationConfig, EvaluationSettings, evaluation_size
from nasray.trials.identity import config_of_row
from nasray.trials.lookup import tabular_size
from nasray.trials.rows import knob_columns
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import Origin, SearchTrial, TrainingTrial


def chosen(sweep: Sweep, candidates: pd.DataFrame) -> pd.DataFrame:
    """The candidates that are trained from scratch, of each method its own; none of searches that were stopped.

    With a budget they are chosen among those that obey it; of a search none of whose candidates does the cheapest is
    taken too, for it is trained as a narrower network.
    """
    candidates = complete(candidates)
    if not len(candidates):
        return candidates
    if sweep.training.select == "final":
        return final(candidates)
    affordable = candidates if sweep.budget is None else candidates[sweep.budget.allows(candidates["macs"])]
    by_method = affordable.groupby("method", sort=True)
    fronts = [_spread(near_front(rows, sweep.training.within), sweep.training.most) for _, rows in by_method]
    without = candidates[~candidates["trial_id"].isin(affordable["trial_id"])]
    if len(without):
        fronts.append(without.sort_values("macs", kind="stable").groupby("trial_id", sort=True).head(1))
    return pd.concat(fronts, ignore_index=True)


def _spread(rows: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """Rows of so many architectures, evenly spread over all by their order of multiply-adds, both ends included."""
    ids = rows.sort_values(["macs", "architecture_id"])["architecture_id"].drop_duplicates()
    if most is None or len(ids) <= most:
        return rows
    places = {round(place * (len(ids) - 1) / max(most - 1, 1)) for place in range(most)}
    return rows[rows["architecture_id"].isin({ids.iloc[place] for place in places})]


def final(candidates: pd.DataFrame) -> pd.DataFrame:
    """The last candidate of every search."""
    ordered = candidates.sort_values(["trial_id", "epoch", "snapshot"], kind="stable")
    return ordered.groupby("trial_id", sort=False).tail(1)


def candidate_trials(sweep: Sweep, rows: pd.DataFrame, *, baselines: bool) -> list[TrainingTrial]:
    """Trials that train chosen candidates.

    Args:
        sweep: of the candidates.
        rows: the candidates.
        baselines: whether a random architecture is trained beside each.
    """
    selected: dict[_Trained, tuple[str, Architecture, Origin]] = {}
    drawn_beside: dict[_Trained, tuple[str, Architecture, Origin]] = {}
    taken, beside = set(rows["architecture_id"]), dict[str, Drawn | None]()
    trained_with = _settings_by_search(sweep)
    for row in rows.to_dict("records"):
        search = config_of_row(row["settings"], _names(sweep), sweep.execution.data_root)
        method = search.method_class
        knobs = knob_columns(search.settings, sweep.varied)
        origin = Origin(method=row["method"], search_trial_id=row["trial_id"], knobs=knobs)
        space = search.cell_space
        architecture = Architecture.from_json(space, row["architecture"])
        settings = trained_with.get(row["trial_id"]) or [proposed_training(sweep, row)]
        try:
            size = trained_size(sweep, space, architecture)
        except InvalidInput as error:  # no width obeys the budget
            note(f"architecture {architecture.id} is not trained: {error}")
            continue
        if not method.trained_epochs(search.settings) or sweep.table:
            for one in settings:
                *_, first = selected.setdefault((architecture.id, one), (search.space, architecture, origin))
                if row["method"] not in first.method.split(", "):
                    joined = replace(first, method=f"{first.method}, {row['method']}")
                    selected[architecture.id, one] = search.space, architecture, joined
        if not baselines or method is Random:
            continue
        if architecture.id not in beside:
            beside[architecture.id] = random_like(space, size, architecture, budget=sweep.budget, taken=taken)
        drawn = beside[architecture.id]
        if drawn is not None:
            taken.add(drawn.architecture.id)
            knobs = {"operations_per_node": drawn.operations_per_node}
            random = Origin(method="random", knobs=knobs, baseline_of=architecture.id)
            for one in settings:
                drawn_beside[drawn.architecture.id, one] = search.space, drawn.architecture, random
    return [
        training_trial(sweep, space_name, architecture, origin, seed, settings)
        for (_, settings), (space_name, architecture, origin) in (*selected.items(), *drawn_beside.items())
        for seed in sweep.training.seeds
    ]


_Trained = tuple[str, EvaluationSettings]
"""Id of an architecture, and how it is trained."""


def _settings_by_search(sweep: Sweep) -> dict[str, list[EvaluationSettings]]:
    """The settings with which what a search found is trained, by the search's trial; empty where none are varied."""
    found: dict[str, list[EvaluationSettings]] = {}
    for config, settings in sweep.planned() if sweep.varied_training else ():
        found.setdefault(SearchTrial(run=sweep.name, config=config).name, []).append(settings)
    return found


def proposed_training(sweep: Sweep, row: Mapping[Any, Any]) -> EvaluationSettings:
    """The settings with which a candidate is trained: those that a searcher proposed beside the search's own, and the
    sweep's."""
    own = sweep.training.settings
    given = {name: row.get(f"{TRAINED}{name}") for name in sweep.varied_training}
    proposed: dict[str, Any] = {name: value for name, value in given.items() if not pd.isna(value)}
    # A column that some rows lack has floats in place of whole numbers.
    whole = {name: int(value) for name, value in proposed.items() if type(getattr(own, name)) is int}
    return replace(own, **{**proposed, **whole})


def repeated_trials(sweep: Sweep, evaluations: pd.DataFrame) -> list[TrainingTrial]:
    """Trials that train what black-box searches found best again, with the seeds that they were not trained with."""
    if sweep.training.select != "front" or len(sweep.training.seeds) == 1 or not len(evaluations):
        return []
    trials: list[TrainingTrial] = []
    proposed = {registry.portable(arm.method) for arm in sweep.black_box_arms} | {BASELINE}
    spaces = {arm.space: arm.cell_space for arm in sweep.black_box_arms}
    # By the first seeds alone: a run that goes on, and has some of the others already, selects the same.
    first = evaluations[evaluations["method"].isin(proposed) & (evaluations["seed"] == sweep.training.seeds[0])]
    for method, rows in first.groupby("method", sort=True):
        for row in near_front(rows, sweep.training.within).to_dict("records"):
            name = registry.among(spaces, row["space"])
            architecture = Architecture.from_json(spaces[name], row["architecture"])
            origin = Origin(method=str(method), search_trial_id=row["search_trial_id"])
            settings = EvaluationSettings.of(json.loads(row["settings"]))
            seeds = sweep.training.seeds[1:]
            trials += [training_trial(sweep, name, architecture, origin, seed, settings) for seed in seeds]
    return trials


def searched(sweep: Sweep, candidates: pd.DataFrame) -> dict[str, SearchConfig]:
    """Configs of the searches that gave candidates, by their trials' names."""
    one_each = candidates.drop_duplicates("trial_id") if len(candidates) else candidates
    names, root = _names(sweep), sweep.execution.data_root
    return {str(row["trial_id"]): config_of_row(row["settings"], names, root) for row in one_each.to_dict("records")}


def _names(sweep: Sweep) -> set[str]:
    """Names of all that its rows may be of: rows have those of a user's files without their folders."""
    return {sweep.dataset, *(name for arm in sweep.arms for name in (arm.method, arm.space))}


def training_trial(
    sweep: Sweep, space: str, architecture: Architecture, origin: Origin, seed: int, settings: EvaluationSettings
) -> TrainingTrial:
    """A trial that trains an architecture, or looks it up.

    Args:
        sweep: of the trial.
        space: name of the architecture's space.
        architecture: that is trained.
        origin: where it comes from.
        seed: of the training.
        settings: of the training. Those that some arm varies are columns of its row.
    """
    varied = {f"{TRAINED}{name}": getattr(settings, name) for name in sweep.varied_training}
    origin = replace(origin, knobs={**origin.knobs, **varied})
    config = EvaluationConfig(
        space=space,
        dataset=sweep.dataset,
        architecture=architecture,
        settings=settings,
        seed=seed,
        budget=sweep.most_macs,
        data_root=sweep.execution.data_root,
    )
    return TrainingTrial(run=sweep.name, config=config, origin=origin, rungs=sweep.training.rungs, source=sweep.table)


def trained_size(sweep: Sweep, space: CellSpace, architecture: Architecture) -> NetworkSize:
    """The size at which a sweep trains an architecture, or that a table's accuracies are of."""
    if sweep.table:
        return tabular_size(space, sweep.dataset, sweep.table)
    return evaluation_size(space, architecture, sweep.training.settings, sweep.data, sweep.most_macs)


def within_budget(rows: pd.DataFrame, budget: float | None) -> pd.DataFrame:
    """The rows that obey a budget (M); where there are some and none does, that is said."""
    if budget is None:
        return rows
    kept = rows[rows["macs"] <= budget]
    if len(rows) and not len(kept):
        note(
            f"none of {len(rows)} architectures is within {budget:g} M multiply-adds "
            f"(the smallest has {rows['macs'].min():.4g} M)"
        )
    return kept
