"""What there is: spaces, methods with their knobs, datasets, sweeps, published architectures, and runs."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from nasray import registry
from nasray.errors import printable
from nasray.settings import Range

KINDS = ("spaces", "methods", "searchers", "datasets", "sweeps", "architectures")


def lines(kinds: Iterable[str]) -> Iterator[str]:
    """A heading for each kind, and below it a line for each thing of that kind."""
    for kind in kinds:
        yield kind
        yield from (f"  {line}" for line in _DESCRIBED[kind]())


def names() -> Iterator[str]:
    """A line for each kind, with the names of all that there is of it: nothing is loaded for it."""
    for kind, found in registry.listed().items():
        if kind in KINDS:
            yield f"{kind}: {', '.join(found)}"
    yield f"nasray list KIND tells more of each; KIND is one of {', '.join(KINDS)}"


def lines_of_runs(folder: str) -> Iterator[str]:
    """A line for each run in a folder: its name, what it is of, its state, its trials and its front."""
    from nasray.results.overview import runs_in

    rows = []
    for one in runs_in(folder):
        counts = {"done": one.done, "open": one.open, "failed": one.failed}
        trials = ", ".join(f"{count} {word}" for word, count in counts.items() if count or word == "done")
        front = "no common front" if one.front is None else f"front of {one.front}"
        rows.append([printable(one.name), one.what, one.state, trials, front, one.best])
    if not rows:
        yield f"no runs in {folder}"
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _found(kind: str) -> Iterator[tuple[str, Any]]:
    for name in registry.names(kind):
        try:
            yield name, registry.find(kind, name)
        except Exception as error:  # somebody's package may be broken in any way: that must not hide the others
            print(f"nasray: {kind} {name!r} cannot be loaded: {error}", file=sys.stderr)


def _spaces() -> Iterator[str]:
    for name, space in _found("space"):
        graph = next(iter(space.cells.values()))
        each = "every position its own" if space.cell_per_position else "one of each"
        yield (
            f"{name}: {space.task}; cells {', '.join(space.cells)} ({each}), {len(graph.edges)} edges, "
            f"{', '.join(graph.operations)}"
        )


def _methods() -> Iterator[str]:
    for name, method in _found("method"):
        knobs = ", ".join(f"{knob} {_range(one)}" for knob, one in method.Config.knobs().items())
        yield f"{name}: {_first_sentence(method)} Knobs: {knobs or 'none'}."


def _searchers() -> Iterator[str]:
    for name, searcher in _found("searcher"):
        yield f"{name}: {_first_sentence(searcher)}"


def _datasets() -> Iterator[str]:
    for name, dataset in _found("dataset"):
        yield f"{name}: {_first_sentence(dataset)}"
    for name, source in _found("dataset_source"):
        yield f"{name}:...: {_first_sentence(source)}"


def _sweeps() -> Iterator[str]:
    for name, sweep in _found("sweep"):
        if not hasattr(sweep, "arms"):  # its arms follow from the data
            yield f"{name}: {_first_sentence(sweep.build)}"
            continue
        arms = "; ".join(
            f"{arm.method} on {arm.space}" + (f" over {', '.join(arm.param_space)}" if arm.param_space else "")
            for arm in sweep.arms
        )
        presets = f"; presets: {', '.join(sweep.presets)}" if sweep.presets else ""
        yield f"{name}: {sweep.dataset}; {arms}{presets}"


def _architectures() -> Iterator[str]:
    for name, space in _found("space"):
        for reference_name, reference in space.references.items():
            figures = "; ".join(f"{dataset}: {_figures(values)}" for dataset, values in reference.published.items())
            yield f"{reference_name} ({name}): {figures or 'no figures published'} [{reference.source}]"


_DESCRIBED = {
    "spaces": _spaces,
    "methods": _methods,
    "searchers": _searchers,
    "datasets": _datasets,
    "sweeps": _sweeps,
    "architectures": _architectures,
}


def _figures(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if name != "src")


def _range(one: Range) -> str:
    return f"{one.low:g} to {one.high:g}"


def _first_sentence(thing: Any) -> str:
    """A docstring's first sentence."""
    paragraph = inspect.cleandoc(thing.__doc__ or "no description").partition("\n\n")[0]
    return re.split(r"(?<=\.)\s", " ".join(paragraph.split()), maxsplit=1)[0]
