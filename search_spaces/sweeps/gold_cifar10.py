"""GOLD-NAS on CIFAR-10 at the size and with the search of its released code (methods.md 3.3 to 3.5), for GPUs.

The strengths are swept around the released lambda0, with and without a weight of the multiply-adds. The front is
trained for 100 epochs; with ``--preset paper`` for the published 600.
"""

import dataclasses

from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import Arm, Execution, Sweep
from nasray.sweeps.changes import with_training

PAPER = Sweep(
    name="gold_cifar10",
    dataset="cifar10",
    arms=(
        Arm(
            method="gold_nas",
            space="gold",
            settings=GoldNAS.Config(),
            param_space={"lambda0": (3e-6, 1e-5, 3e-5), "mu": (0.0, 1.0)},
        ),
    ),
    execution=Execution(gpus_per_trial=1.0),
)
GOLD_CIFAR10 = dataclasses.replace(with_training(PAPER, epochs=100), presets={"paper": PAPER})
