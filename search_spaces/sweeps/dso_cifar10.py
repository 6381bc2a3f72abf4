"""DSO-NAS on CIFAR-10, blocks sharing their connections and not, over the strength of sparsity, for GPUs.

Pretraining and search are the paper's (methods.md 5.4). With ``--preset paper`` networks are trained as in the paper,
for 630 epochs with warm restarts; else for 150, which is four of its restarts. ``--training.width-budget 500`` gives
every network the width that 500 M multiply-adds allow.
"""

import dataclasses

from nasray.methods.dso_nas import DSONAS
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.changes import with_training

STRENGTHS = {"gamma": (3e-4, 1e-3, 3e-3)}
PAPER = Sweep(
    name="dso_cifar10",
    dataset="cifar10",
    arms=(
        Arm(method="dso_nas", space="dso", settings=DSONAS.Config(), param_space=STRENGTHS),
        Arm(method="dso_nas", space="dso_full", settings=DSONAS.Config(), param_space=STRENGTHS),
    ),
    training=Training(
        select="final",
        settings=EvaluationSettings(
            epochs=630,
            batch_size=128,
            learning_rate=0.05,
            learning_rate_min=1e-4,
            schedule="cosine_restarts",
            nesterov=True,
            classifier_dropout=0.4,
            drop_path=0.5,
        ),
    ),
    execution=Execution(gpus_per_trial=1.0),
)
DSO_CIFAR10 = dataclasses.replace(with_training(PAPER, epochs=150), presets={"paper": PAPER})
