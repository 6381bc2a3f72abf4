"""The phases of a sweep, as they are given to Tune."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from nasray.searchers import Known
from nasray.sweeps.learning import Learner
from nasray.sweeps.proposals import Proposals
from nasray.sweeps.sweep import Sweep
from nasray.trials.trial import SearchTrial, TrainingTrial, path_part
from nasray.tune.phase import Phase, Proposing


def _shared(sweep: Sweep) -> dict[str, Any]:
    """What all phases of a sweep have in common."""
    return {
        "run": sweep.name,
        "dataset": sweep.dataset,
        "objectives": sweep.modes,
        "budget": sweep.most_macs,
        "fidelity": sweep.fidelity,
        "one_stage_epochs": None if sweep.table else sweep.training.settings.epochs,
    }


def _of_searches(sweep: Sweep) -> dict[str, Any]:
    """What its phases of searches have in common."""
    factor = sweep.search_reduction_factor
    return {**_shared(sweep), "kind": "searches", "rungs": sweep.search_fidelities, "reduction_factor": factor}


def _of_trainings(sweep: Sweep) -> dict[str, Any]:
    """What its phases of trainings have in common, beside their rungs."""
    workers, factor = sweep.training.workers, sweep.training.reduction_factor
    return {**_shared(sweep), "kind": "trainings", "workers": workers, "reduction_factor": factor}


def searching(sweep: Sweep, trials: Sequence[SearchTrial]) -> Phase:
    """Searches that are known before the first one ends."""
    return Phase(name="search", trials=trials, **_of_searches(sweep))


def learning(sweep: Sweep, learner: Learner, proposing: Proposing) -> Phase:
    """Searches whose settings a searcher chooses, or a round of them."""
    name = f"{path_part(learner.arm.method)}-{learner.name}"
    if proposing.late is not None:
        name = f"{name}-{proposing.evaluations}"
    return Phase(name=name, proposing=proposing, **_of_searches(sweep))


def evaluating(sweep: Sweep, one: Proposals, known: Sequence[Known]) -> Phase:
    """Trainings, or look-ups, of what a black-box searcher proposes.

    Args:
        sweep: of the search.
        one: the search.
        known: what other runs know of it.
    """
    return Phase(
        name=f"{path_part(one.method)}-{one.trial_id}",
        proposing=one.proposing(sweep, known),
        rungs=sweep.fidelities(one.space),
        **_of_trainings(sweep),
    )


def training(sweep: Sweep, trials: Sequence[TrainingTrial], rungs: tuple[int, ...] = ()) -> Phase:
    """Trainings of what was found; compared at rungs, the last of which ends them."""
    # Another selection, or other settings, are another phase.
    digest = hashlib.sha256("".join(trial.digest for trial in trials).encode()).hexdigest()[:8]
    return Phase(name=f"train-{digest}", trials=trials, rungs=rungs, **_of_trainings(sweep))
