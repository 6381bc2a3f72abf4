"""What a sweep's fields accept, each beside the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from nasray import registry
from nasray.errors import InvalidInput, shown
from nasray.results import Run
from nasray.runs import EVALUATIONS
from nasray.runs.front_file import found_run
from nasray.searchers import BASELINE, OBJECTIVES
from nasray.settings import TRAINED, TrainingSettings, check_number
from nasray.spaces.metric import measured
from nasray.sweeps.arm import Arm
from nasray.sweeps.fill import Fill
from nasray.sweeps.training import Training
from nasray.trials.accuracy_source import AccuracySource
from nasray.trials.search_config import find_method
from nasray.tune.phase import RESERVED

Worth = Literal["hypervolume", "gain", "final"]
"""What a search is worth to who chooses settings."""


def check_name(name: str) -> None:
    """Refuse what is no name of one folder."""
    # What cannot be printed may look like another name, or end a line.
    plain = name.isprintable() and name == name.strip() and not set(name) & set("/\\")
    if not name or name.startswith(".") or not plain or len(name.encode()) > 200:
        raise InvalidInput(f"name {name!r:.80}: expected the name of one folder, up to 200 bytes")


def check_reference(reference: Sequence[float] | None) -> None:
    """Refuse what is no reference point of a hypervolume."""
    if reference is None:
        return
    if len(reference) != 2:
        raise InvalidInput(f"reference {shown(reference)}: expected multiply-adds (M) and an accuracy")
    for value in reference:
        check_number("reference", value, low=0.0)


def check_objectives(objectives: Sequence[str], table: AccuracySource | None, latency_batch: int | None) -> None:
    """Refuse objectives that are not measured, or not distinct.

    Args:
        objectives: their names.
        table: of accuracies, whose costs are objectives too.
        latency_batch: images of which the training measures the latency.
    """
    others = [name for name in objectives if name not in OBJECTIVES]
    if (others and not table) or not objectives or len(set(objectives)) < len(objectives):
        raise InvalidInput(
            f"objectives {objectives}: expected distinct ones of {', '.join(OBJECTIVES)}, and with a table its columns "
            "of costs"
        )
    if "latency_ms" in objectives and (table or latency_batch is None):
        raise InvalidInput("objective latency_ms: expected training.latency_batch beside it, and no table")


def check_costs(table: AccuracySource, columns: Iterable[str]) -> None:
    """Refuse costs whose names mean something else in rows or in reports of trials.

    Args:
        table: whose costs they are.
        columns: that rows have of what the sweep varies.
    """
    taken = {*EVALUATIONS.names, *RESERVED, *columns, "operations_per_node"}
    for cost in table.costs:
        if cost in taken or measured(cost) is not None:
            raise InvalidInput(
                f"cost {shown(cost)} of table {table.path}: nasray has a column or figure of this name itself. "
                "Rename the table's column."
            )


def check_worth(worth: str, worth_by: str, arms: Sequence[Arm], training: Training) -> None:
    """Refuse what searchers of settings cannot be told, or learn nothing from.

    Args:
        worth: what searches are worth.
        worth_by: weights that they are by.
        arms: of the sweep.
        training: what is trained from scratch.
    """
    if worth not in get_args(Worth):
        raise InvalidInput(f"worth {shown(worth)}: expected hypervolume, gain or final")
    if worth_by not in ("inherited", "retrained"):
        raise InvalidInput(f"worth_by {shown(worth_by)}: expected inherited or retrained")
    learning = [arm for arm in arms if arm.learns]
    for option, value, default in (("worth", worth, "hypervolume"), ("worth_by", worth_by, "inherited")):
        if value != default and not any(arm.is_told for arm in learning):
            raise InvalidInput(f"{option} {value}: no searcher learns here. Give one, as in --searcher tpe.")
    if worth_by == "inherited":
        for arm in learning:
            for name in arm.varied_training:
                retrained = "Give worth_by retrained, or leave" if arm.is_told else "Leave"
                raise InvalidInput(
                    f"{TRAINED}{name} with searcher {arm.searcher}: searches are worth their accuracies by inherited "
                    f"weights, in which it changes nothing. {retrained} the searcher out."
                )
        return
    if training.select == "nothing":
        raise InvalidInput("worth_by retrained with training.select nothing: select front or final")
    if training.rungs:
        raise InvalidInput("worth_by retrained with training.rungs: what is told are whole trainings. Leave one out.")
    for arm in learning:
        assert isinstance(arm.settings, TrainingSettings)
        if find_method(arm.method).trained_epochs(arm.settings):
            raise InvalidInput(f"worth_by retrained: {arm.method} trains its networks itself. Leave it inherited.")


def check_training(training: Training, table: AccuracySource | None) -> None:
    """Refuse seeds and rungs of a training that mean nothing."""
    if table:
        if len(training.seeds) > 1:
            raise InvalidInput(
                f"training.seeds {training.seeds} with a table: expected one, for a table has the same accuracy for "
                "every seed"
            )
    elif training.rungs and training.rungs[-1] >= training.settings.epochs:
        raise InvalidInput(
            f"training.rungs {training.rungs}: expected epochs below the {training.settings.epochs} of the training"
        )


def runs_learnt_from(runs: Sequence[str | Run], storage: str) -> tuple[str, ...]:
    """Folders or URIs of runs that are given by these, by their names in a storage, or as runs."""
    names = [str(one.storage if isinstance(one, Run) else one) for one in runs]
    found = [registry.absolute_path(name) if "/" in name else found_run(name, storage) for name in names]
    return tuple(dict.fromkeys(one for one in found if one))


def check_learn_from(runs: Sequence[str], arms: Sequence[Arm], fill: Fill | None, worth_by: str) -> None:
    """Refuse runs to learn from where nothing learns.

    Args:
        runs: some.
        arms: of the sweep.
        fill: what its front is to have.
        worth_by: weights that its searches are worth by.
    """
    if fill is None and not any(arm.is_told for arm in arms):
        raise InvalidInput(
            f"learn_from {', '.join(runs)}: latin and {BASELINE} choose without being told anything. Give another "
            "searcher, as in --searcher tpe, or leave it out."
        )
    if worth_by == "retrained":
        raise InvalidInput("learn_from with worth_by retrained: searches are told by inherited weights. Leave one out.")
