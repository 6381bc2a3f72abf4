"""The GOLD-NAS space.

K. Bi, L. Xie, X. Chen, L. Wei, Q. Tian, "GOLD-NAS: Gradual, One-Level, Differentiable", arXiv:2007.03331. The
wiring of DARTS with two operations on an edge, any number of them kept, and a choice of its own at every cell
position. Normalisations are never affine and follow the identity too, in search and in evaluation (released
code, which calls itself unofficial).
"""

from nasray.spaces import CellGraph, CellSpace, NetworkSize, Normalisation
from search_spaces.architectures.published import references

OPERATIONS = ("skip_connect", "sep_conv_3x3")
_NORMALISATION = Normalisation(affine=False, after_pool=True, after_identity=True)

GOLD = CellSpace(
    name="gold",
    cells={
        "normal": CellGraph(inputs=2, nodes=4, operations=OPERATIONS),
        "reduce": CellGraph(inputs=2, nodes=4, operations=OPERATIONS, stride=2),
    },
    cell_per_position=True,
    search_channels=36,
    search_cells=14,
    evaluation_channels=36,
    evaluation_cells=14,
    search_normalisation=_NORMALISATION,
    evaluation_normalisation=_NORMALISATION,
    references=references("gold"),
    published_sizes={"cifar10": NetworkSize(channels=36, cells=14, input_shape=(3, 32, 32), classes=10)},
)
