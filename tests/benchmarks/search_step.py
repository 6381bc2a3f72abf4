"""Seconds and memory of one search step, relative to ``darts`` on the same space, size and machine.

    python tests/benchmarks/search_step.py [METHOD ...] [--channels 16] [--cells 8] [--batch-size 64]

Each method is measured in a process of its own, on random images: the median of several steps after one that is not
counted, and the highest memory in use since before its supernet was built, less what was in use then. A step is that
of an epoch half way through the search. Exits with 1 where a method takes more than it may (BARS).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

BASELINE = "darts"
BARS = {"entrannas": {"seconds": 1 / 3, "bytes": 1 / 3}, "ista_nas": {"seconds": 1 / 8}}
"""Method to the largest share of the baseline's seconds and bytes that it may take."""


def measure(method_name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds, bytes and active operations of a method's step, in this process."""
    import torch

    from nasray import registry
    from nasray.methods import Problem
    from nasray.networks import supernet
    from nasray.spaces import NetworkSize
    from nasray.training.learner import NetworkLearner
    from nasray.training.measure import peak_memory_bytes, pick_device, reset_peak_memory
    from nasray.training.tasks import TASKS
    from nasray.trials.search_config import find_method

    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    space = registry.find("space", options.space)
    method_class = find_method(method_name)
    own = dict(one.split(".", 1)[1].split("=", 1) for one in options.set if one.startswith(f"{method_name}."))
    settings = method_class.Config.of(
        {"batch_size": options.batch_size, **{name: json.loads(value) for name, value in own.items()}}
    )

    def steps(number: int, channels: int, cells: int, side: int, examples: int) -> tuple[list[float], float]:
        torch.manual_seed(0)
        size = NetworkSize(channels=channels, cells=cells, input_shape=(3, side, side), classes=10)
        batches = [
            (torch.randn(examples, 3, side, side, device=device), torch.randint(10, (examples,), device=device))
            for _ in range(2)
        ]
        method = method_class(settings, Problem(space, size, size, seed=0)).to(device)
        network = supernet(space, size, settings.auxiliary_weight > 0, method.needs).to(device)
        learner = NetworkLearner(network, TASKS[space.task], settings)
        epoch = settings.epochs // 2  # no method trains its weights alone any more
        learner.start_epoch(*method.schedule_epoch(epoch))
        method.start_epoch(epoch)
        seconds = []
        for _ in range(number):
            began = time.perf_counter()
            method.step(learner, batches[0], batches[1] if method_class.architecture_fraction else None)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - began)
        return seconds, float(sum(gates.active_EO.sum() for gates in method.gates()))

    steps(1, channels=4, cells=3, side=8, examples=2)  # what the libraries load at first use is nobody's memory
    reset_peak_memory(device)
    before = peak_memory_bytes(device)
    seconds, operations = steps(1 + options.steps, options.channels, options.cells, options.side, options.batch_size)
    used = peak_memory_bytes(device) - before
    return {"seconds": statistics.median(seconds[1:]), "bytes": float(used), "operations": operations}


def main() -> int:
    """Measure each method in a process of its own, print a table, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["pc_darts", "entrannas", "entrannas_dst"])
    parser.add_argument("--space", default="darts")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--side", type=int, default=32, help="height and width of the images")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="METHOD.SETTING=JSON")
    parser.add_argument("--measure", metavar="METHOD", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options)))
        return 0

    print(
        f"space {options.space}, {options.channels} channels, {options.cells} cells, {options.side}x{options.side}, "
        f"batch {options.batch_size}, {options.threads} threads, device {options.device}"
    )
    print(f"{'method':<16}{'operations':>11}{'s/step':>9}{'of darts':>10}{'MiB':>9}{'of darts':>10}")
    missed = []
    measured: dict[str, dict[str, float]] = {}
    for method in dict.fromkeys([BASELINE, *options.methods]):
        child = [sys.executable, __file__, *sys.argv[1:], "--measure", method]
        measured[method] = found = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout)
        share = {name: found[name] / measured[BASELINE][name] for name in ("seconds", "bytes")}
        print(
            f"{method:<16}{found['operations']:>11.0f}{found['seconds']:>9.2f}{share['seconds']:>10.3f}"
            f"{found['bytes'] / 2**20:>9.0f}{share['bytes']:>10.3f}",
            flush=True,
        )
        for name, bar in BARS.get(method, {}).items():
            if share[name] > bar:
                missed.append(f"{method}: {name} {share[name]:.3f} of {BASELINE}'s, at most {bar:.3f} is wanted")
    print("\n".join(missed or ["all bars met"]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
