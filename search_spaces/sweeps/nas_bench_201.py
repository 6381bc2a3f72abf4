"""Black-box searches on NAS-Bench-201's space, with two objectives, beside as many random architectures.

    nasray sweep nas_bench_201 --table nasbench201.parquet

looks accuracies up in a table; without one every proposed network is trained for 200 epochs by the recipe of
NAS-Bench-201 (X. Dong, Y. Yang, ICLR 2020), for GPUs. The reference point is 221 M multiply-adds, a little more than
the dearest cell has, and 86 %.
"""

from nasray.searchers.evolution import Evolution
from nasray.searchers.optuna import NSGA2, TPE
from nasray.sweeps import Arm, Sweep
from nasray.trials.evaluation import EvaluationSettings

NAS_BENCH_201 = Sweep(
    name="nas_bench_201",
    method="evolution",
    space="nas_bench_201",
    dataset="cifar10",
    settings=Evolution.Config(evaluations=300),
    others=(
        Arm(method="nsga2", space="nas_bench_201", settings=NSGA2.Config(evaluations=300)),
        Arm(method="tpe", space="nas_bench_201", settings=TPE.Config(evaluations=300)),
    ),
    evaluation=EvaluationSettings(
        epochs=200,
        batch_size=256,
        learning_rate=0.1,
        nesterov=True,
        weight_decay=5e-4,
        auxiliary_weight=0.0,
        drop_path=0.0,
        augmentation="standard",
    ),
    reference=(221.0, 0.86),
    gpus_per_trial=1.0,
)
