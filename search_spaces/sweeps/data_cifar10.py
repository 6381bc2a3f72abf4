"""DATA on CIFAR-10 over M, the draws of its ensemble, for GPUs.

The search is that of the released code (methods.md 4.3), the training that of 4.5 with its learning rate of 0.035, for
100 epochs; with ``--preset paper`` for the published 600.
"""

import dataclasses

from nasray.methods.data_egs import DataEGS
from nasray.sweeps import Sweep
from nasray.trials.evaluation import EvaluationSettings

PAPER = Sweep(
    name="data_cifar10",
    method="data_egs",
    space="darts",
    dataset="cifar10",
    settings=DataEGS.Config(),
    param_space={"samples": (1, 2, 4, 7)},
    retrain="final",
    evaluation=EvaluationSettings(learning_rate=0.035),
    gpus_per_trial=1.0,
)
DATA_CIFAR10 = dataclasses.replace(
    PAPER, evaluation=EvaluationSettings(epochs=100, learning_rate=0.035), presets={"paper": PAPER}
)
