"""What a sweep will do before it does it: trials, epochs, time, memory, costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from nasray.costs import cost_table, smallest_macs
from nasray.costs.memory import training_bytes
from nasray.gates import Gates
from nasray.methods.method import Problem
from nasray.networks import supernet
from nasray.sweeps.arm import Arm
from nasray.sweeps.learning import Learner, learners
from nasray.sweeps.proposals import proposals
from nasray.sweeps.sweep import Sweep
from nasray.trials.check import any_architecture, check_search
from nasray.trials.evaluation import EvaluationConfig
from nasray.trials.search_config import SearchConfig, sizes
from nasray.trials.speed import epoch_seconds
from nasray.tune.resources.room import has_own_ray, own_resources, places

FRONT = 10
"""Architectures that a method's front is taken to have, where nothing bounds it."""
START_SECONDS, TRIAL_SECONDS = 20.0, 1.0
"""Of Ray, and of a trial that begins in a process that is there already (measured; docs/scale.md)."""
SLOWER = 1.3
"""Trials side by side share memory and caches: how much longer each takes than alone (measured on two cores)."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a sweep will do."""

    searches: int
    search_epochs: int
    """Of all searches together, at most."""
    trainings: int
    """Trainings from scratch, baselines and seeds included; of a front that nothing bounds, a guess."""
    training_epochs: int
    """Of all trainings together, at most."""
    bounded: bool
    """Whether the number of trainings is known, or at most what is said."""
    parallel: int
    """Trials at once."""
    seconds: float | None
    """From start to end; None where nothing is trained, or no epoch was measured."""
    waiting: float
    """Seconds of these that no epoch takes: starts of Ray and of trials."""
    macs: tuple[float, float]
    """Multiply-adds (M) of the smallest and the largest network of its spaces."""


def forecast(sweep: Sweep, *, measured: bool = True) -> Forecast:
    """Count what a sweep will do, and measure an epoch of its searches and trainings in this process.

    Args:
        sweep: what would be run.
        measured: whether epochs are measured; else there is no time.

    Raises:
        InvalidInput: it could not run.
    """
    configs = [] if not sweep.search_arms else sweep.searches()
    choosing = learners(sweep)
    for learner in choosing:
        configs += [_longest(sweep, learner)] * learner.searches
    training = sweep.training
    finds = sum(not _trains_itself(sweep, arm) for arm in sweep.search_arms)
    a_method = 1 if training.select == "final" else training.most or FRONT
    chosen = 0 if training.select == "nothing" else a_method * (len(configs) if training.select == "final" else finds)
    baseline = sweep.random_baseline and training.select != "nothing"
    trainings = (chosen + (max(chosen, a_method) if baseline and configs else 0)) * len(training.seeds)
    trainings += sum(one.evaluations for one in proposals(sweep))
    if sweep.worth_by == "retrained":
        trainings += sum(learner.searches for learner in choosing) * a_method * len(training.seeds)
    epochs = 0 if sweep.table else trainings * training.settings.epochs
    parallel = _parallel(sweep)
    slower = SLOWER if parallel > 1 else 1.0
    waiting = START_SECONDS + (len(configs) + trainings) * TRIAL_SECONDS * slower / parallel
    seconds = None
    if measured and not (sweep.table and not configs):
        searching = _search_seconds(sweep, configs)
        training_seconds = _training_seconds(sweep) * epochs if epochs else 0.0
        seconds = waiting + (searching + training_seconds) * slower / parallel
    return Forecast(
        searches=len(configs),
        search_epochs=sum(config.settings.epochs for config in configs),
        trainings=trainings,
        training_epochs=epochs,
        bounded=training.most is not None or training.select != "front" or not configs,
        parallel=parallel,
        seconds=seconds,
        waiting=waiting,
        macs=_macs(sweep),
    )


def lines(sweep: Sweep, found: Forecast) -> Iterator[str]:
    """A forecast in words."""
    if found.searches:
        filled = "at most " if sweep.fill else ""
        open_ended = sweep.search_rungs or any("epochs" in learner.chosen for learner in learners(sweep))
        most = "at most " if not filled and open_ended else ""
        yield f"{filled}{found.searches} searches, {most}{found.search_epochs} epochs in all{_stopping(sweep)}"
        yield from dict.fromkeys(map(partial(_choosing, sweep), learners(sweep)))
    if found.trainings:
        many = "at most" if found.bounded else "about"
        looked_up = "look-ups" if sweep.table else f"trainings from scratch, {found.training_epochs} epochs in all"
        unknown = "" if found.bounded else f" (if a method's front has {FRONT}; --training.most bounds it)"
        yield f"{many} {found.trainings} {looked_up}{unknown}"
    at_once = f"{found.parallel} trial{'s' * (found.parallel != 1)} at once"
    if found.seconds is not None:
        yield f"{'at most ' if sweep.search_rungs else ''}about {spoken(found.seconds)}, with {at_once}"
    else:
        yield at_once
    if sweep.search_arms:
        largest_bytes = max(_memory(sweep, arm) for arm in sweep.search_arms)
        yield f"a step of the largest search keeps {largest_bytes / 2**20:,.0f} MiB, besides torch and the data"
    smallest, largest = found.macs
    yield f"networks of {smallest:.4g} to {largest:.4g} M multiply-adds"
    if sweep.budget is not None:
        yield f"budget {sweep.budget.macs:g} M: what exceeds it is made narrower"


def _stopping(sweep: Sweep) -> str:
    """Which searches end early, in words."""
    if not sweep.search_rungs:
        return ""
    rungs = ", ".join(map(str, sweep.search_rungs))
    return f" (at {rungs} epochs the best 1/{sweep.search_reduction_factor:g} of each method's go on)"


def spoken(seconds: float) -> str:
    """A time as one says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.3g} minutes"
    return f"{seconds / 3600:.3g} hours" if seconds < 2 * 86400 else f"{seconds / 86400:.3g} days"


def _trains_itself(sweep: Sweep, arm: Arm) -> bool:
    config = sweep.search_config(arm, arm.settings)
    return bool(config.method_class.trained_epochs(config.settings)) and not sweep.table


def _parallel(sweep: Sweep) -> int:
    """Trials at once: on this machine. Of a cluster nothing is known before it is connected to."""
    execution = sweep.execution
    if not has_own_ray(execution.address):
        return 1
    own = own_resources()
    gpus = execution.gpus_per_trial
    share = (1.0 if own["GPU"] else 0.0) if gpus == "auto" else gpus
    return max(1, places([own], {"CPU": execution.cpus_per_trial, "GPU": share}))


def _longest(sweep: Sweep, learner: Learner) -> SearchConfig:
    """The longest search that a learner may choose."""
    settings = [point.settings for point in learner.arm.extremes()] if learner.fill is None else [learner.settings]
    configs = [sweep.search_config(learner.arm, one, learner.seeds[0]) for one in settings]
    return max(configs, key=lambda config: config.settings.epochs)


def _choosing(sweep: Sweep, learner: Learner) -> str:
    """Who chooses what, in words."""
    others = [name for name, values in learner.arm.param_space.items() if isinstance(values, tuple)]
    of_each = [*(["seed"] if len(sweep.seeds) > 1 else []), *others]
    times = f"{learner.searches // len(learner.seeds)} times" + (
        f" for each {' and '.join(of_each)}" if of_each else ""
    )
    if learner.fill is not None:
        wanted = learner.fill.at or (f"{learner.fill.count} targets",)
        near = ", ".join(f"{one:g} M" if isinstance(one, float) else str(one) for one in wanted)
        return f"{learner.chooser} chooses {', '.join(learner.chosen)}, at most {times}: near {near}"
    told = f"; a search is worth its {sweep.worth}, by {sweep.worth_by} weights" if learner.arm.is_told else ""
    return f"{learner.chooser} chooses {', '.join(learner.chosen)}, {times}{told}"


def _search_seconds(sweep: Sweep, configs: Sequence[SearchConfig]) -> float:
    """Of all searches, one after the other: those of a method on a space are taken to be alike."""
    found = 0.0
    for method, space in dict.fromkeys((config.method, config.space) for config in configs):
        own = [config for config in configs if (config.method, config.space) == (method, space)]
        check_search(own[0], sweep.data)
        found += epoch_seconds(own[0], sweep.data) * sum(config.settings.epochs for config in own)
    return found


def _training_seconds(sweep: Sweep) -> float:
    """Of an epoch of training a network that is neither small nor large, of the first space."""
    arm = sweep.arms[0]
    cells = sweep.network_size(arm, sweep.data).cells
    config = EvaluationConfig(
        space=arm.space,
        dataset=sweep.dataset,
        architecture=any_architecture(arm.cell_space, cells),
        settings=sweep.training.settings,
        seed=0,
        budget=sweep.most_macs,
        data_root=sweep.execution.data_root,
    )
    return epoch_seconds(config, sweep.data)


def _memory(sweep: Sweep, arm: Arm) -> int:
    config = sweep.search_config(arm, arm.settings)
    size, evaluated = sizes(config, config.cell_space, sweep.data)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        problem = Problem(config.cell_space, size, evaluated, config.seed, config.budget)
        method = config.method_class(config.settings, problem)
        gates: list[Gates] = method.gates()
    with torch.device("meta"):
        network = supernet(config.cell_space, size, config.settings.auxiliary_weight > 0, method.needs)
    return training_bytes(network, size.input_shape, config.settings.batch_size, gates)


def _macs(sweep: Sweep) -> tuple[float, float]:
    dataset = None if sweep.table else sweep.data
    sizes = [(arm.cell_space, sweep.network_size(arm, dataset)) for arm in sweep.arms]
    return (
        min(smallest_macs(space, size) for space, size in sizes),
        max(cost_table(space, size).largest_macs for space, size in sizes),
    )
