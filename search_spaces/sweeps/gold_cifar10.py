"""GOLD-NAS on CIFAR-10 at the size and with the schedule of its released code (methods.md 3.3 to 3.5), for GPUs.

The strengths are swept around the released lambda0, with and without a weight of the multiply-adds; the front is
trained for 600 epochs.
"""

from nasray.evaluation import EvaluationSettings
from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import Sweep

GOLD_CIFAR10 = Sweep(
    name="gold_cifar10",
    method="gold_nas",
    space="gold",
    dataset="cifar10",
    settings=GoldNAS.Config(),
    param_space={"lambda0": (3e-6, 1e-5, 3e-5), "mu": (0.0, 1.0)},
    evaluation=EvaluationSettings(),
    gpus_per_trial=1.0,
)
