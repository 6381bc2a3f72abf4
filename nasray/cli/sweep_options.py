"""What can be typed of a sweep, and the sweep that it makes of another."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from nasray.cli.arguments import is_typed, parse
from nasray.errors import InvalidInput
from nasray.settings import TRAINED, Settings
from nasray.sweeps import AccuracySource, Budget, Execution, Sweep, Training
from nasray.sweeps.changes import with_method, with_samples, with_settings, with_space
from nasray.tabular import Unit


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """A sweep as the command line takes it: flat, but for the training."""

    settings: Annotated[Settings, tyro.conf.arg(name="")]
    more_settings: Annotated[object, tyro.conf.arg(name="")]
    """Settings that the first arm does not have, and others do."""
    name: str
    """Name of the run. Running a sweep again under one name resumes the run."""
    method: str | None = None
    """Run this method or searcher alone; None means all of the sweep's."""
    space: str | None = None
    """Search this space in every arm; None means each arm's own."""
    draws: int | None = None
    """Number of draws from the ranges that are varied (an arm's samples); None means each arm's own."""
    dataset: str
    """Name of the dataset (nasray list datasets), or FILE.py:NAME."""
    seeds: tuple[int, ...]
    """Random seeds; each sampled setting is searched once per seed."""
    objectives: tuple[str, ...]
    """What black-box searchers trade off: any of accuracy, macs, params, latency_ms, and of the table's columns."""
    budget: float | None
    """Most multiply-adds (M) of the networks that are trained from scratch; others are made narrower."""
    reference: tuple[float, float] | None
    """Reference point of the hypervolume: multiply-adds (M) and accuracy (fraction of 1)."""
    table: str | None
    """File or folder of a table of accuracies, looked up in place of training."""
    table_columns: tuple[str, ...]
    """Columns of the table with accuracies, each as COLUMN=EPOCHS; none if their names tell the epochs."""
    table_unit: Unit
    """Unit of the table's accuracies: percent or fraction."""
    table_costs: tuple[str, ...]
    """Further columns of the table that are costs, such as latencies and energies of devices."""
    table_input_shape: tuple[int, ...] | None
    """Shape of one input of the table's networks, (channels, height, width); None means the published one."""
    table_classes: int | None
    """Number of classes that the table's networks tell apart; None means as many as the published ones."""
    random_baseline: bool
    """Whether random architectures are trained too, beside those that were found."""
    training: Training
    execution: Annotated[Execution, tyro.conf.arg(name="")]


def typed_sweep(sweep: Sweep, arguments: list[str], prog: str) -> Sweep:
    """A sweep with what was typed in the place of its own.

    A setting that was typed is fixed in every arm that has it: there it is no longer varied.

    Args:
        sweep: whose values hold where nothing was typed.
        arguments: --FIELD VALUE, --FLAG, --no-FLAG.
        prog: the command before them, for its help.

    Raises:
        InvalidInput: there is no such field, or a value is not accepted.
    """
    source = sweep.table or AccuracySource(path="none")
    default = SweepOptions(
        settings=sweep.arms[0].settings,
        more_settings=_more_settings(sweep),
        name=sweep.name,
        dataset=sweep.dataset,
        seeds=sweep.seeds,
        objectives=sweep.objectives,
        budget=sweep.most_macs,
        reference=sweep.reference,
        table=None if sweep.table is None else sweep.table.path,
        table_columns=source.columns,
        table_unit=source.unit,
        table_costs=source.costs,
        table_input_shape=source.input_shape,
        table_classes=source.classes,
        random_baseline=sweep.random_baseline,
        training=sweep.training,
        execution=sweep.execution,
    )
    typed = parse(SweepOptions, arguments, prog, default=default)
    of_table = ("columns", "unit", "costs", "input_shape", "classes")
    described = [name for name in of_table if is_typed(arguments, f"table_{name}")]
    if typed.table is None and described:
        flags = ", ".join(f"--table-{name.replace('_', '-')}" for name in described)
        raise InvalidInput(f"{flags} without a table: give it too, as --table FILE")
    table = typed.table and AccuracySource(
        path=typed.table,
        columns=typed.table_columns,
        unit=typed.table_unit,
        costs=typed.table_costs,
        input_shape=typed.table_input_shape,
        classes=typed.table_classes,
    )
    if typed.method is not None:
        sweep = with_method(sweep, typed.method)
    if typed.space is not None:
        sweep = with_space(sweep, typed.space)
    given = {**vars(typed.settings), **vars(typed.more_settings)}
    given |= {f"{TRAINED}{name}": value for name, value in typed.training.settings.to_dict().items()}
    sweep = with_settings(sweep, {name: value for name, value in given.items() if is_typed(arguments, name)})
    if typed.draws is not None:
        sweep = with_samples(sweep, typed.draws)
    shared = ("name", "dataset", "seeds", "objectives", "reference", "random_baseline", "training", "execution")
    return dataclasses.replace(
        sweep,
        budget=None if typed.budget is None else Budget(typed.budget),
        table=table or None,
        **{name: getattr(typed, name) for name in shared},
    )


def _more_settings(sweep: Sweep) -> object:
    """The settings of all arms that the first does not have, each with the value and type of the first that has it."""
    known = {one.name for one in dataclasses.fields(sweep.arms[0].settings)}
    known |= {one.name for one in dataclasses.fields(SweepOptions)}
    found: list[tuple[str, Any, Any]] = []
    for arm in sweep.arms[1:]:
        hints = typing.get_type_hints(type(arm.settings))
        for one in dataclasses.fields(arm.settings):
            if one.name not in known:
                known.add(one.name)
                told = tyro.conf.arg(help=f"A setting of {arm.method}.")
                value = dataclasses.field(default=getattr(arm.settings, one.name))
                found.append((one.name, Annotated[hints[one.name], told], value))
    return dataclasses.make_dataclass("MoreSettings", found, frozen=True, kw_only=True)()
