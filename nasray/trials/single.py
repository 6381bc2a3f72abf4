"""One search without Ray, into the same tables as a sweep's."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from nasray.errors import InvalidInput
from nasray.runs import CANDIDATES, EVALUATIONS, Storage, compact
from nasray.runs.events import say, show_events
from nasray.runs.identity import check_new
from nasray.runs.lease import check_lease, lease
from nasray.runs.patience import PATIENCE
from nasray.settings import DeviceKind
from nasray.training.dataset import load_dataset
from nasray.training.measure import host, pick_device, versions
from nasray.trials.check import check_search
from nasray.trials.checkpoints import drop_final_checkpoints
from nasray.trials.identity import differing_in, identity
from nasray.trials.lost import reopen_without_rows
from nasray.trials.running import DONE, EPOCH, Report, RunningTrial
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import SearchTrial


def run_search(config: SearchConfig, run: Storage) -> None:
    """Run a search into a run's folder, or go on with it where it was left.

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
    with lease(run, run.name):
        _run(config, run)


def _run(config: SearchConfig, run: Storage) -> None:
    check_new(run)
    # Gone on with on another kind of device, a search would find something else.
    kind: DeviceKind = "cuda" if pick_device(config.settings.device).type == "cuda" else "cpu"
    config = replace(config, settings=replace(config.settings, device=kind))
    trial = SearchTrial(run=run.name, config=config)
    if run.exists("run.json"):
        theirs = run.read_json("run.json").get("identity")
        if not isinstance(theirs, dict):
            raise InvalidInput(f"{run} holds no search. Give another --out.")
        differing = differing_in(identity(config), theirs)
        if differing:
            raise InvalidInput(
                f"{run} holds another search, which differs in {', '.join(differing[:5])}. Give another --out, or the "
                "same search."
            )
    else:
        run.write_json(
            "run.json",
            {
                "search": config.to_dict(),
                "identity": identity(config),
                "versions": versions(),
                "host": host(),
                "started": datetime.now(UTC).isoformat(),
            },
        )
    reopen_without_rows(run)
    running = RunningTrial(trial, run, partial(say, run=run.name, trial=trial.name))
    if running.outcome.is_open:
        running.begin()
    report: Report = {DONE: not running.outcome.is_open}
    while not report[DONE]:
        check_lease(run)
        report = running.run_epoch()
        print(
            f"epoch {report[EPOCH]}: supernet accuracy {report['supernet_accuracy']:.4f}, "
            f"{report['macs']:.4g} M macs, {report['seconds']:.1f} s",
            file=sys.stderr,
        )
    drop_final_checkpoints(run)
    for table in (CANDIDATES, EVALUATIONS):
        compact(run, table)
