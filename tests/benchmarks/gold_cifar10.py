"""GOLD-NAS on CIFAR-10 at a small size: what one search passes through, and what its strengths do.

    NASRAY_DATA=... python tests/benchmarks/gold_cifar10.py

prints for each setting the epochs, multiply-adds, active operations and seconds, and the architectures that it gave.
Seconds are of the training steps alone, on as many threads as the environment's OMP_NUM_THREADS says.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from nasray.methods.gold_nas import GoldNAS
from nasray.trials.search import Candidate, Search
from nasray.trials.search_config import SearchConfig

SIZE = dict(channels=8, cells=4, batch_size=64, train_examples=768, auxiliary_weight=0.0)
# So short an epoch (12 steps, the paper has 520) needs a larger first strength and gives after shorter rests.
STRENGTHS = {"base": {}, "larger lambda0": {"lambda0": 0.08}, "larger mu": {"mu": 4.0}}
BASE = dict(lambda0=0.01, mu=0.0, learning_rate=0.05, stable_epochs=0, stop_macs=1.0, epochs=24)


@dataclass(frozen=True)
class Passed:
    """What a search passed through, epoch by epoch."""

    macs: list[float]
    seconds: list[float]
    operations: list[int]
    candidates: list[tuple[int, Candidate]]


def run(strength: dict[str, float], epochs: int = BASE["epochs"]) -> Passed:
    """One search, seed 0."""
    settings = GoldNAS.Config(**{**SIZE, **BASE, **strength, "epochs": epochs})
    search = Search(
        SearchConfig(method="gold_nas", space="gold", dataset="cifar10", settings=settings, evaluation_channels=8)
    )
    passed = Passed([], [], [], [])
    while not search.finished:
        epoch = search.run_epoch()
        passed.macs.append(epoch.metrics["macs"])
        passed.seconds.append(epoch.metrics["train_seconds"])
        passed.operations.append(int(epoch.metrics["active_operations"]))
        passed.candidates.extend((epoch.number, candidate) for candidate in epoch.candidates)
    return passed


def main() -> None:
    """Print what each strength came to."""
    for name, strength in STRENGTHS.items():
        passed = run(strength)
        print(f"{name}: { ({**BASE, **strength}) }")
        print("  macs (M)  ", " ".join(f"{m:.2f}" for m in passed.macs))
        print("  operations", " ".join(map(str, passed.operations)))
        print("  seconds   ", " ".join(f"{s:.1f}" for s in passed.seconds))
        for epoch, candidate in passed.candidates:
            print(
                f"  epoch {epoch}: {candidate.architecture.id} {candidate.macs:.3f} M, supernet "
                f"{candidate.supernet_accuracy:.3f}, inherited {candidate.accuracy:.3f}"
            )
        falls = all(b <= a for a, b in zip(passed.macs, passed.macs[1:], strict=False))
        print(
            f"  {len(passed.candidates)} architectures; macs never rise: {falls}; seconds of an epoch, first three to "
            f"last three: {median(passed.seconds[:3]):.2f} to {median(passed.seconds[-3:]):.2f}; ends at "
            f"{passed.macs[-1]:.3f} M after {len(passed.macs)} epochs"
        )


if __name__ == "__main__":
    main()
