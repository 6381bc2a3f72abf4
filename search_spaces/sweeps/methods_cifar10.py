"""Every method on CIFAR-10 at one small size, three seeds: how they compare where two CPU cores can go.

8 channels, 5 cells, 512 images, 10 epochs of search; what a search ends with is trained from scratch for 12 epochs on
1,024 images, and so is a random architecture of like multiply-adds beside it. So short a search moves architecture
parameters little at the papers' learning rates: theirs is larger here, and so are the strengths of GOLD-NAS and
DSO-NAS. The one-stage search has as many epochs to search, and trains its network as the others are trained. DATA
computes only what was drawn (``skip_undrawn``), which is several times faster than its published estimator.
``tests/benchmarks/methods_cifar10.py`` runs it and prints the table of the README.
"""

from typing import Any

from nasray.methods.gold_nas import GoldNAS
from nasray.sweeps import Arm, Sweep
from nasray.trials.evaluation import EvaluationSettings
from nasray.trials.search_config import find_method

SIZE: dict[str, Any] = dict(
    channels=8, cells=5, batch_size=32, augmentation="standard", validation_fraction=0.4, auxiliary_weight=0.0
)
SEARCH = dict(**SIZE, train_examples=512, epochs=10, learning_rate=0.05)
TRAINING = dict(**SIZE, train_examples=1024, epochs=12, learning_rate=0.05, learning_rate_min=0.0, drop_path=0.0)
FASTER: dict[str, Any] = dict(architecture_learning_rate=0.02)


def _arm(method: str, space: str = "darts", **settings: Any) -> Arm:
    return Arm(method=method, space=space, settings=find_method(method).Config(**{**SEARCH, **settings}))


METHODS_CIFAR10 = Sweep(
    name="methods_cifar10",
    method="gold_nas",
    space="gold",
    dataset="cifar10",
    settings=GoldNAS.Config(**SEARCH, lambda0=0.1, stable_epochs=0, stop_macs=1.0),
    others=(
        _arm("ista_nas", **FASTER),
        _arm("ista_nas_one_stage", **{**TRAINING, "epochs": 22}, final_epochs=12, max_params=None, **FASTER),
        _arm("entrannas", **FASTER),
        _arm("entrannas_dst", threshold_penalty=1.0, **FASTER),
        _arm("data_egs", skip_undrawn=True, **FASTER),
        _arm("dso_nas", "dso", gamma=0.3),
        _arm("pc_darts", **FASTER),
        _arm("darts", **FASTER),
        _arm("random"),
    ),
    seeds=(0, 1, 2),
    retrain="final",
    evaluation=EvaluationSettings(**TRAINING),
)
