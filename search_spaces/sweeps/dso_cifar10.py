"""DSO-NAS on CIFAR-10, blocks sharing their connections and not, over the strength of sparsity, for GPUs.

Pretraining and search are the paper's (methods.md 5.4). With ``--preset paper`` networks are trained as in the paper,
for 630 epochs with warm restarts; else for 150, which is four of its restarts. ``--evaluation.width-budget 500`` gives
every network the width that 500 M multiply-adds allow.
"""

import dataclasses

from nasray.methods.dso_nas import DSONAS
from nasray.sweeps import Arm, Sweep
from nasray.trials.evaluation import EvaluationSettings

FULL = Arm(method="dso_nas", space="dso_full", settings=DSONAS.Config(), param_space={"gamma": (3e-4, 1e-3, 3e-3)})
PAPER = Sweep(
    name="dso_cifar10",
    method="dso_nas",
    space="dso",
    dataset="cifar10",
    settings=DSONAS.Config(),
    param_space={"gamma": (3e-4, 1e-3, 3e-3)},
    others=(FULL,),
    retrain="final",
    evaluation=EvaluationSettings(
        epochs=630,
        batch_size=128,
        learning_rate=0.05,
        learning_rate_min=1e-4,
        schedule="cosine_restarts",
        nesterov=True,
        classifier_dropout=0.4,
        drop_path=0.5,
    ),
    gpus_per_trial=1.0,
)
DSO_CIFAR10 = dataclasses.replace(
    PAPER, evaluation=dataclasses.replace(PAPER.evaluation, epochs=150), presets={"paper": PAPER}
)
