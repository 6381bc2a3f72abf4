"""Settings: typed values with ranges, validated when they are made.

Every method's ``Config`` and the settings of an evaluation extend :class:`TrainingSettings`, so that any of them can
be set by name on a command line or be swept by Tune, hyperparameters and knobs alike.
"""

from __future__ import annotations

import difflib
import math
import numbers
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from nasray.errors import InvalidInput, shown

Schedule = Literal["cosine", "cosine_restarts", "linear", "constant"]
DeviceKind = Literal["auto", "cpu", "cuda"]
Precision = Literal["tf32", "float32", "bf16"]

MOST_SEED = 2**63 - 1
"""Largest random seed: what numpy, torch and a table's column of whole numbers all take."""

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True, kw_only=True)
class Range:
    """An interval that a setting may be drawn from.

    Raises:
        InvalidInput: ends that are no numbers (whole ones where ``integer``), or not in order, or a logarithmic scale
            from 0 or below.
    """

    low: float
    high: float
    log: bool = False
    """Whether to draw evenly on a logarithmic scale."""
    integer: bool = False
    when: tuple[str, Any] | None = None
    """Name and value of another setting that is varied: without it, this one keeps the value that it has else."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", _condition(self.when))
        for end in ("low", "high"):
            check_number(f"{end} of a range:", getattr(self, end), whole=self.integer)
        ends = f"range {self.low:g} to {self.high:g}"
        if self.low > self.high:
            raise InvalidInput(f"{ends}: expected the lower end first")
        if self.log and self.low <= 0:
            raise InvalidInput(f"{ends} on a logarithmic scale: expected ends above 0")


@dataclass(frozen=True)
class Choice:
    """Values between which a setting is drawn. (A tuple in a param space has each of its values searched.)

    Raises:
        InvalidInput: fewer than two values, or one twice.
    """

    values: tuple[Any, ...]
    when: tuple[str, Any] | None = None
    """As of a :class:`Range`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", _condition(self.when))
        object.__setattr__(self, "values", as_tuple("values of a Choice:", self.values))
        if len(self.values) < 2 or any(one in self.values[:place] for place, one in enumerate(self.values)):
            raise InvalidInput(f"choice of {shown(self.values)}: expected two values or more, none twice")


def _condition(when: Any) -> tuple[str, Any] | None:
    """A condition as it is kept; JSON has a list for it."""
    if when is None:
        return None
    if not isinstance(when, list | tuple) or len(when) != 2 or not isinstance(when[0], str):
        raise InvalidInput(f"when {shown(when)}: expected the name of a setting and a value of it")
    return (when[0], when[1])


def setting(default: Any, *, low: float | None = None, high: float | None = None, unit: str = "") -> Any:
    """A dataclass field that accepts numbers from ``low`` to ``high``, both included; ``unit`` is for its help."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit})


def knob(
    default: Any,
    low: float,
    high: float,
    *,
    log: bool = False,
    integer: bool = False,
    open_above: bool = False,
    unit: str = "",
) -> Any:
    """A dataclass field that trades accuracy for cost, with the range that Tune sweeps and that it accepts.

    Where it is ``open_above`` it accepts larger values too.
    """
    swept = Range(low=low, high=high, log=log, integer=integer)
    return field(
        default=default, metadata={"low": low, "high": None if open_above else high, "knob": swept, "unit": unit}
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Values by name, each of its type and in its range.

    Raises:
        InvalidInput: a value of another type or outside its range.
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for one in fields(self):
            value = _coerced(one.name, getattr(self, one.name), hints[one.name])
            object.__setattr__(self, one.name, value)
            low, high = one.metadata.get("low"), one.metadata.get("high")
            if value is None or (low is None and high is None):
                continue
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                accepted = f"{low} to {high}" if high is not None and low is not None else f"{low} and above"
                raise InvalidInput(f"{one.name} {value}: expected {accepted}")

    @classmethod
    def knobs(cls) -> dict[str, Range]:
        """The fields that trade accuracy for cost, with their ranges."""
        return {one.name: one.metadata["knob"] for one in fields(cls) if "knob" in one.metadata}

    @classmethod
    def of(cls: type[S], values: Mapping[str, Any]) -> S:
        """Settings from names and values, the rest at their defaults.

        Raises:
            InvalidInput: a name that is no field, or a value that the field does not accept.
        """
        check_names(cls, values)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name: JSON can hold them, and :meth:`of` reads them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How a network's weights are trained. Defaults: the search of DARTS on CIFAR-10 (methods.md 0.5)."""

    epochs: int = setting(50, low=1)
    """Epochs, at most: a method may finish earlier."""
    batch_size: int = setting(64, low=2)
    learning_rate: float = setting(0.025, low=0.0)
    """Initial learning rate of SGD."""
    learning_rate_min: float = setting(0.001, low=0.0)
    """Learning rate at the end of a falling schedule."""
    schedule: Schedule = "cosine"
    """How the learning rate changes from epoch to epoch."""
    restart_epochs: int = setting(10, low=1)
    """Epochs until the first restart of ``cosine_restarts``; each period is twice as long as the one before."""
    warmup_epochs: int = setting(0, low=0)
    """Epochs in which the learning rate rises linearly to its start."""
    momentum: float = setting(0.9, low=0.0, high=1.0)
    nesterov: bool = False
    """Whether the momentum is Nesterov's; it needs one above 0."""
    weight_decay: float = setting(3e-4, low=0.0)
    decay_normalisations: bool = True
    """Whether the scales and shifts of normalisations, and biases, decay as well."""
    gradient_clip: float = setting(5.0, low=0.0)
    """Largest norm of the weights' gradient."""
    label_smoothing: float = setting(0.0, low=0.0, high=1.0)
    auxiliary_weight: float = setting(0.0, low=0.0)
    """Weight of the auxiliary head's loss; 0 builds no head."""
    drop_path: float = setting(0.0, low=0.0, high=0.99)
    """Probability of drop path at the end of training; it rises linearly from 0."""
    classifier_dropout: float = setting(0.0, low=0.0, high=0.99)
    """Probability with which a feature is dropped before the classifier, in training."""
    augmentation: str = "standard"
    """Name of one of the dataset's augmentations of training images."""
    channels: int | None = setting(None, low=1)
    """Channels of the first cell; None means the space's own number."""
    cells: int | None = setting(None, low=1)
    """Number of cells; None means the space's own number."""
    skeleton: str = "auto"
    """Stem and classifier around the cells: cifar, imagenet, or auto, which is imagenet from sides of 128 pixels."""
    train_examples: int | None = setting(None, low=1)
    """Most examples to train on, balanced over classes; None means all."""
    validation_fraction: float = setting(0.1, low=0.01, high=0.9)
    """Share of the dataset's training part that is kept for validation."""
    split_seed: int = setting(0, low=0, high=MOST_SEED)
    """Seed of the split into training, architecture and validation parts: the same for every trial of a sweep."""
    threads: int = setting(1, low=1, high=1024)
    """CPU threads that each trial computes with. Results vary slightly with their number, by rounding."""
    device: DeviceKind = "auto"
    """Kind of device to compute on; auto means the GPU if there is one (in a sweep: if trials reserve one). A run keeps
    the kind that it began with."""
    precision: Precision = "tf32"
    """How factors are rounded: on GPUs tf32 to 10 bits, float32 not at all, which is slower; on processors these two
    are the same. bf16 rounds to 7 bits what networks compute and keep, but for normalisations, losses and what the
    architecture learns from."""
    recompute_cells: bool = False
    """Whether to keep no more of a cell than what enters it, and compute the rest again for its gradients."""
    cuda_graphs: bool = False
    """Whether GPUs replay the steps of an epoch as CUDA graphs, where a method's steps are alike. No GPU has run it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0.0:
            raise InvalidInput("nesterov true with momentum 0: expected false, or a momentum above 0")


COMPUTING = frozenset(("threads", "device", "precision", "recompute_cells", "cuda_graphs"))
"""Settings that say what computes and how, and change numbers by their rounding alone."""
HYPERPARAMETERS = frozenset(one.name for one in fields(TrainingSettings)) - {
    *("epochs", "channels", "cells", "skeleton", "train_examples", "validation_fraction", "split_seed"),
    *COMPUTING,
}
"""Settings that a sweep may vary of the trainings that share a front. The others say which trainings compare: their
length, size and examples, and what computes them."""
TRAINED = "training."
"""Before the name of such a setting, where it stands beside those of searches: in a param space, and as a column."""


def check_names(cls: type[Settings], values: Mapping[str, Any]) -> None:
    """Check that every name is a field.

    Raises:
        InvalidInput: a name is not a setting; names the first such, and the settings.
    """
    known = {one.name for one in fields(cls)}
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"{cls.__qualname__} says which there are"
            raise InvalidInput(f"unknown setting {shown(name)}: {hint}")


def check_fields(what: str, cls: type[Any], values: Mapping[str, Any], *, without: Collection[str] = ()) -> None:
    """Check JSON's values of a dataclass: that every name is a field, and that no field without a default is missing.

    Args:
        what: they are of, for the message.
        cls: a dataclass.
        values: by name.
        without: fields that JSON does not have.

    Raises:
        InvalidInput: naming what is unknown or missing, and all that are accepted.
    """
    known = {one.name: one for one in fields(cls) if one.name not in without}
    unknown = sorted(set(values) - set(known))
    missing = [
        one.name
        for one in known.values()
        if one.default is MISSING and one.default_factory is MISSING and one.name not in values
    ]
    if unknown or missing:
        wrong = f"with {', '.join(unknown)}" if unknown else f"without {', '.join(missing)}"
        raise InvalidInput(f"{what} {wrong}: expected one of {', '.join(known)}")


def check_seed(name: str, value: object) -> None:
    """Check a random seed.

    Raises:
        InvalidInput: no whole number from 0 to :data:`MOST_SEED`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_SEED:
        raise InvalidInput(f"{name} {shown(value)}: expected a whole number from 0 to {MOST_SEED}")


def changes(settings: Settings) -> dict[str, Any]:
    """The fields of settings that differ from their defaults."""
    return {
        one.name: getattr(settings, one.name)
        for one in fields(settings)
        if one.default is MISSING or getattr(settings, one.name) != one.default
    }


def typed(value: Any) -> list[str]:
    """The words that stand for a value on the command line."""
    if isinstance(value, Range):
        ends = ":".join(word for end in (value.low, value.high) for word in typed(end))
        return [f"{ends}:log" if value.log else ends]
    if isinstance(value, Choice):
        return [",".join(word for one in value.values for word in typed(one))]
    if isinstance(value, tuple | list):
        return [word for one in value for word in typed(one)]
    if isinstance(value, float):
        short = f"{value:.12g}"
        return [short if float(short) == value else repr(value)]
    if isinstance(value, bool):
        return [str(value).lower()]
    return ["none" if value is None else str(value)]


def as_words(name: str, value: Any) -> list[str]:
    """The words that set an option to a value on the command line."""
    if isinstance(value, bool):
        front, dot, back = name.rpartition(".")
        return [f"--{front}{dot}{'' if value else 'no-'}{back}".replace("_", "-")]
    flag, words = f"--{name.replace('_', '-')}", typed(value)
    of_flag = isinstance(value, Choice) and all(isinstance(one, bool) for one in value.values)
    if len(words) == 1 and (of_flag or words[0].startswith("-")):  # which would be taken for an option
        return [f"{flag}={words[0]}"]
    return [flag, *words]


def _coerced(name: str, value: Any, hint: Any) -> Any:
    """The value as the type of its field; whole floats pass as integers, for JSON and samplers give them."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if typing.get_origin(option) is Literal:
            if value in typing.get_args(option):
                return value
        elif option is bool or isinstance(value, bool):
            if option is bool and isinstance(value, bool):
                return value
        elif option in (int, float):
            # JSON holds no infinity; a numpy scalar is a Real too.
            if _is_finite_number(value) and (option is float or value == int(value)):
                return option(value)
        elif isinstance(option, type) and isinstance(value, option):
            return value
    raise InvalidInput(f"{name} {shown(value)}: expected {_described(options)}")


def _is_finite_number(value: object) -> bool:
    try:
        return isinstance(value, numbers.Real) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _described(options: tuple[Any, ...]) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return " or ".join(
        " or ".join(map(str, typing.get_args(option)))
        if typing.get_origin(option) is Literal
        else words.get(option, str(option))
        for option in options
    )


def check_number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    whole: bool = False,
    words: str = "",
) -> None:
    """Check a field that holds a finite number.

    Args:
        name: of the field, for the message.
        value: what it holds.
        low: smallest value.
        above: what the value must exceed, in place of ``low``.
        whole: whether only whole numbers are accepted.
        words: what else is accepted, for the message.

    Raises:
        InvalidInput: another type, infinite, or too small.
    """
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if is_number and abs(value) < math.inf and (value >= low if low is not None else above is None or value > above):
        return
    what = "a whole number" if whole else "a number"
    bound = f" from {low}" if low is not None else "" if above is None else f" above {above}"
    raise InvalidInput(f"{name} {shown(value)}: expected {words}{what}{bound}")


def as_tuple(name: str, values: Any, or_else: str = "") -> tuple[Any, ...]:
    """The values of a field that holds several.

    Args:
        name: of the field, for the message.
        values: what it holds.
        or_else: what else is expected, for the message.

    Raises:
        InvalidInput: one value, text or a mapping.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"{name} {shown(values)}: expected {or_else}a tuple of values")
    return tuple(values)


def check_seeds(name: str, seeds: tuple[int, ...]) -> None:
    """Check a field that holds random seeds.

    Raises:
        InvalidInput: no seed, a seed that is not a whole number from 0, or one given twice.
    """
    for seed in seeds:
        check_number(name, seed, low=0, whole=True)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InvalidInput(f"{name} {seeds}: expected one or more different numbers")
