"""Population-based training by Ray Tune's own scheduler, whose decisions become the members' through the run's folder.

Members are compared when all of them have done the same number of epochs (Tune's ``synch``): so a clone goes on where
it was, each member has each epoch once, and neither the number of processes nor their speed changes what is decided.
What Tune decides is written into the run's folder before any member goes on, and read there by the member.

Tune's clock knows no resumed trials, nor one whose process was lost: it would compare members at different epochs. So
a pass ends when a member is lost or ends early, and the next one begins with a clock of its own, set to the next epoch
at which all members can meet.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, PopulationBasedTraining, TrialScheduler

from nasray.errors import printable
from nasray.runs import Storage, open_storage
from nasray.runs.events import note
from nasray.runs.patience import PATIENCE
from nasray.settings import Choice, Range
from nasray.trials.checkpoints import newest_epoch
from nasray.trials.population import Clone, Population, read_clones, write_clones
from nasray.trials.running import EPOCH, GIVEN_UP, WAITS
from nasray.trials.trial import TrainingTrial
from nasray.tune.phase import CLONED, SCORE, SETTINGS, TRIAL


class Comparisons(Callback, Stopper):
    """A pass of a population: writes down what its scheduler decides, and ends it where its clock would be wrong.

    Args:
        population: whose pass it is.
        storage: the run's folder.
        waiting: members that go on.
        known: all members, in order.
    """

    def __init__(
        self, population: Population, storage: Storage, waiting: Sequence[TrainingTrial], known: Sequence[TrainingTrial]
    ) -> None:
        self.population = population
        self._where = str(storage)
        self._places = {trial.name: place for place, trial in enumerate(known)}
        self._seed = known[0].config.seed
        self._epochs = {trial.name: newest_epoch(storage, trial.name) for trial in waiting}
        clones = read_clones(storage)
        self.next = population.next_comparison(list(self._epochs.values()), clones)
        """Epochs after which members are compared next."""
        self._known: dict[str, str] = {}
        """Of each member, what the config of its last clone is known by."""
        self._over = False
        self._begun = {trial.name: in_force_of(trial, population) for trial in waiting}
        for epoch in sorted(clones):
            for name in self._begun.keys() & clones[epoch].keys():
                self._begun[name] = dict(clones[epoch][name].settings)

    @property
    def resumes(self) -> bool:
        """Whether members go on from where an earlier pass left them."""
        return any(self._epochs.values())

    @property
    def param_space(self) -> dict[str, Any]:
        """Tune's, of one trial a member: its name, and the settings that it goes on with."""
        begun = dict(self._begun)
        return {
            TRIAL: tune.grid_search(list(begun)),
            SETTINGS: tune.sample_from(lambda spec: dict(begun[spec.config[TRIAL]])),  # type: ignore[attr-defined]
            CLONED: "",
        }

    def scheduler(self) -> TrialScheduler:
        """Tune's, which compares members from the next comparison on; one alone has nobody to be compared with."""
        if len(self._begun) < 2:
            return FIFOScheduler()  # type: ignore[no-untyped-call]
        return PopulationBasedTraining(
            time_attr=EPOCH,
            metric=SCORE,
            mode="max",
            perturbation_interval=self.population.interval,
            burn_in_period=self.next,
            hyperparam_mutations={SETTINGS: {name: _source(one) for name, one in self.population.varied.items()}},
            custom_explore_fn=partial(explored, self.population),
            log_config=False,
            synch=True,
        )

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Called by Tune before every event: what it draws for a comparison is the same whenever it is made."""
        random.seed(f"{self._seed} {self.next}")

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune with every report, once its scheduler has decided."""
        while result.get(EPOCH, 0) > self.next:  # nobody became a clone there
            self.next += self.population.interval
        clones = {str(one): one for one in trials if one.config[CLONED] != self._known.get(str(one), "")}
        if not clones:
            return
        self._known |= {name: one.config[CLONED] for name, one in clones.items()}
        storage = open_storage(self._where, patience=PATIENCE)
        found = {
            name: Clone(source=one.config[TRIAL], settings=dict(one.config[SETTINGS])) for name, one in clones.items()
        }
        write_clones(storage, self.next, found)
        for name, one in clones.items():
            one.config[TRIAL] = name  # Tune copies the whole config
            note(self._told(name, found[name]))
        self.next += self.population.interval

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune when a member has ended: all others would wait for one that ended early."""
        result = trial.last_result or {}
        self._over = self._over or bool(result.get(WAITS) or result.get(GIVEN_UP))

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune when a member's process was lost, or it raised an error."""
        self._over = True

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Called by Tune when a member's process could not even begin."""
        self._over = True

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Called by Tune with every report: no member is stopped alone."""
        return False

    def stop_all(self) -> bool:
        """Called by Tune before every event."""
        return self._over

    def _told(self, name: str, clone: Clone) -> str:
        settings = ", ".join(f"{one} {_short(value)}" for one, value in clone.settings.items())
        mine, other = self._places[name], self._places[clone.source]
        return printable(f"epoch {self.next}: member {mine} goes on as a copy of member {other}, with {settings}")


def explored(population: Population, config: dict[str, Any]) -> dict[str, Any]:
    """Called by Tune with a clone's new config: that of the member that is cloned, with settings that Tune has changed.

    Args:
        population: says within what they stay.
        config: Tune's.
    """
    return {**config, SETTINGS: population.within(config[SETTINGS]), CLONED: uuid.uuid4().hex}


def in_force_of(trial: TrainingTrial, population: Population) -> dict[str, Any]:
    """The settings that a member begins with, of those that vary."""
    return {name: getattr(trial.config.settings, name) for name in population.varied}


@contextmanager
def own_draws() -> Iterator[None]:
    """Within it Python's own random generator, which Tune's scheduler draws from, is ours: it is put back."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)


def _source(one: Range | Choice) -> Any:
    """What Tune draws a setting from anew. Of a list it else takes a neighbour, a number it else multiplies."""
    return list(one.values) if isinstance(one, Choice) else partial(_drawn, one)


def _drawn(one: Range) -> float:
    low, high = (math.log(one.low), math.log(one.high)) if one.log else (one.low, one.high)
    value = random.uniform(low, high)  # the generator that Tune itself draws from
    value = math.exp(value) if one.log else value
    return round(value) if one.integer else value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
