"""EnTranNAS and EnTranNAS-DST on CIFAR-10, over edges kept at a node and the pressure on thresholds, for GPUs.

The papers' settings are not public: the searches' are those of PC-DARTS (our choice), the training is DARTS's recipe
(methods.md 0.5), for 100 epochs; with ``--preset paper`` for 600.
"""

import dataclasses

from nasray.methods.entrannas import EnTranNAS, EnTranNASDST
from nasray.sweeps import Arm, Sweep
from nasray.trials.evaluation import EvaluationSettings

PAPER = Sweep(
    name="entrannas_cifar10",
    method="entrannas",
    space="darts",
    dataset="cifar10",
    settings=EnTranNAS.Config(),
    param_space={"edges_per_node": (1, 2, 3)},
    others=(
        Arm(
            method="entrannas_dst",
            space="darts",
            settings=EnTranNASDST.Config(),
            param_space={"threshold_penalty": (0.0, 0.1, 1.0)},
        ),
    ),
    retrain="final",
    evaluation=EvaluationSettings(),
    gpus_per_trial=1.0,
)
ENTRANNAS_CIFAR10 = dataclasses.replace(PAPER, evaluation=EvaluationSettings(epochs=100), presets={"paper": PAPER})
