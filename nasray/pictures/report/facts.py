"""What a report says in words: how the runs were made, how to repeat them, and what their figures do not show."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from nasray.errors import InvalidInput, told_once
from nasray.pictures.report.tables import BASELINE, RunTables
from nasray.runs.identity import EXECUTION, identity
from nasray.runs.outcomes import GAVE_UP, Outcome, read_outcomes
from nasray.spaces.metric import Metric

ONE_STAGE = "one stage"

Facts = list[tuple[str, str]]
"""Terms, and what is said of each."""


def facts_of(run: RunTables) -> Facts:
    """A run in a few terms: what it is of, when, where and on what it ran."""
    values, sweep = run.values, run.sweep
    what = "sweep" if sweep else next((one for one in ("search", "training") if one in values), "run")
    rows = pd.concat([run.evaluations, run.candidates], ignore_index=True)
    facts = [("what", what)]
    for name in ("method", "space", "dataset"):
        names = sorted({one for text in rows[name].dropna() for one in str(text).split(", ")} - {BASELINE})
        facts.append((name, ", ".join(names)))
    facts.append(("seeds", ", ".join(str(seed) for seed in sorted(set(rows["seed"].dropna())))))
    if isinstance(sweep.get("budget"), int | float):
        facts.append(("budget", f"{sweep['budget']:.4g} M multiply-adds"))
    if isinstance(values.get("data"), dict):
        shape, classes = values["data"].get("input_shape"), values["data"].get("classes")
        if isinstance(shape, list):
            facts.append(("input", f"{'x'.join(map(str, shape))}, {classes} classes"))
    facts.append(("told first", ", ".join(_learnt(values.get("learnt")))))
    examples = _of_first(run, ("train_examples", "validation_examples", "test_examples"))
    if len(examples) == 3:
        split = (f"{int(number)} {name.removesuffix('_examples')}" for name, number in examples.items())
        facts.append(("examples", ", ".join(split)))
    facts += [("began", _time(values.get("started"))), ("ended", _time(values.get("ended")) or "not yet")]
    devices = sorted(rows["device"].dropna().unique())
    facts.append(("hardware", f"{', '.join(map(str, devices))}; {_hosts(rows, values)}"))
    facts += [(f"hours on {device}", f"{seconds / 3600:.3g}") for device, seconds in device_seconds(run).items()]
    if isinstance(values.get("why_no_command"), str):
        facts.append(("to repeat it", values["why_no_command"]))
    versions = values.get("versions")
    if isinstance(versions, dict):
        facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return [(term, said) for term, said in facts if said]


def _learnt(summary: Any) -> Iterator[str]:
    """How many results of other runs its searchers were told first."""
    for one in summary if isinstance(summary, list) else ():
        if isinstance(one, dict):
            yield f"{one.get('told')} results of {one.get('run')} to {one.get('to')}"


def device_seconds(run: RunTables) -> dict[str, float]:
    """Seconds that trials computed, by the device's name: of searches until their last candidate, and of trainings.

    What a search of one stage trained is its own time, and counts once.
    """
    candidates, trained = run.candidates, run.evaluations
    if len(trained):
        trained = trained[trained["training"] != ONE_STAGE]
    parts = [
        candidates.groupby(["trial_id", "device"])["seconds"].max().groupby("device").sum(),
        trained.groupby("device")["seconds"].sum(),
    ]
    together = pd.concat(parts).groupby(level=0).sum()
    return {str(device): float(seconds) for device, seconds in together.items() if seconds > 0}


def commands_of(run: RunTables) -> Facts:
    """What to type for what, at the run's own folder."""
    name = shlex.quote(run.name)
    command = run.values.get("command")
    if isinstance(command, list):
        command = shlex.join(map(str, command))
    commands = [("repeat it", str(command))] if command else []
    return [
        *commands,
        ("resume it", f"nasray resume {name}"),
        ("its front", f"nasray front {name}"),
        ("take the best network away", f"nasray export {name} best --to onnx --out network.onnx"),
    ]


def settings_of(run: RunTables) -> str:
    """Every setting that makes the run this one, as JSON with a line for each; where it ran is no part of it."""
    values = run.sweep or {name: run.values[name] for name in ("search", "training") if name in run.values}
    inner = {n: {k: v for k, v in one.items() if k != "data_root"} if isinstance(one, dict) else one
             for n, one in identity(values).items() if n != EXECUTION}  # fmt: skip
    return json.dumps(inner, indent=1)


def notes_on(runs: Sequence[RunTables], rows: pd.DataFrame, metric: Metric) -> Iterator[str]:
    """What a reader has to know before he believes the figures."""
    label = metric.label
    yield (
        f"{label.capitalize()} is measured on the validation split, by which architectures were selected. The test "
        "split is only reported: nothing was selected by it."
    )
    trained = rows[rows["table"] == "evaluations"]
    if len(trained):
        epochs = sorted({int(one) for one in trained["epochs"]})
        yield (
            f"Architectures were trained from scratch for {_several(epochs)} epochs. Longer training would give other "
            f"figures, and may rank architectures otherwise."
        )
        seeds = trained[trained["part"] >= 0].groupby("what")["seed"].nunique()
        if len(seeds) and seeds.max() == 1:
            yield (
                f"Each architecture was trained with one seed: differences of {label} that are small may be chance, "
                "and there are no error bars."
            )
        elif len(seeds):
            numbers = _several(sorted({int(one) for one in seeds}))
            yield f"Architectures were trained with {numbers} seeds; error bars are standard deviations over them."
    else:
        yield (
            f"Nothing was trained from scratch: each {label} is that of weights inherited from the supernet, which "
            "says less of an architecture than training it does."
        )
    if not (rows["method"] == BASELINE).any():
        yield "There is no random baseline: the figures do not show that searching was better than drawing at random."
    stopped = int((trained["part"] == -1).sum()) if len(trained) else 0
    if stopped:
        yield f"{stopped} trainings were stopped early: they are in the table, and on no front."
    found = rows[(rows["table"] == "candidates") & (rows["part"] == -1)]
    if len(found):
        searches = found[["run", "trial_id"]].drop_duplicates()
        yield (
            f"{len(searches)} searches were stopped early by how their supernets compared: what they had given is in "
            "the table, and on no front."
        )
    for run in runs:
        of = f" of {run.name}" if len(runs) > 1 else ""
        yield from _failures(run, of)


def _failures(run: RunTables, of: str) -> Iterator[str]:
    try:
        outcomes = read_outcomes(run.storage)
    except InvalidInput as error:
        yield str(error)
        return
    yield _counted(outcomes, of)
    yield from told_once((name, one.reason or one.state) for name, one in outcomes.items() if one.state in GAVE_UP)


def _counted(outcomes: dict[str, Outcome], of: str) -> str:
    counts = Counter(one.state.replace("_", " ") for one in outcomes.values())
    said = ", ".join(f"{number} {state}" for state, number in counts.most_common())
    return f"Trials{of}: {said}." if said else f"No trial{of} has begun."


def _several(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _of_first(run: RunTables, names: Sequence[str]) -> dict[str, float]:
    rows = run.evaluations if len(run.evaluations) else run.candidates
    return {name: rows[name].iloc[0] for name in names if len(rows) and rows[name].notna().iloc[0]}


def _hosts(rows: pd.DataFrame, values: dict[str, Any]) -> str:
    hosts = rows["host"].nunique()
    cores = values.get("cpus")
    said = f"{hosts} machine{'s' if hosts != 1 else ''}"
    return f"{said}, {cores} cores where it was driven" if isinstance(cores, int) else said


def _time(text: Any) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%d %b %Y, %H:%M UTC")
    except (TypeError, ValueError):
        return ""
