"""The DSO-NAS space.

X. Zhang, Z. Huang, N. Wang, "You Only Search Once: Single Shot Neural Architecture Search via Direct Sparse
Optimization", arXiv:1811.01567, with the structure of XinbangZhang/DSO-NAS (methods.md 5.1 and 5.4). Stages of
residual blocks, a reduction block after every stage but the last. A block holds four levels of four operations,
completely connected: an operation may take the block's input and every operation of the levels before its own. A
choice is a set of connections.

``share``: all blocks make one choice, every reduction block its own. ``full``: every position has its own choice.
"""

from nasray.spaces import CellGraph, CellSpace, Normalisation

LEVELS = 4
OPERATIONS = ("sep_3x3", "sep_5x5", "max_pool_3x3", "avg_pool_3x3")

# Operation o of level l is node 1 + 4 (l - 1) + o. The first level takes the block's input alone.
_OUTPUT = 1 + LEVELS * len(OPERATIONS)
_BETWEEN = [
    (source, target)
    for target in range(1, _OUTPUT)
    for source in range(1 + (target - 1) // len(OPERATIONS) * len(OPERATIONS))
]

BLOCK = CellGraph(
    inputs=1,
    nodes=_OUTPUT,
    operations=("connect",),
    edges=(*_BETWEEN, *((source, _OUTPUT) for source in range(1, _OUTPUT))),
    node_operations=OPERATIONS * LEVELS,
    output="residual",
)
REDUCTION = CellGraph(
    inputs=1,
    nodes=3,
    operations=("connect",),
    edges=((0, 1), (0, 2), (1, 3), (2, 3)),
    node_operations=("conv_1x1", "conv_3x3"),
    output="sum",
    stride=2,
)


def _space(
    name: str, stages: tuple[int, ...], share: bool, search_channels: int, evaluation_channels: int
) -> CellSpace:
    reductions = [f"reduce_{stage}" for stage in range(1, len(stages))] if share else ["reduce"]
    cells = sum(stages) + len(stages) - 1
    return CellSpace(
        name=name,
        cells={"normal": BLOCK, **dict.fromkeys(reductions, REDUCTION)},
        stages=stages,
        cell_per_position=not share,
        search_channels=search_channels,
        search_cells=cells,
        evaluation_channels=evaluation_channels,
        evaluation_cells=cells,
        # The scale stays 1 while the connections' factors are learned.
        search_normalisation=Normalisation(affine=True, scale=False, after_pool=True, after_identity=False),
        evaluation_normalisation=Normalisation(affine=True, after_pool=True, after_identity=False),
    )


# CIFAR: networks are evaluated at the width of the search (our choice), to be multiplied up or down to a budget by
# nasray.costs.width_for_budget.
DSO = _space("dso", (8, 8, 8), share=True, search_channels=48, evaluation_channels=48)
DSO_FULL = _space("dso_full", (8, 8, 8), share=False, search_channels=48, evaluation_channels=48)
DSO_IMAGENET = _space("dso_imagenet", (2, 2, 13, 6), share=True, search_channels=28, evaluation_channels=36)
DSO_IMAGENET_FULL = _space("dso_imagenet_full", (2, 2, 13, 6), share=False, search_channels=28, evaluation_channels=36)
