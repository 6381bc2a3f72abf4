"""Rungs of searches: filled again from learning curves, each search among those of its method, space and seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from nasray.methods.darts import DARTS
from nasray.methods.gold_nas import GoldNAS
from nasray.runs import EPOCHS, Storage, write_rows
from nasray.runs.outcomes import Outcome
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import SearchTrial, trial_of
from nasray.tune.pareto_asha import ParetoASHA, Record
from nasray.tune.phase import Phase
from nasray.tune.rungs import group_of, names_of_known, records

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def search(lambda0: float = 0.1, method: str = "gold_nas", seed: int = 0) -> SearchTrial:
    settings = GoldNAS.Config(lambda0=lambda0) if method == "gold_nas" else DARTS.Config()
    config = SearchConfig(method=method, space="gold", dataset="digits", settings=settings, seed=seed)
    return SearchTrial(run="r", config=config, rungs=(2, 4))


def phase_of(*trials: SearchTrial) -> Phase:
    return Phase(name="search", kind="searches", run="r", dataset="digits", trials=trials, rungs=(2, 4, 9))


def write_epochs(storage: Storage, trial: str, values: list[tuple[float, float]], late: float = 0.0) -> None:
    """Epochs from the first on, an hour each: accuracies of the supernet and expected multiply-adds (M)."""
    shared: dict[str, Any] = {
        **{"run": "r", "trial_id": trial, "kind": "search", "method": "gold_nas", "space": "gold"},
        **{"dataset": "digits", "seed": 0, "metric": "accuracy", "loss": 1.0, "train_accuracy": 0.5, "seconds": 1.0},
    }
    rows = [
        {
            **shared,
            "epoch": epoch,
            "supernet_accuracy": accuracy,
            "expected_macs": macs,
            "created_at": NOON + timedelta(hours=epoch + late),
        }
        for epoch, (accuracy, macs) in enumerate(values, 1)
    ]
    write_rows(storage, EPOCHS, f"{trial}-000001", rows)


def test_rungs_are_filled_from_learning_curves_in_the_order_of_arrival(storage: Storage) -> None:
    slow, quick, under_way, stranger = search(0.1), search(0.2), search(0.3), search(0.4)
    write_epochs(storage, slow.name, [(0.2, 9.0), (0.3, 8.0), (0.4, 7.0)], late=0.5)
    write_epochs(storage, quick.name, [(0.3, 9.5), (0.5, 8.5), (0.6, 7.5), (0.7, 6.5), (0.8, 5.5)])
    write_epochs(storage, under_way.name, [(0.1, 9.9), (0.1, 9.9)], late=0.75)
    write_epochs(storage, stranger.name, [(0.9, 1.0)] * 5)  # of another phase
    outcomes = {
        slow.name: Outcome(state="stopped", digest=slow.digest, epoch=4),
        quick.name: Outcome(state="done", digest=quick.digest, epoch=9),
    }
    phase = phase_of(slow, quick, under_way)
    found = records(phase, storage, outcomes, names_of_known(phase))
    assert found == [
        Record(quick.name, 2, (0.5, 8.5), False),
        Record(slow.name, 2, (0.3, 8.0), False),
        Record(under_way.name, 2, (0.1, 9.9), None),
        Record(quick.name, 4, (0.7, 6.5), False),
    ]
    asha = ParetoASHA(list(phase.compared_by), list(phase.compared_by.values()), "epoch", rungs=phase.rungs)
    asha.refill(found)
    # What was not decided is decided as it would have been: it is dominated.
    assert [entry.kept for entry in asha.rungs[2].values()] == [True, True, False]


def test_a_search_that_was_stopped_at_a_rung_stays_so(storage: Storage) -> None:
    trial = search()
    write_epochs(storage, trial.name, [(0.2, 9.0), (0.3, 8.0)])
    outcome = Outcome(state="stopped", digest=trial.digest, epoch=2)
    phase = phase_of(trial)
    (record,) = records(phase, storage, {trial.name: outcome}, names_of_known(phase))
    assert record.stopped
    assert records(phase_of(), storage, {}, names_of_known(phase)) == []


def test_searches_are_compared_with_those_of_their_method_space_and_seed() -> None:
    trials = [search(0.1), search(0.2), search(0.1, seed=1), search(method="darts")]
    group = group_of(phase_of(*trials))
    assert group is not None
    groups = [group(trial.name) for trial in trials]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3
    assert group_of(Phase(name="train", kind="trainings", run="r", dataset="digits")) is None


def test_a_trial_keeps_its_rungs_and_is_the_same_without_them() -> None:
    trial = search()
    assert trial_of(trial.to_dict()) == trial
    assert SearchTrial(run="r", config=trial.config).name == trial.name
