"""What a run's live metrics cost its driver: python tests/benchmarks/live_metrics.py

A Ray of its own, and trials as Tune holds them, 8 of which run. The gauges are set every five seconds, however many
results came; the second figure is the share of the driver's time that this takes.
"""

from __future__ import annotations

import random
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import ray

from nasray.runs import open_storage
from nasray.tune.reports.metrics import FIGURES, Metrics


def trial(number: int, running: bool) -> Any:
    """As much of Tune's trial as the metrics ask."""
    draw = random.Random(number)
    macs, accuracy = draw.uniform(10, 200), draw.uniform(0.5, 0.95)
    result = {figure.key: draw.random() for figure in FIGURES}
    return SimpleNamespace(
        config={"trial": {"search": {"method": "gold_nas", "space": "gold"}}},
        status="RUNNING" if running else "TERMINATED",
        run_metadata=SimpleNamespace(last_result={**result, "points": [(macs, accuracy)]}),
    )


def main() -> None:
    """Print milliseconds of one setting of all gauges, with a new point at each."""
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    print(f"{'trials':>8} {'ms a setting':>13} {'% of the driver':>16} {'us a trial that ends':>21}")
    for count in (10, 100, 1_000, 10_000):
        storage = open_storage(tempfile.mkdtemp())
        storage.write_json("run.json", {"reference": [221.0, 0.1]})
        metrics = Metrics("cost", "digits", "searches", {("gold_nas", "gold"): count}, storage)
        metrics.setup()
        trials = [trial(number, running=number < 8) for number in range(count)]
        metrics._set_all(trials)
        spent = []
        for number in range(20):
            trials.append(trial(count + number, running=False))
            began = time.perf_counter()
            metrics._set_all(trials)
            spent.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(100):
            metrics.on_trial_complete(0, trials, trials[0])
        ended = (time.perf_counter() - began) / 100
        median = sorted(spent)[10]
        share = median / metrics.seconds
        print(f"{count:>8} {median * 1e3:>13.2f} {share * 100:>16.2f} {ended * 1e6:>21.0f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
