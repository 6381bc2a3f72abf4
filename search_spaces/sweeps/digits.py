"""The demonstration: a front on scikit-learn's digits in a few minutes on two CPU cores, without a download.

GOLD-NAS at four strengths, each with a smaller and a larger weight of the multiply-adds. Images of 8x8 pixels and
networks of 4 channels take few steps, so strengths and learning rate are larger than the paper's, and any rest counts
as stable.
"""

from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import Arm, EvaluationSettings, Sweep, Training

DIGITS = Sweep(
    name="digits",
    dataset="digits",
    arms=(
        Arm(
            method="gold_nas",
            space="gold",
            settings=GoldNAS.Config(
                epochs=16,
                batch_size=96,
                learning_rate=0.1,
                channels=4,
                cells=3,
                auxiliary_weight=0.0,
                augmentation="standard",
                validation_fraction=0.2,
                stable_epochs=0,
                stop_macs=0.043,
            ),
            param_space={"lambda0": (0.003, 0.01, 0.03, 0.1), "mu": (30.0, 200.0)},
        ),
    ),
    training=Training(
        within=0.04,
        settings=EvaluationSettings(
            epochs=15,
            batch_size=96,
            learning_rate=0.1,
            channels=4,
            cells=3,
            auxiliary_weight=0.0,
            drop_path=0.0,
            augmentation="standard",
            validation_fraction=0.2,
        ),
    ),
)
