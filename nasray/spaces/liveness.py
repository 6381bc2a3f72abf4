"""Which connections of a block do anything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nasray.spaces.graph import CellGraph

Mask = npt.NDArray[np.bool_]


def live(graph: CellGraph, chosen_EO: Mask) -> Mask:
    """Those of the chosen connections that lie on a path from an input to the output.

    A node that nothing enters is dead, one that no live node uses is dead, and so is what touches them
    (X. Zhang, Z. Huang, N. Wang, arXiv:1811.01567, clean up until nothing changes; one walk forth and one back
    reach the same end). In a cell of plain sums all is live: every node is part of the output, or, where the output
    is the last node alone, what leads nowhere is computed all the same, as in the published networks of NAS-Bench-201,
    whose costs count it.

    Args:
        graph: the cell.
        chosen_EO: (edges, operations).
    """
    if not graph.node_operations:
        return chosen_EO
    chosen = set(np.flatnonzero(chosen_EO.any(axis=1)).tolist())
    entered = set(range(graph.inputs))
    used = set(graph.outputs)
    for node in graph.targets:
        if any(e in chosen and graph.edges[e][0] in entered for e in graph.incoming[node]):
            entered.add(node)
    for node in reversed(graph.targets):
        if node in used:
            used.update(graph.edges[e][0] for e in graph.incoming[node] if e in chosen)
    on_path = np.array([source in entered and target in used for source, target in graph.edges])
    alive: Mask = chosen_EO & on_path[:, None]
    return alive
