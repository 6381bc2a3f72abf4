"""The field's genotype form, in its three published variants.

- DARTS and its successors: ``normal`` and ``reduce`` are flat lists of [operation, source]; the entries are
  dealt out to the nodes in equal numbers, in order (two for each node in every published cell).
- DATA: ``normal`` and ``reduce`` are one list of [operation, source] for each node, of any length.
- GOLD-NAS: ``cells`` is one list of [operation, source, target] for each cell position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasray.errors import InvalidInput, shown
from nasray.spaces.architecture import FORM, Architecture, as_choice, json_object
from nasray.spaces.graph import CellGraph, Choice
from nasray.spaces.space import CellSpace

_FORMS = f'{FORM} or a genotype {{"normal": [[operation, source], ...], "normal_concat": [...], "reduce": ...}}'


def parse_architecture(space: CellSpace, text: str) -> Architecture:
    """An architecture from nasray's JSON or from the field's genotype form as JSON.

    Raises:
        InvalidInput: not JSON of either form, or not an architecture of the space.
    """
    value = json_object(text, _FORMS)
    return Architecture.from_json(space, text) if "space" in value else from_genotype(space, value)


def from_genotype(space: CellSpace, genotype: Mapping[str, Any]) -> Architecture:
    """An architecture from a genotype.

    Raises:
        InvalidInput: not of one of the three variants, not of the space, or a concatenation that leaves out a
            node.
    """
    if space.cell_per_position:
        cells = genotype.get("cells")
        if not isinstance(cells, list):
            raise InvalidInput(
                f"genotype for {space.name!r} with {_keys(genotype)}: expected "
                '{"cells": [[[operation, source, target], ...], ...]}, one list for each position'
            )
        names = space.layout(len(cells))
        choices = {
            name: [_gold_choice(item) for item in _list(items, name)] for name, items in zip(names, cells, strict=True)
        }
        _check_concat(genotype, "concat", next(iter(space.cells.values())))
        return Architecture.of(space, choices)
    missing = [kind for kind in space.cells if kind not in genotype]
    if missing:
        raise InvalidInput(
            f"genotype for {space.name!r} with {_keys(genotype)}: expected one with {', '.join(space.cells)}"
        )
    for kind, graph in space.cells.items():
        _check_concat(genotype, f"{kind}_concat", graph)
    return Architecture.of(
        space,
        {kind: _cell(_list(genotype[kind], kind), kind, graph) for kind, graph in space.cells.items()},
    )


def to_genotype(space: CellSpace, architecture: Architecture) -> dict[str, Any]:
    """The genotype of an architecture, in the variant that can say it.

    Pairs where every node receives equally many operations, one list a node elsewhere, one list a cell where
    every position has its own.
    """
    if space.cell_per_position:
        names = space.layout(len(architecture.cells))
        graph = next(iter(space.cells.values()))
        cells = [[[op, s, t] for s, t, op in architecture.cells[name]] for name in names]
        return {"cells": cells, "concat": list(graph.outputs)}
    genotype: dict[str, Any] = {}
    for kind, graph in space.cells.items():
        by_node = [[[op, s] for s, t, op in architecture.cells[kind] if t == node] for node in graph.targets]
        equal = len({len(entries) for entries in by_node}) == 1 and any(by_node)
        genotype[kind] = [entry for entries in by_node for entry in entries] if equal else by_node
        genotype[f"{kind}_concat"] = list(graph.outputs)
    return genotype


def _cell(entries: list[Any], kind: str, graph: CellGraph) -> list[Choice]:
    if not all(_is_pair(entry) for entry in entries):  # one list for each node
        if len(entries) != graph.nodes:
            raise InvalidInput(
                f"genotype with {len(entries)} lists in {kind!r}: expected {graph.nodes}, one for each node"
            )
        by_node = [_list(node, kind) for node in entries]
    else:
        each, left_over = divmod(len(entries), graph.nodes)
        if left_over or not each:
            raise InvalidInput(
                f"genotype with {len(entries)} pairs in {kind!r}: expected a multiple of {graph.nodes}, "
                "equally many for each node, or one list for each node"
            )
        by_node = [entries[i * each : (i + 1) * each] for i in range(graph.nodes)]
    return [
        _pair_choice(entry, node)
        for node, node_entries in zip(graph.targets, by_node, strict=True)
        for entry in node_entries
    ]


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[0], str)


def _pair_choice(entry: Any, target: int) -> Choice:
    if not _is_pair(entry):
        raise InvalidInput(f"genotype entry {shown(entry)}: expected [operation, source]")
    return as_choice([entry[1], target, entry[0]])


def _gold_choice(entry: Any) -> Choice:
    if not (isinstance(entry, (list, tuple)) and len(entry) == 3):
        raise InvalidInput(f"genotype entry {shown(entry)}: expected [operation, source, target]")
    return as_choice([entry[1], entry[2], entry[0]])


def _check_concat(genotype: Mapping[str, Any], key: str, graph: CellGraph) -> None:
    concat = genotype.get(key, list(graph.outputs))
    if list(_list(concat, key)) != list(graph.outputs):
        raise InvalidInput(f"genotype with {key} {shown(concat)}: expected {list(graph.outputs)}")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise InvalidInput(f"genotype with {shown(value)} for {where!r}: expected a list")
    return list(value)


def _keys(genotype: Mapping[str, Any]) -> str:
    return f"keys {shown(list(genotype))}"
