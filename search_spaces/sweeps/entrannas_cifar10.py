"""EnTranNAS and EnTranNAS-DST on CIFAR-10, over edges kept at a node and the pressure on thresholds, for GPUs.

The papers' settings are not public: the searches' are those of PC-DARTS (our choice), the training is DARTS's recipe
(methods.md 0.5), for 100 epochs; with ``--preset paper`` for 600.
"""

import dataclasses

from nasray.methods.entrannas import EnTranNAS, EnTranNASDST
from nasray.sweeps import Arm, Execution, Sweep, Training
from nasray.sweeps.changes import with_training

PAPER = Sweep(
    name="entrannas_cifar10",
    dataset="cifar10",
    arms=(
        Arm(
            method="entrannas",
            space="darts",
            settings=EnTranNAS.Config(),
            param_space={"edges_per_node": (1, 2, 3)},
        ),
        Arm(
            method="entrannas_dst",
            space="darts",
            settings=EnTranNASDST.Config(),
            param_space={"threshold_penalty": (0.0, 0.1, 1.0)},
        ),
    ),
    training=Training(select="final"),
    execution=Execution(gpus_per_trial=1.0),
)
ENTRANNAS_CIFAR10 = dataclasses.replace(with_training(PAPER, epochs=100), presets={"paper": PAPER})
