"""How many trials share a GPU, where that is left to be measured (``gpus_per_trial="auto"``).

Before a phase's trials begin, its largest configuration is trained for some steps on one of the cluster's GPUs, and as
many trials are put on a GPU as its memory holds with a margin. What was measured is kept in the run's folder, so a run
that is resumed has the same shares.

Which configuration is the largest cannot be read off its settings: channels, cells, batch size, the space's operations
and how many of them a method keeps all count. So the bytes that a step keeps are counted for all configurations on the
meta device (:mod:`nasray.costs.memory`), which takes no memory. That shows which of the searches of one method on one
space is the largest, not how methods compare (a second-order step keeps more than its forward pass tells), so of each
method and space the largest is trained for real, and the most counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nasray import registry
from nasray.errors import InvalidInput
from nasray.runs import Storage
from nasray.runs.events import say
from nasray.tune.execution import Execution
from nasray.tune.phase import Phase
from nasray.tune.resources.device import has_gpus
from nasray.tune.resources.limits import CONTEXT_BYTES

if TYPE_CHECKING:
    from nasray.tune.resources.measuring import Measured

MARGIN = 0.15
"""Memory that is left to a trial beyond what was measured, as a share of that: fragments, and later epochs."""
NO_GPU = "no node has a GPU now; where an autoscaler adds some, set --gpus-per-trial"
SHARES_OF_A_GPU = 10_000
"""Ray counts a resource in these parts."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How trials are put on a GPU."""

    trials: int
    """On one GPU at once; 0 where not even one fits with its margin."""
    share: float
    """Share of a GPU that each asks for."""


def share_gpu(measured: Measured) -> Packing:
    """As many trials on a GPU as its memory holds, each with its margin and what its process keeps beside it.

    Where not even one fits so, it gets the GPU to itself: the margin may not be needed.
    """
    needed = measured.peak_bytes * (1 + MARGIN) + CONTEXT_BYTES
    room = min(int(measured.available_bytes // needed), SHARES_OF_A_GPU - 1)
    if room == 0:
        return Packing(trials=0, share=1.0)
    # In whole parts, of which there must be too few for one trial more.
    trials = SHARES_OF_A_GPU // (SHARES_OF_A_GPU // (room + 1) + 1)
    return Packing(trials=trials, share=SHARES_OF_A_GPU // trials / SHARES_OF_A_GPU)


def gpus_per_trial(phase: Phase, storage: Storage, execution: Execution) -> float:
    """GPUs that each trial of a phase asks Ray for, measured now where that is left open and nothing is kept.

    Needs a connection to Ray. Without a GPU in the cluster it is 0, and so it is for what is looked up in a table;
    several workers of one training have a GPU each. Ray has no public way to ask what an autoscaler could add: where
    no node with a GPU is up yet, the sweep says how many GPUs a trial takes.
    """
    if phase.looks_up:
        return 0.0
    if execution.gpus_per_trial != "auto":
        return float(execution.gpus_per_trial)
    if phase.workers > 1:
        return float(has_gpus())
    if not has_gpus():
        say("info", "placement", run=phase.run, phase=phase.name, gpus_per_trial=0.0, reason=NO_GPU)
        return 0.0
    kept = f"phases/{phase.name}-placement.json"
    if storage.exists(kept):
        return _share_of(storage.read_json(kept), f"{storage}/{kept}")
    measured = _on_a_gpu(phase)
    if measured is None:
        reason = "torch sees no GPU where Ray has one: one trial per GPU, unmeasured"
        say("warning", "placement", run=phase.run, phase=phase.name, gpus_per_trial=1.0, reason=reason)
        return 1.0
    packing = share_gpu(measured)
    storage.write_json(kept, {**asdict(measured), **asdict(packing), "margin": MARGIN})
    say(
        "info" if packing.trials else "warning",
        "placement",
        run=phase.run,
        phase=phase.name,
        gpus_per_trial=packing.share,
        trials_per_gpu=max(packing.trials, 1),
        peak_gib=measured.peak_bytes / 2**30,
        available_gib=measured.available_bytes / 2**30,
        gpu=measured.device,
        largest=measured.configuration,
        reason=None if packing.trials else f"does not fit with a margin of {MARGIN:.0%}: may run out of memory",
    )
    return packing.share


def _share_of(kept: Mapping[str, Any], where: str) -> float:
    share = kept.get("share")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise InvalidInput(f"{where}: share {share!r}: expected a number above 0, up to 1")
    return float(share)


def _on_a_gpu(phase: Phase) -> Measured | None:
    """Measure on a GPU of the cluster that is free as a whole; waits for one."""
    import ray

    from nasray.tune.resources.measuring import measure

    task = ray.remote(measure).options(num_cpus=1, num_gpus=1, max_retries=3)
    proposing = phase.proposing
    if proposing is None:
        answer = task.remote([trial.to_dict() for trial in phase.trials], None, registry.values_of(phase.names))
    else:
        answer = task.remote([proposing.shared.to_dict()], proposing.cells, registry.values_of(phase.names))
    waited = 0
    while not ray.wait([answer], timeout=60)[0]:
        waited += 1
        say("warning", "placement_waits", run=phase.run, phase=phase.name, minutes=waited, reason="for a whole GPU")
    measured: Measured | None = ray.get(answer)
    return measured
