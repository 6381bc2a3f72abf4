"""DATA on CIFAR-10 over M, the draws of its ensemble, for GPUs.

The search is that of the released code (methods.md 4.3), the training that of 4.5 with its learning rate of 0.035, for
100 epochs; with ``--preset paper`` for the published 600.
"""

import dataclasses

from nasray.methods.data_egs import DataEGS
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.changes import with_training

PAPER = Sweep(
    name="data_cifar10",
    dataset="cifar10",
    arms=(Arm(method="data_egs", space="darts", settings=DataEGS.Config(), param_space={"samples": (1, 2, 4, 7)}),),
    training=Training(select="final", settings=EvaluationSettings(learning_rate=0.035)),
    execution=Execution(gpus_per_trial=1.0),
)
DATA_CIFAR10 = dataclasses.replace(with_training(PAPER, epochs=100), presets={"paper": PAPER})
