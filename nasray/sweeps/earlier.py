"""What other runs have that compares with a sweep's: searches of the same method, trainings of the same fidelity.

A search compares where nothing but its seed, the values that the sweep's searcher chooses and what computed it differ;
a training where its space, data, settings and size are the same. Data and code are the same by their content. What
differs is said in the words of those who type it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from nasray import registry
from nasray.errors import InvalidInput
from nasray.runs import CANDIDATES, EVALUATIONS, Storage, is_run, open_storage, read
from nasray.runs.outcomes import read_outcomes
from nasray.searchers import EPOCH, Proposal, SearchProblem
from nasray.searchers.parameters import active, is_active
from nasray.searchers.searcher import ENDED
from nasray.settings import COMPUTING, TRAINED, Choice, Range
from nasray.spaces import Architecture
from nasray.sweeps.learning import Learner
from nasray.sweeps.proposals import Proposals
from nasray.sweeps.selection import trained_size
from nasray.sweeps.sweep import Sweep
from nasray.trials.differing import differing_in
from nasray.trials.fidelity import Fidelity
from nasray.trials.identity import DIGESTS, digest_columns, identity
from nasray.trials.trial import SEED, TrainingTrial

_FIGURES = ("accuracy", "macs", "params", "latency_ms")
OUTSIDE = "outside of its ranges"
"""Why a result is not told that compares in all else."""


class Earlier(NamedTuple):
    """A result of another run."""

    of: str
    """What it is a result of: the same text for the same search or network, whichever run has it."""
    key: str
    """Of the proposal that it would be here."""
    result: dict[str, Any]
    """What the trial came to, as of its last report."""


@dataclass
class Compared:
    """What a run has for one searcher."""

    results: list[Earlier] = field(default_factory=list)
    """In the order in which they came about."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many results are not told that compare in all else, by the reason."""
    differing: list[str] | None = None
    """In what those that do not compare differ that differ least; None where there are none."""

    def differs(self, names: list[str]) -> None:
        """Take note of a result that does not compare."""
        if self.differing is None or len(names) < len(self.differing):
            self.differing = names


class OtherRun:
    """A run that is learned from. It is read, and never written.

    Args:
        where: its folder or URI.

    Raises:
        InvalidInput: no run lies there.
    """

    def __init__(self, where: str) -> None:
        self.storage: Storage = open_storage(where)
        if not is_run(self.storage) or not self.storage.exists("run.json"):
            raise InvalidInput(f"learn_from {where}: no run lies there. Give a run's folder, its URI, or its name.")

    @cached_property
    def searches(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """Identity and result of every finished search, by its trial's name, in the order in which they ended."""
        rows = read(self.storage, CANDIDATES)
        outcomes = read_outcomes(self.storage)
        found = {}
        ended = rows.groupby("trial_id")["created_at"].max().sort_values(kind="stable").index
        by_trial = dict(iter(rows.sort_values(["epoch", "snapshot"], kind="stable").groupby("trial_id")))
        for name in ended:
            if name not in outcomes or outcomes[name].state != "done":
                continue
            own = by_trial[name]
            points = [[float(macs), float(value)] for macs, value in zip(own["macs"], own["accuracy"], strict=True)]
            result = {EPOCH: int(own["epoch"].iloc[-1]), ENDED: True, "points": points}
            found[str(name)] = _object(own["settings"].iloc[0]), result
        return found

    @cached_property
    def trainings(self) -> list[dict[str, Any]]:
        """The rows of complete trainings and look-ups, in the order in which they were made."""
        rows = read(self.storage, EVALUATIONS)
        rows = rows[rows["complete"] & (rows["training"] != "one stage")]
        order = ["created_at", "architecture_id", "settings", "seed"]
        found: list[dict[str, Any]] = rows.sort_values(order, kind="stable").to_dict("records")  # type: ignore[assignment]
        return found


def searches_for(learner: Learner, sweep: Sweep, run: OtherRun) -> Compared:
    """The searches of a run that a learner may be told of."""
    mine = _plain(identity(sweep.search_config(learner.arm, learner.settings, learner.seeds[0])))
    free = {*learner.chosen, *COMPUTING}
    compared = Compared()
    for name, (theirs, result) in run.searches.items():
        differing = differing_in(_without(mine, free), _without(theirs, free), "its search")
        if differing:
            compared.differs(differing)
            continue
        values = _values(learner.chosen, theirs["settings"], mine["settings"])
        if values is None:
            compared.left_out[OUTSIDE] += 1
            continue
        if learner.fill is not None:
            values[SEED] = theirs["seed"]
        compared.results.append(Earlier(name, Proposal(None, values).key, result))
    return compared


def trainings_for(one: Proposals, sweep: Sweep, run: OtherRun) -> Compared:
    """The trainings, or look-ups, of a run that a black-box searcher may be told of: of each network one, with the
    sweep's first seed where there is one."""
    shared, problem = one.proposing(sweep).shared, one.searcher(sweep).problem
    assert isinstance(shared, TrainingTrial)
    mine, settings = _of_rows(sweep, shared), shared.settings
    names = [name.removeprefix(TRAINED) for name in one.drawn]
    # What else of a table is an objective changes none of its accuracies.
    fidelity = Fidelity((settings,), (*names, *COMPUTING, *(["costs"] if sweep.table else [])))
    compared, found = Compared(), dict[str, tuple[bool, Earlier]]()
    for row in run.trainings:
        theirs = {name: None if pd.isna(row[name]) else row[name] for name in mine}
        if theirs != mine or row["settings"] not in fidelity:
            compared.differs(_differing((mine, settings), (theirs, row["settings"]), {*names, *COMPUTING}))
            continue
        proposal, reason = _proposed(one, problem, row, _object(settings))
        if proposal is not None:
            reason = _why_not(sweep, one, proposal, row)
        if proposal is None or reason:
            compared.left_out[reason] += 1
            continue
        figures = {name: row.get(name) for name in (*_FIGURES, *sweep.objectives)}
        result = {name: float(value) for name, value in figures.items() if value is not None and not pd.isna(value)}
        earlier = Earlier(proposal.key, proposal.key, {**result, EPOCH: int(row["epochs"])})
        is_own = row["seed"] == sweep.training.seeds[0]
        if proposal.key not in found or (is_own and not found[proposal.key][0]):
            found[proposal.key] = is_own, earlier
    compared.results = [earlier for _, earlier in found.values()]
    return compared


def _of_rows(sweep: Sweep, shared: TrainingTrial) -> dict[str, Any]:
    """What rows have in columns that say what was trained, and on what."""
    digest = sweep.data.digest if sweep.table is None else sweep.table.digest
    names = {name: registry.portable(getattr(shared.config, name)) for name in ("space", "dataset")}
    return {**names, **digest_columns(shared.config, digest)}


def _differing(
    mine: tuple[Mapping[str, Any], str], theirs: tuple[Mapping[str, Any], str], free: Iterable[str]
) -> list[str]:
    """In what rows differ, of which these are the columns of :func:`_of_rows` and the settings."""

    def told(columns: Mapping[str, Any], settings: str) -> dict[str, Any]:
        digests = {"data": columns["dataset_digest"], "space or dataset": columns["code_digest"]}
        values = {name: columns[name] for name in ("space", "dataset")}
        return {**values, **_without({"settings": _object(settings)}, free), DIGESTS: digests}

    return differing_in(told(*mine), told(*theirs), "its training")


def _proposed(
    one: Proposals, problem: SearchProblem, row: Mapping[str, Any], mine: Mapping[str, Any]
) -> tuple[Proposal | None, str]:
    """What a row is of, as the searcher would propose it; or None, and why it would not."""
    theirs = _object(row["settings"])
    drawn = {name: theirs.get(name.removeprefix(TRAINED)) for name in one.drawn}
    values = _values(one.drawn, drawn, {name: mine.get(name.removeprefix(TRAINED)) for name in one.drawn})
    if values is None:
        return None, OUTSIDE
    try:
        proposal = Proposal(Architecture.from_json(one.cell_space, row["architecture"]), values)
        again = problem.proposal(problem.values(proposal))
    except (InvalidInput, LookupError):
        again = None
    if again is None or again.key != proposal.key:
        return None, "of networks that it does not propose"
    return proposal, ""


def _why_not(sweep: Sweep, one: Proposals, proposal: Proposal, row: Mapping[str, Any]) -> str:
    """Why a training of the same fidelity is not told; nothing where it is."""
    assert proposal.architecture is not None
    if any(row.get(name) is None or pd.isna(row[name]) for name in sweep.objectives):
        return f"without {', '.join(sweep.objectives)}"
    if sweep.most_macs is not None and row["macs"] > sweep.most_macs:
        return "above the budget"
    try:
        size = trained_size(sweep, one.cell_space, proposal.architecture)
    except InvalidInput:  # no width obeys the budget
        return "above the budget"
    if (row["channels"], row["cells"]) != (size.channels, size.cells):
        return "of another size"
    return ""


def _values(
    drawn: Mapping[str, Range | Choice], theirs: Mapping[str, Any], mine: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The values that a searcher would have proposed for a trial; None where it could not have.

    Args:
        drawn: what it chooses.
        theirs: settings of the trial.
        mine: those of the searcher's own trials, which one has that a condition leaves without a value.
    """
    values: dict[str, Any] = {}
    for name, one in drawn.items():
        value = theirs.get(name)
        if isinstance(one, Choice):
            same = [own for own in one.values if own == value and isinstance(own, bool) == isinstance(value, bool)]
            if same:
                values[name] = same[0]
        elif isinstance(value, int | float) and one.low <= value <= one.high and not (one.integer and value % 1):
            values[name] = round(value) if one.integer else float(value)
    for name, one in drawn.items():
        if name not in values if is_active(one, values) else theirs.get(name) != mine.get(name):
            return None
    return active(drawn, values)


def _without(values: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """An identity without its seed and without some of its settings."""
    free = set(settings)
    own = values.get("settings")
    kept = {name: one for name, one in own.items() if name not in free} if isinstance(own, dict) else own
    return {**{name: one for name, one in values.items() if name != SEED}, "settings": kept}


def _object(text: Any) -> dict[str, Any]:
    """A row's settings; empty where they are no JSON object, as a table of somebody else's may hold."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values))  # type: ignore[no-any-return]
