"""The random baseline: beside every architecture that is trained, a random one that costs as much."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from nasray.costs import Budget, cost_table
from nasray.gates import architecture_masks, architecture_of
from nasray.methods.random import random_mask
from nasray.spaces import Architecture, CellSpace, NetworkSize

DRAWS = 300
NEAR = 0.01
"""An architecture whose multiply-adds differ by no more than this share is taken without drawing on."""


@dataclass(frozen=True)
class Drawn:
    """A random architecture."""

    architecture: Architecture
    operations_per_node: int
    """With which it was drawn."""


def random_like(
    space: CellSpace,
    size: NetworkSize,
    architecture: Architecture,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    taken: Collection[str] = (),
) -> Drawn | None:
    """A random architecture of like multiply-adds: the nearest of many draws, the same at every call.

    Drawn are from one operation a node to as many as the architecture has at most, for methods differ in how many
    they keep; within that all edges and operations are equally likely (our choice).

    Args:
        space: of the architecture.
        size: at which multiply-adds are counted.
        architecture: what it is to be like.
        seed: of the draws, beside the architecture's id.
        budget: that it obeys; None is no limit.
        taken: ids that are not to be drawn.

    Returns:
        None where no draw is within the budget and not taken.
    """
    generator = np.random.default_rng([seed, int(architecture.id, 16)])
    layout = space.layout(size.cells)
    costs = cost_table(space, size)
    own = architecture_masks(space, architecture, size.cells)
    target = costs.macs(own)
    most = max(
        int(mask[list(edges)].sum())
        for name, mask in zip(layout, own, strict=True)
        for edges in space.graph(name).incoming.values()
    )
    nearest: Drawn | None = None
    distance = np.inf
    for _ in range(DRAWS):
        operations = int(generator.integers(1, max(most, 1) + 1))
        drawn = {name: random_mask(space.graph(name), operations, generator) for name in dict.fromkeys(layout)}
        masks = [drawn[name] for name in layout]
        macs = costs.macs(masks)
        off = abs(macs - target)
        if off >= distance or (budget is not None and not budget.allows(macs)):
            continue
        found = architecture_of(space, masks)
        if found.id in taken or found.id == architecture.id:
            continue
        nearest, distance = Drawn(found, operations), off
        if off <= NEAR * target:
            break
    return nearest
