"""A population: trainings of one architecture at once, of which the worst go on as copies of the best, with settings
changed a little. Population-based training (Jaderberg et al. 2017, arXiv:1711.09846).

What a population is, and which copies its members became: the driver writes these into the run's folder before a member
goes on, and a member reads there, and nowhere else, what it is to go on with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nasray.errors import InvalidInput, shown
from nasray.runs.storage import Storage
from nasray.settings import Choice, Range, check_fields, check_names, check_number
from nasray.trials.evaluation import EvaluationSettings

CHANGEABLE = (
    *("learning_rate", "learning_rate_min", "momentum", "weight_decay", "gradient_clip", "label_smoothing"),
    *("auxiliary_weight", "drop_path", "classifier_dropout", "augmentation", "batch_size"),
)
"""Settings that may change between two epochs of one training."""
MOST_MEMBERS = 1_000
"""Of a population: all are compared at once."""
CLONES = "population.json"
"""In the run's folder: which members became copies of which, after which epochs."""
RESULTS = "population"
"""Folder in the run's folder: what each member came to, as its row would say it."""

_UNSAID = 5.0
"""Factor by which a setting is varied either way where nothing says how: a choice of ours."""


@dataclass(frozen=True, kw_only=True)
class Population:
    """Trainings of one architecture that are compared every few epochs.

    Raises:
        InvalidInput: fewer than two members, more than can be compared at once, no interval, or nothing that varies.
    """

    members: int
    interval: int
    """Epochs from one comparison to the next."""
    varied: Mapping[str, Range | Choice]
    """Settings of the training that members differ in, each with what it is drawn from and stays within."""

    def __post_init__(self) -> None:
        check_number("population", self.members, low=2, whole=True)
        if self.members > MOST_MEMBERS:
            raise InvalidInput(f"population {self.members}: expected at most {MOST_MEMBERS} members")
        check_number("perturbation_interval", self.interval, low=1, whole=True)
        for name, one in self.varied.items():
            if not isinstance(one, Range | Choice):
                raise InvalidInput(f"{name} {shown(one)} of a population: expected a Range or a Choice")
            if name not in CHANGEABLE:
                check_names(EvaluationSettings, {name: one})
                raise InvalidInput(
                    f"{name} of a population: it cannot change in the middle of a training. Give it one value; a "
                    f"population varies {', '.join(CHANGEABLE)}."
                )
            if one.when is not None:
                raise InvalidInput(f"{name} of a population: it varies in every member. Leave out its condition.")
            accepted = {field.name: field.default for field in fields(EvaluationSettings)}[name]
            if isinstance(one, Range) and isinstance(accepted, int) and not one.integer:
                raise InvalidInput(f"{name} of a population: expected a range of whole numbers, Range(integer=True)")
        if not self.varied:
            raise InvalidInput("population: expected a setting that varies, as learning_rate from 0.01 to 0.2")

    def check(self, settings: EvaluationSettings) -> None:
        """Refuse a population that cannot be trained so.

        Args:
            settings: of its trainings, with any value of those that vary.

        Raises:
            InvalidInput: what does not fit, and what to change.
        """
        if settings.epochs < 2:
            raise InvalidInput(
                f"epochs {settings.epochs} of a population: expected two or more, or nothing is compared"
            )
        if self.interval >= settings.epochs:
            raise InvalidInput(
                f"perturbation_interval {self.interval}: expected fewer epochs than the {settings.epochs} of the "
                "training, or nothing is ever compared"
            )
        for one in self.extremes(settings):
            if "auxiliary_weight" in self.varied and one.auxiliary_weight == 0.0:
                raise InvalidInput("auxiliary_weight 0 of a population: it builds no head. Expected values above 0.")

    def extremes(self, settings: EvaluationSettings) -> list[EvaluationSettings]:
        """Settings with each end of a range, and each value of a choice, one at a time.

        Raises:
            InvalidInput: one that the training does not accept.
        """
        ends = ((name, values_of(one)) for name, one in self.varied.items())
        return [replace(settings, **{name: value}) for name, values in ends for value in values]

    def settings(self, settings: EvaluationSettings) -> dict[str, Any]:
        """Settings as rows have them: what varies as what it is drawn from, for no single value tells it."""
        drawn = {name: _plain(one) for name, one in self.varied.items()}
        return {**settings.to_dict(), **drawn, "population": self.members, "perturbation_interval": self.interval}

    def within(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of what varies, kept within what each is drawn from."""
        return {name: _within(values[name], one) for name, one in self.varied.items()}

    def next_comparison(self, epochs: Collection[int], compared: Collection[int]) -> int:
        """The epochs after which members are compared next: all of them then stand at the same epoch.

        Args:
            epochs: that each member has done.
            compared: after which they were compared already.
        """
        most = max(epochs, default=0)
        following = max(1, -(-most // self.interval)) * self.interval
        return following + self.interval if following in compared else following

    def needed(self, epoch: int) -> int:
        """The epoch whose checkpoint other members may still go on from when one has done this many."""
        return (epoch - 1) // self.interval * self.interval

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {**asdict(self), "varied": {name: _plain(one) for name, one in self.varied.items()}}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Population:
        """A population from what :meth:`to_dict` gave.

        Raises:
            InvalidInput: a field that a population does not have, or a value that it does not accept.
        """
        check_fields("population", cls, values)
        varied = {
            name: Choice(tuple(one["values"])) if "values" in one else Range(**one)
            for name, one in values["varied"].items()
        }
        return cls(**{**values, "varied": varied})


def unsaid(settings: EvaluationSettings) -> dict[str, Range]:
    """What a population varies where nothing is said: learning rate and weight decay, around the given values.

    Raises:
        InvalidInput: both are 0.
    """
    given = {name: getattr(settings, name) for name in ("learning_rate", "weight_decay")}
    found = {
        name: Range(low=float(f"{value / _UNSAID:.6g}"), high=float(f"{value * _UNSAID:.6g}"), log=True)
        for name, value in given.items()
        if value > 0
    }
    if not found:
        raise InvalidInput("population: learning_rate and weight_decay are 0. Give a range of a setting to vary.")
    return found


def values_of(one: Range | Choice) -> tuple[Any, ...]:
    """The ends of a range, or the values of a choice."""
    if isinstance(one, Choice):
        return one.values
    return tuple(round(end) if one.integer else end for end in (one.low, one.high))


@dataclass(frozen=True, kw_only=True)
class Clone:
    """That a member goes on as a copy of another one."""

    source: str
    """Whose weights and momenta it takes over."""
    settings: Mapping[str, Any]
    """Of those that vary: with which it goes on."""


Clones = dict[int, dict[str, Clone]]
"""By the epoch after which, and the name of the member."""


def read_clones(storage: Storage) -> Clones:
    """The clones of a run's population so far.

    Raises:
        InvalidInput: the file holds something else.
    """
    if not storage.exists(CLONES):
        return {}
    values = storage.read_json(CLONES)
    try:
        return {
            int(epoch): {name: Clone(source=one["from"], settings=dict(one["settings"])) for name, one in own.items()}
            for epoch, own in values.items()
        }
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        raise InvalidInput(f"{storage}/{CLONES} holds something else than nasray writes ({error}).") from None


def write_clones(storage: Storage, epoch: int, clones: Mapping[str, Clone]) -> None:
    """Add what members became after an epoch."""
    known: Clones = {**read_clones(storage), epoch: dict(clones)}
    plain = {
        str(epoch): {name: {"from": one.source, "settings": dict(one.settings)} for name, one in own.items()}
        for epoch, own in sorted(known.items())
    }
    storage.write_json(CLONES, plain)


def in_force(clones: Clones, member: str, epoch: int) -> dict[str, Any]:
    """The settings that a member goes on with after an epoch, of those that it was cloned with; nothing before that."""
    found: dict[str, Any] = {}
    for after in sorted(clones):
        if after <= epoch and member in clones[after]:
            found = dict(clones[after][member].settings)
    return found


def best_of(results: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[str, Mapping[str, Any]]:
    """The member of the highest validation accuracy, of equal ones that of the lowest seed, with its row."""
    return min(results, key=lambda one: (-one[1]["accuracy"], one[1]["seed"]))


def _within(value: Any, one: Range | Choice) -> Any:
    if isinstance(one, Choice):
        return value if value in one.values else one.values[0]
    kept = min(max(float(value), one.low), one.high)
    return round(kept) if one.integer else min(max(float(f"{kept:.6g}"), one.low), one.high)


def _plain(one: Range | Choice) -> dict[str, Any]:
    values = {name: value for name, value in asdict(one).items() if name != "when"}
    return {**values, "values": list(values["values"])} if "values" in values else values
