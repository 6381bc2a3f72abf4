"""One search without Ray, into the same tables as a sweep's."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime

from nasray.errors import InvalidInput
from nasray.runs import Storage
from nasray.runs.events import say, show_events
from nasray.runs.lease import check_lease, lease
from nasray.runs.patience import PATIENCE
from nasray.training.dataset import load_dataset
from nasray.training.measure import host, versions
from nasray.trials.check import check_search
from nasray.trials.checkpoints import DamagedState, pack, unpack
from nasray.trials.rows import write_candidates, write_trained_network
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig

STATE = "search.pt"
BEFORE = "search-before.pt"
"""The state of the epoch before: used where the last one is damaged."""


def run_search(config: SearchConfig, run: Storage) -> None:
    """Run a search into a run's folder, or go on with it where it was left.

    The state is saved after the rows of an epoch: a kill between the two runs that epoch again, to the same rows.

    Raises:
        InvalidInput: the search could not run, the folder holds another one, cannot be written, or another process is
            at it.
        LeaseLost: another process took it over.
        NonFiniteLoss: a loss was infinite or not a number.
    """
    show_events()
    check_search(config, load_dataset(config.dataset, config.data_root))  # before the first write
    run.check_writable()
    run = replace(run, patience=PATIENCE)
    name = run.name
    with lease(run, name):
        _run(config, run, name)


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
