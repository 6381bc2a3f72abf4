"""What a sweep's searchers are told first: results of other runs, read once and kept in its own folder.

They are kept before run.json is written, which is what makes a folder a run: a start that is killed in between reads
the other runs again, and a run that goes on needs them no more. They may have moved by then, or grown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasray.errors import InvalidInput
from nasray.runs import Storage
from nasray.searchers import Known
from nasray.sweeps.earlier import Compared, Earlier, OtherRun, searches_for, trainings_for
from nasray.sweeps.learning import Learner, learners
from nasray.sweeps.proposals import Proposals, proposals
from nasray.sweeps.sweep import Sweep

FOLDER = "learnt"
"""Of the run's folder: what each searcher was told first, a file each, numbered in the order of the sweep's searchers.
Their names follow from the kind of device too, which is settled later."""
_MOST_BYTES = 60 * 2**20


@dataclass(frozen=True)
class Learnt:
    """What the searchers of a sweep are told first."""

    results: Sequence[Sequence[Known]] = ()
    """Of each searcher that learns, in their order."""
    summary: Sequence[Mapping[str, Any]] = ()
    """How much of which run, as run.json has it: ``run``, ``to``, ``told``, and ``left_out``, by the reason."""


def learnt_from(sweep: Sweep, storage: Storage) -> Learnt:
    """What a sweep learns from its ``learn_from``.

    Args:
        sweep: that is to begin.
        storage: its run's folder. Nothing is written to it.

    Raises:
        InvalidInput: one of these is no run, or the sweep's own, or nothing in it compares; says what differs.
    """
    if not sweep.learn_from:
        return Learnt()
    told: dict[str, dict[str, Earlier]] = {_name(one): {} for one in _choosers(sweep)}
    summary: list[Mapping[str, Any]] = []
    for where in sweep.learn_from:
        run = OtherRun(where)
        if run.storage.base == storage.base:
            raise InvalidInput(f"learn_from {where}: is the run itself. Leave it out.")
        compared = dict(_compared(sweep, run))
        if not any(one.results for one in compared.values()):
            what = {"search" if isinstance(one, Learner) else "training or look-up" for one in _choosers(sweep)}
            why = _why_nothing(list(compared.values()), " or ".join(sorted(what)))
            raise InvalidInput(f"learn_from {where}: {why}. Leave it out.")
        for name, found in compared.items():
            for earlier in found.results:
                told[name].setdefault(earlier.of, earlier)
        summary += _summary(sweep, run.storage.name, compared)
    results = [[(one.key, one.result) for one in found.values()] for found in told.values()]
    for known in results:
        if len(_packed(known)) > _MOST_BYTES:
            raise InvalidInput(f"learn_from: {len(known)} results are more than a run keeps. Name fewer runs.")
    return Learnt(results, tuple(summary))


def keep(learnt: Learnt, storage: Storage) -> None:
    """Write down what is told first into the folder of a run that has not begun."""
    storage.delete_folder(FOLDER)
    for place, known in enumerate(learnt.results):
        storage.write_bytes(_file(place), _packed(known))


def kept(sweep: Sweep, storage: Storage) -> dict[str, list[Known]]:
    """What the searchers of a run are told first, by their names, as it was when the run began.

    Raises:
        InvalidInput: a file is missing, or damaged.
    """
    found: dict[str, list[Known]] = {}
    for place, one in enumerate(_choosers(sweep) if sweep.learn_from else ()):
        try:
            values = storage.read_json(_file(place))
            found[_name(one)] = [(str(key), dict(result)) for key, result in values["results"]]
        except (FileNotFoundError, LookupError, TypeError, ValueError) as error:
            wrong = "is missing" if isinstance(error, FileNotFoundError) else "is not as nasray wrote it"
            raise InvalidInput(
                f"{storage}/{_file(place)} {wrong}: the run cannot go on without it. Put it back, or give another name."
            ) from None
    return found


def lines(summary: Any) -> Iterator[str]:
    """What is told first, in words, of the entry that run.json has."""
    for one in summary if isinstance(summary, list | tuple) else ():
        left = [f"{count} {reason}" for reason, count in one["left_out"].items()]
        without = f"; not told: {', '.join(left)}" if left else ""
        yield f"{one['told']} results of {one['run']} are told first to {one['to']}{without}"


def _choosers(sweep: Sweep) -> list[Learner | Proposals]:
    """All that choose by what they were told."""
    found: list[Learner | Proposals] = [*learners(sweep), *proposals(sweep)]
    return [one for one in found if one.learns]


def _name(one: Learner | Proposals) -> str:
    return one.name if isinstance(one, Learner) else one.trial_id


def _compared(sweep: Sweep, run: OtherRun) -> Iterator[tuple[str, Compared]]:
    """What a run has for each, by its name."""
    same: dict[str, Compared] = {}
    for one in _choosers(sweep):
        if isinstance(one, Learner):
            yield one.name, searches_for(one, sweep, run)
            continue
        # Another searcher, or seed, is told the same.
        what = repr((one.space, one.training, one.drawn))
        if what not in same:
            same[what] = trainings_for(one, sweep, run)
        yield one.trial_id, same[what]


def _why_nothing(compared: Sequence[Compared], what: str) -> str:
    left = sum((one.left_out for one in compared), Counter[str]())
    if left:
        return f"nothing in it can be told: {', '.join(f'{n} {reason}' for reason, n in left.items())}"
    differing = [one.differing for one in compared if one.differing is not None]
    if not differing:
        return f"it has no finished {what} to tell of"
    nearest = min(differing, key=lambda names: len(names))
    return f"nothing in it compares. What is nearest differs in {', '.join(nearest)}"


def _summary(sweep: Sweep, run: str, compared: Mapping[str, Compared]) -> Iterator[Mapping[str, Any]]:
    """How much of a run is told, to those together that differ in a seed or in values of tuples."""
    together: dict[str, list[Compared]] = {}
    for one in _choosers(sweep):
        together.setdefault(one.chooser, []).append(compared[_name(one)])
    for chooser, found in together.items():
        told = {earlier.of for one in found for earlier in one.results}
        left = Counter[str]()
        for of_one in found:
            left |= of_one.left_out
        yield {"run": run, "to": chooser, "told": len(told), "left_out": dict(left)}


def _packed(known: Sequence[Known]) -> bytes:
    return (json.dumps({"results": known}, allow_nan=False) + "\n").encode()


def _file(place: int) -> str:
    return f"{FOLDER}/{place}.json"
