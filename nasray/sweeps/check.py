"""What is looked at before a sweep writes anything: a start that is refused leaves nothing behind."""

from __future__ import annotations

from nasray.costs import cost_table, smallest_macs
from nasray.errors import InvalidInput
from nasray.runs import Storage
from nasray.sweeps.arm import Arm
from nasray.sweeps.sweep import Sweep
from nasray.training.dataset import Dataset
from nasray.trials.check import Built, check_search, check_training
from nasray.tune.reports.trackers import check_trackers


def check(sweep: Sweep, storage: Storage) -> None:
    """Refuse a sweep some of whose trials could never run.

    The table, budget and trackers are checked, and each arm's search and training is built on the meta device, which
    takes no memory: at the ends of its ranges and with all of its grid's values.

    Args:
        sweep: what is to be run.
        storage: the run's folder. Nothing is written to it.

    Raises:
        InvalidInput: what cannot run, and what to change.
    """
    check_trackers(sweep.execution.trackers, storage)
    for arm in sweep.arms:
        sweep.fidelities(arm.space)
    dataset = _dataset(sweep)
    # What else must hold before the first write has its place here: one batch through the data, resources of a trial.
    _check_budget(sweep, dataset)
    _check_targets(sweep, dataset)
    built: Built = set()
    for arm in sweep.search_arms:
        assert dataset is not None
        for point in arm.extremes():
            check_search(sweep.search_config(arm, point.settings, sweep.seeds[0]), dataset, built)
    check_trainings(sweep)


def check_trainings(sweep: Sweep, flag: str = "--training.") -> None:
    """Refuse settings with which what some arm finds could never be trained from scratch.

    Args:
        sweep: whose training is meant.
        flag: what stands before a setting's name where it is typed.

    Raises:
        InvalidInput: what does not fit, and what to change.
    """
    dataset = _dataset(sweep)
    if sweep.table:
        return
    assert dataset is not None
    for arm in {arm.space: arm for arm in sweep.arms if _is_trained(sweep, arm)}.values():
        cells = sweep.network_size(arm, dataset).cells
        same_space = (one for one in sweep.arms if one.space == arm.space)
        points = (point for one in same_space if one.varied_training for point in one.extremes())
        for settings in dict.fromkeys([sweep.training.settings, *map(sweep.trained_with, points)]):
            check_training(arm.cell_space, settings, dataset, cells=cells, flag=flag)


def _dataset(sweep: Sweep) -> Dataset | None:
    """What is trained on; None where all is looked up."""
    if sweep.table and not sweep.search_arms:
        return None
    return sweep.data


def _is_trained(sweep: Sweep, arm: Arm) -> bool:
    """Whether architectures of an arm, or random ones beside them, are trained from scratch."""
    if arm.is_black_box:
        return True
    if sweep.training.select == "nothing":
        return False
    config = sweep.search_config(arm, arm.settings)
    return sweep.random_baseline or not config.method_class.trained_epochs(config.settings)


def _check_targets(sweep: Sweep, dataset: Dataset | None) -> None:
    """Refuse multiply-adds, near which candidates are wanted, that no network of the spaces has, or none may have."""
    if sweep.fill is None:
        return
    for target in sweep.fill.at:
        if sweep.budget is not None and not sweep.budget.allows(target):
            raise InvalidInput(f"fill_at {target:g}: above the budget of {sweep.budget.macs:g} M. Leave it out.")
        for arm in sweep.search_arms:
            space, size = arm.cell_space, sweep.network_size(arm, dataset)
            least, most = smallest_macs(space, size), cost_table(space, size).largest_macs
            if not least / (1 + sweep.fill.tolerance) <= target <= most / (1 - sweep.fill.tolerance):
                raise InvalidInput(
                    f"fill_at {target:g}: networks of {arm.space} with {size.channels} channels and {size.cells} cells "
                    f"have {least:.4g} to {most:.4g} M. Give others, or other training.channels."
                )


def _check_budget(sweep: Sweep, dataset: Dataset | None) -> None:
    if sweep.budget is None:
        return
    for arm in sweep.arms:
        # What was trained by others has its width, and candidates are counted at theirs.
        narrower = sweep.table is None and _is_trained(sweep, arm)
        sweep.budget.check_possible(arm.cell_space, sweep.network_size(arm, dataset), narrower=narrower)
