"""ISTA-NAS on CIFAR-10, two-stage and one-stage, over the sparsity of a node's connections, for GPUs.

Searches are those of the released code (methods.md 1.3 and 1.4). Networks are trained for 100 epochs, those of the
one-stage search by the search itself; with ``--preset paper`` for the published 600.
"""

import dataclasses

from nasray.methods.ista_nas import ISTANAS
from nasray.methods.ista_nas_one_stage import ISTANASOneStage
from nasray.sweeps import Arm, Execution, Sweep, Training
from nasray.sweeps.changes import with_training

TWO_STAGE = Arm(
    method="ista_nas",
    space="darts",
    settings=ISTANAS.Config(),
    param_space={"sparsity": (1, 2, 3, 4)},
)
ONE_STAGE = Arm(
    method="ista_nas_one_stage",
    space="darts",
    settings=ISTANASOneStage.Config(),
    param_space={"sparsity": (1, 2, 3)},
)
PAPER = Sweep(
    name="ista_cifar10",
    dataset="cifar10",
    arms=(TWO_STAGE, ONE_STAGE),
    training=Training(select="final"),
    execution=Execution(gpus_per_trial=1.0),
)
ISTA_CIFAR10 = dataclasses.replace(
    with_training(PAPER, epochs=100),
    arms=(TWO_STAGE, dataclasses.replace(ONE_STAGE, settings=ISTANASOneStage.Config(epochs=300, final_epochs=100))),
    presets={"paper": PAPER},
)
