"""The space of NAS-Bench-201, which is the topology space of NATS-Bench.

X. Dong, Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020,
arXiv:2001.00326, with the structure of D-X-Y/AutoDL-Projects. One cell of four nodes, each of whose six edges takes one
of five operations: 15,625 cells, all of which have been trained. The network is a 3x3 convolution to 16 channels, three
stages of five cells with 16, 32 and 64 channels, a residual block of stride 2 between stages, batch normalisation, ReLU
and average pooling.

Two cells that compute the same are two architectures, as in the table of their accuracies. An operation that leads
nowhere, for every path from it to the output meets a ``none``, is computed and paid for: so it was in the published
networks and in their published costs.
"""

from nasray.spaces import CellGraph, CellSpace, NetworkSize, Normalisation

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

CELL = CellGraph(inputs=1, nodes=3, operations=OPERATIONS, none="none", one_per_edge=True, output="sum")

NAS_BENCH_201 = CellSpace(
    name="nas_bench_201",
    cells={"normal": CELL},
    stages=(5, 5, 5),
    search_channels=16,
    search_cells=15,
    evaluation_channels=16,
    evaluation_cells=15,
    # The released searches have no scales and shifts in cells.
    published_sizes={
        "cifar10": NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=10),
        "cifar100": NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=100),
        "imagenet16_120": NetworkSize(channels=16, cells=15, input_shape=(3, 16, 16), classes=120),
    },
    search_normalisation=Normalisation(affine=False, after_pool=False, after_identity=False),
    evaluation_normalisation=Normalisation(affine=True, after_pool=False, after_identity=False),
)
