"""One search without Ray, into the same tables as a sweep's."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

import pandas as pd
import tyro

from nasray.errors import InvalidInput
from nasray.results import CANDIDATES, Storage, pareto_front, read, write_front
from nasray.results.patience import PATIENCE
from nasray.search import Search
from nasray.search_config import SearchConfig
from nasray.settings import TrainingSettings
from nasray.sweeps.checkpoints import DamagedState, pack, unpack
from nasray.sweeps.events import say, show_events
from nasray.sweeps.lease import check_lease, lease
from nasray.sweeps.rows import write_candidates, write_trained_network
from nasray.sweeps.stopping import stopping
from nasray.training.measure import host, versions

STATE = "search.pt"
BEFORE = "search-before.pt"
"""The state of the epoch before: used where the last one is damaged."""


@dataclass(frozen=True, kw_only=True)
class SingleSearch:
    """What a single search takes besides method, space and dataset."""

    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")]
    seed: int = 0
    out: str
    """Folder of the run, or its URI."""
    evaluation_channels: int | None = None
    """Of the networks whose cost counts; None is the space's own number."""
    evaluation_cells: int | None = None
    """Of those networks; None is the space's own number."""
    data_root: str | None = None
    """Folder of the dataset; None is the environment's NASRAY_DATA."""


def run_search(config: SearchConfig, run: Storage) -> pd.DataFrame:
    """Run a search, or go on with it where it was left, and give the front of its candidates.

    The state is saved after the rows of an epoch: a kill between the two runs that epoch again, to the same rows.

    Raises:
        InvalidInput: the folder holds another search, cannot be written, or another process is at it.
        LeaseLost: another process took it over.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    show_events()
    run.check_writable()
    run = replace(run, patience=PATIENCE)
    name = run.base.rstrip("/").rpartition("/")[2]
    with stopping(name), lease(run, name):
        _run(config, run, name)
        front = pareto_front(read(run, CANDIDATES))
        write_front(run, front)
    return front


def _run(config: SearchConfig, run: Storage, name: str) -> None:
    search = Search(config)
    if run.exists("run.json"):
        if run.read_json("run.json").get("search") != config.to_dict():
            raise InvalidInput(f"{run} holds another run: accepted is the same search, or another --out")
    else:
        run.write_json(
            "run.json",
            {
                "search": config.to_dict(),
                "versions": versions(),
                "host": host(),
                "started": datetime.now(UTC).isoformat(),
            },
        )
    search = _taken_up(search, run, name)
    while not search.finished:
        epoch = search.run_epoch()
        check_lease(run)
        write_candidates(run, name, search, epoch, [])
        write_trained_network(run, name, search, [])
        state = pack(search.state_dict())
        if run.exists(STATE):
            run.move(STATE, BEFORE)
        run.write_bytes(STATE, state)
        print(
            f"epoch {epoch.number}: supernet accuracy {epoch.metrics['supernet_accuracy']:.4f}, "
            f"{epoch.metrics['macs']:.4g} M macs, {epoch.metrics['seconds']:.1f} s",
            file=sys.stderr,
        )


def _taken_up(search: Search, run: Storage, name: str) -> Search:
    """The search as its last whole state has it, or as it begins."""
    damage: dict[str, str] = {}
    used = "none, the search begins anew"
    for file in (STATE, BEFORE):
        if not run.exists(file):
            continue
        try:
            search.load_state_dict(unpack(run.read_bytes(file)))
        except (DamagedState, LookupError, TypeError, ValueError, RuntimeError) as error:
            damage[file] = str(error) if isinstance(error, DamagedState) else "it is of another search"
            search = Search(search.config)
        else:
            used = file
            break
    if damage:
        file, reason = next(iter(damage.items()))
        say("warning", "checkpoint_damaged", run=name, reason=f"{file}: {reason}", used=used)
    for file in damage:
        # Or the next state would push the whole one out.
        run.delete(file)
    return search
