"""The DARTS space.

H. Liu, K. Simonyan, Y. Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, arXiv:1806.09055. One
normal and one reduction cell, two inputs and four nodes each, eight candidate operations on fourteen edges, of which
two enter each node of a published architecture.
During search no normalisation inside cells is affine and poolings are normalised; at evaluation the
normalisations are affine and poolings are not normalised (released code).
"""

from nasray.spaces import CellGraph, CellSpace, NetworkSize, Normalisation
from search_spaces.architectures.published import references

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)

DARTS = CellSpace(
    name="darts",
    cells={
        "normal": CellGraph(inputs=2, nodes=4, operations=OPERATIONS, none="none", edges_per_node=2),
        "reduce": CellGraph(inputs=2, nodes=4, operations=OPERATIONS, none="none", edges_per_node=2, stride=2),
    },
    search_channels=16,
    search_cells=8,
    evaluation_channels=36,
    evaluation_cells=20,
    search_normalisation=Normalisation(affine=False, after_pool=True, after_identity=False),
    evaluation_normalisation=Normalisation(affine=True, after_pool=False, after_identity=False),
    references=references("darts"),
    published_sizes={
        "cifar10": NetworkSize(channels=36, cells=20, input_shape=(3, 32, 32), classes=10),
        "imagenet": NetworkSize(channels=48, cells=14, input_shape=(3, 224, 224), classes=1000, skeleton="imagenet"),
    },
)
