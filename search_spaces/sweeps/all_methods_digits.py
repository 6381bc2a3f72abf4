"""Every method on scikit-learn's digits, each over a knob of its own: a front of each, in minutes on two CPU cores.

All networks have 4 channels and 5 cells, the fewest that the DSO space has. Searches of a few steps move architecture
parameters little at the papers' learning rates, so here these are larger, and so are the strengths.
"""

from typing import Any

from nasray.sweeps import Arm, EvaluationSettings, Sweep, Training
from nasray.trials.search_config import find_method

SIZE: dict[str, Any] = dict(
    channels=4, cells=5, batch_size=64, augmentation="standard", validation_fraction=0.2, auxiliary_weight=0.0
)
SEARCH = dict(**SIZE, epochs=8, learning_rate=0.1)
TRAINING = dict(**SIZE, epochs=15, learning_rate=0.1, learning_rate_min=0.0, drop_path=0.0)
FASTER: dict[str, Any] = dict(architecture_learning_rate=0.02)


def _arm(method: str, space: str, knob: str, values: tuple[float, ...], **settings: Any) -> Arm:
    config = find_method(method).Config(**{**SEARCH, **settings})
    return Arm(method=method, space=space, settings=config, param_space={knob: values})


ALL_METHODS_DIGITS = Sweep(
    name="all_methods_digits",
    dataset="digits",
    arms=(
        _arm("gold_nas", "gold", "lambda0", (0.01, 0.1), stable_epochs=0, stop_macs=0.05),
        _arm("ista_nas", "darts", "sparsity", (1, 2, 4), **FASTER),
        _arm(
            "ista_nas_one_stage", "darts", "sparsity", (1, 2), **{**TRAINING, "epochs": 23}, final_epochs=15, **FASTER
        ),
        _arm("entrannas", "darts", "edges_per_node", (1, 2), **FASTER),
        _arm("entrannas_dst", "darts", "threshold_penalty", (0.0, 1.0), architecture_learning_rate=0.1),
        _arm("data_egs", "darts", "samples", (1, 4), **FASTER),
        _arm("dso_nas", "dso", "gamma", (1.0, 3.0)),
        _arm("pc_darts", "darts", "edges_per_node", (1, 2), **FASTER),
        _arm("darts", "darts", "edges_per_node", (1, 2), **FASTER),
        _arm("random", "darts", "operations_per_node", (1, 2)),
    ),
    training=Training(select="final", settings=EvaluationSettings(**TRAINING)),
)
