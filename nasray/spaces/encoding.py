"""Architectures as flat sets of categorical parameters, for searchers that know nothing of cells.

C. White, W. Neiswanger, S. Nolen, Y. Savani, "A Study on Encodings for Neural Architecture Search", NeurIPS 2020,
arXiv:2007.04965, calls the one used here categorical: what was chosen, edge by edge. What the parameters are follows
from the cell's graph. Their names begin with the cell's (``normal``, ``reduce_4``).

- Edges that take one operation each (NAS-Bench-201): ``normal.0-1`` for every edge, one of the operations, ``none``
  among them.
- A number of edges a node (DARTS): ``normal.3.sources`` for every node, one of its sets of sources as ``0,2``, and
  ``normal.3.operation_1``, ``normal.3.operation_2`` for these in ascending order.
- Anything (GOLD-NAS, DSO-NAS): ``normal_0.0-2.skip_connect`` for every operation of every edge, or ``normal.0-2``
  where an edge has but one, whether it is there.

Every set of values decodes to an architecture. In the last kind, choices that are on no path from a cell's input to
its output are left out, and a node that must receive something and does not gets the first operation of its first
edge, and so back to an input of the cell (our choice): several sets of values may mean one architecture, of which
:func:`encode` gives one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from nasray.errors import InvalidInput, shown
from nasray.spaces.architecture import Architecture
from nasray.spaces.graph import CellGraph, Choice, Edge
from nasray.spaces.liveness import Mask, live
from nasray.spaces.space import CellSpace

Value = str | bool
Parameters = dict[str, tuple[Value, ...]]
"""Name of a parameter to the values that it may take, two or more."""


def parameters(space: CellSpace, num_cells: int) -> Parameters:
    """The parameters that stand for an architecture of a space.

    Args:
        space: the space.
        num_cells: cells of the network, where every position has a choice of its own; otherwise of no effect.
    """
    return {name: values for name, values in _parameters(space, num_cells).items() if len(values) > 1}


def encode(space: CellSpace, architecture: Architecture) -> dict[str, Value]:
    """The values of all parameters that decode to an architecture.

    Raises:
        InvalidInput: a node of the architecture has other than the number of edges, with one operation each, that the
            space's searchers give it.
    """
    num_cells = len(architecture.cells)
    values: dict[str, Value] = {}
    for cell, graph in _graphs(space, num_cells).items():
        values |= _encoded(cell, graph, architecture.cells[cell])
    return {name: values[name] for name in parameters(space, num_cells)}


def decode(space: CellSpace, values: Mapping[str, Value], num_cells: int) -> Architecture:
    """The architecture for which values stand.

    Args:
        space: the space.
        values: of all its parameters, and of no others.
        num_cells: as for :func:`parameters`.

    Raises:
        InvalidInput: a parameter without a value, a value that it does not take, or a name that is no parameter.
    """
    chosen: dict[str, Value] = {}
    for name, accepted in _parameters(space, num_cells).items():
        chosen[name] = values.get(name, "") if len(accepted) > 1 else accepted[0]
        if chosen[name] not in accepted:
            given = shown(values[name]) if name in values else "no value"
            raise InvalidInput(f"{given} for parameter {name}: expected one of {', '.join(map(str, accepted))}")
    unknown = [name for name in values if name not in chosen]
    if unknown:
        raise InvalidInput(
            f"parameter {shown(unknown[0])} of space {space.name!r}: expected one such as {next(iter(chosen))}"
        )
    graphs = _graphs(space, num_cells)
    return Architecture.of(space, {cell: _decoded(cell, graph, chosen) for cell, graph in graphs.items()})


def sample(parameters: Parameters, generator: np.random.Generator) -> dict[str, Value]:
    """Random values: every parameter's are equally likely, but those of a switch.

    All switches are on with one probability, which is drawn first, from 0 to 1: drawn one by one, they would hardly
    ever give an architecture that has not about half of everything (our choice).
    """
    density = generator.random()
    values: dict[str, Value] = {}
    for name, accepted in parameters.items():
        is_switch = accepted == (False, True)
        values[name] = bool(generator.random() < density) if is_switch else accepted[generator.integers(len(accepted))]
    return values


def mutate(parameters: Parameters, values: Mapping[str, Value], generator: np.random.Generator) -> dict[str, Value]:
    """The same values but for one parameter, drawn, which takes another of its values."""
    name = list(parameters)[generator.integers(len(parameters))]
    others = [value for value in parameters[name] if value != values[name]]
    return {**values, name: others[generator.integers(len(others))]}


def _graphs(space: CellSpace, num_cells: int) -> dict[str, CellGraph]:
    """The graph of every cell that has a choice of its own, by the cell's name."""
    names = space.layout(num_cells) if space.cell_per_position else tuple(space.cells)
    return {name: space.graph(name) for name in names}


def _parameters(space: CellSpace, num_cells: int) -> Parameters:
    """The parameters, those included that have but one value."""
    found: Parameters = {}
    for cell, graph in _graphs(space, num_cells).items():
        if graph.one_per_edge:
            found |= {_on_edge(cell, edge): graph.operations for edge in graph.edges}
        elif graph.edges_per_node:
            for node in graph.targets:
                found[_sources(cell, node)] = tuple(_source_sets(graph, node))
                for place in range(graph.edges_per_node):
                    found[_operation(cell, node, place)] = _computed(graph)
        else:
            found |= dict.fromkeys(_switches(cell, graph).values(), (False, True))
    return found


def _encoded(cell: str, graph: CellGraph, choices: tuple[Choice, ...]) -> dict[str, Value]:
    if graph.one_per_edge:
        operations = {(source, target): operation for source, target, operation in choices}
        return {_on_edge(cell, edge): operations.get(edge, str(graph.none)) for edge in graph.edges}
    if not graph.edges_per_node:
        return {name: choice in choices for choice, name in _switches(cell, graph).items()}
    values: dict[str, Value] = {}
    for node in graph.targets:
        entering = sorted((source, operation) for source, target, operation in choices if target == node)
        values[_sources(cell, node)] = sources = ",".join(str(source) for source, _ in entering)
        if sources not in _source_sets(graph, node):
            raise InvalidInput(
                f"operations on edges from {sources} into node {node} of cell {cell!r}: expected "
                f"{graph.edges_per_node} edges with one operation each"
            )
        values |= {_operation(cell, node, place): operation for place, (_, operation) in enumerate(entering)}
    return values


def _decoded(cell: str, graph: CellGraph, values: Mapping[str, Value]) -> list[Choice]:
    if graph.one_per_edge:
        chosen = [(*edge, str(values[_on_edge(cell, edge)])) for edge in graph.edges]
        return [choice for choice in chosen if choice[2] != graph.none]
    if graph.edges_per_node:
        return [
            (source, node, str(values[_operation(cell, node, place)]))
            for node in graph.targets
            for place, source in enumerate(_source_sets(graph, node)[str(values[_sources(cell, node)])])
        ]
    mask = np.zeros((len(graph.edges), len(graph.operations)), dtype=bool)
    for (source, target, operation), name in _switches(cell, graph).items():
        mask[graph.edge_index[source, target], graph.operation_index[operation]] = values[name]
    mask = live(graph, mask)
    for node in graph.required:
        if not mask[list(graph.incoming[node])].any():
            _connect(graph, mask, node)
    return [(*graph.edges[edge], graph.operations[index]) for edge, index in np.argwhere(mask)]


def _connect(graph: CellGraph, mask: Mask, node: int) -> None:
    """Let a node receive something from an input of the cell."""
    while node >= graph.inputs:
        edge = graph.incoming[node][0]
        mask[edge, graph.operation_index[_computed(graph)[0]]] = True
        node = graph.edges[edge][0]


def _computed(graph: CellGraph) -> tuple[str, ...]:
    return tuple(operation for operation in graph.operations if operation != graph.none)


def _source_sets(graph: CellGraph, node: int) -> dict[str, tuple[int, ...]]:
    """By their names, all sets of sources that may enter a node."""
    sources = sorted(graph.edges[edge][0] for edge in graph.incoming[node])
    return {",".join(map(str, chosen)): chosen for chosen in combinations(sources, graph.edges_per_node or 0)}


def _switches(cell: str, graph: CellGraph) -> dict[Choice, str]:
    """Every choice to the name of the parameter that says whether it is made."""
    operations = _computed(graph)
    return {
        (*edge, operation): _on_edge(cell, edge) + (f".{operation}" if len(operations) > 1 else "")
        for edge in graph.edges
        for operation in operations
    }


def _on_edge(cell: str, edge: Edge) -> str:
    return f"{cell}.{edge[0]}-{edge[1]}"


def _sources(cell: str, node: int) -> str:
    return f"{cell}.{node}.sources"


def _operation(cell: str, node: int, place: int) -> str:
    return f"{cell}.{node}.operation_{place + 1}"
