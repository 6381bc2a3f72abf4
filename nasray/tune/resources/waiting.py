"""Says that trials wait for a node that the cluster does not have, for as long as they do.

A cluster may grow: its autoscaler, or a person, adds nodes. Ray has no public way to ask what it could grow to.
"""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from nasray.runs.events import say
from nasray.tune.resources.room import cluster_nodes, no_room

SECONDS = 60.0


class WaitingForRoom(Callback):
    """Told by Tune of every step; looks at the cluster at the first one, and then every minute.

    Args:
        run: name of the run, for events.
        cpus: that a trial, or each worker of one, needs.
        gpus: of these too.
        workers: of a trial.
    """

    def __init__(self, run: str, *, cpus: float, gpus: float, workers: int = 1) -> None:
        self.run = run
        self.cpus = cpus
        self.gpus = gpus
        self.workers = workers
        self._began = time.monotonic()
        self._looked = -SECONDS

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called by Tune after every event."""
        now = time.monotonic()
        if now - self._looked < SECONDS:
            return
        self._looked = now
        reason = no_room(cluster_nodes(), cpus=self.cpus, gpus=self.gpus, workers=self.workers)
        if reason is not None:
            say(
                "warning",
                "no_room",
                run=self.run,
                reason=reason,
                waiting=f"{(now - self._began) / 60:.0f} min",
                then="add such a node, or stop and lower --cpus-per-trial or --gpus-per-trial",
            )
