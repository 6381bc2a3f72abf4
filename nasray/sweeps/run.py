"""Running a sweep, or resuming it: searches, their front, its training from scratch, the front of that."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from nasray import registry
from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.evaluation import EvaluationConfig, EvaluationSettings, evaluation_size
from nasray.methods.random import Random
from nasray.results import (
    CANDIDATES,
    EVALUATIONS,
    Storage,
    average_over_seeds,
    compact,
    front_picture,
    hypervolume,
    near_front,
    open_storage,
    pareto_front,
    read,
    write_front,
)
from nasray.search import SearchConfig, find_method, sizes
from nasray.spaces import Architecture, CellSpace
from nasray.sweeps.baseline import random_like
from nasray.sweeps.rows import knob_columns, trial_id
from nasray.sweeps.sweep import Sweep
from nasray.training.dataset import load_dataset
from nasray.training.measure import host, versions

_MAY_CHANGE = ("storage", "data_root", "address", "cpus_per_trial", "gpus_per_trial", "max_failures")
"""Fields of a sweep that say where and how it runs, not what it computes: a resumed run may have others."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    folder: str
    front: pd.DataFrame
    """Of the architectures trained from scratch, or of the candidates where none were to be."""
    hypervolume: float
    """Of the front (M x fraction)."""
    reference: tuple[float, float]
    """Its reference point: multiply-adds (M), accuracy."""
    failures: tuple[str, ...]
    """Trials that gave up, with the reason."""
    hypervolumes: Mapping[str, float] = field(default_factory=dict)
    """Of each method's own front."""


def run_sweep(sweep: Sweep, run: str | None = None) -> Outcome:
    """Run a sweep, or go on with it where a run of that name exists in its storage.

    Args:
        sweep: what to run.
        run: name of the run; None is the sweep's name.

    Raises:
        InvalidInput: the data are not to be had, the storage cannot be written, or the run is another sweep's.
    """
    sweep = dataclasses.replace(sweep, name=run or sweep.name)
    configs = sweep.searches()
    reference = sweep.reference or _reference(configs)
    storage = _open_run(sweep, reference)
    trials = [
        {
            "name": trial_id(config),
            "run": sweep.name,
            "storage": str(storage),
            "search": config.to_dict(),
            "varied": sweep.varied,
        }
        for config in configs
    ]
    with ExitStack() as session:
        failures = _run_trials(sweep, storage, "search", trials, session)
        compact(storage, CANDIDATES)
        candidates = _affordable(read(storage, CANDIDATES), sweep.budget)
        if sweep.retrain == "nothing":
            return _finish(sweep, storage, candidates, pareto_front(candidates), reference, failures)
        return _train_front(sweep, storage, candidates, reference, failures, session)


def retrain(run: Storage, changes: dict[str, Any]) -> Outcome:
    """Train the front of a run's candidates from scratch, again with other settings.

    Args:
        run: the run's folder.
        changes: fields of its evaluation settings to change.

    Raises:
        InvalidInput: no run lies there, it has no candidates, or a setting is not accepted.
    """
    sweep, reference = read_run(run)
    evaluation = EvaluationSettings.of({**sweep.evaluation.to_dict(), **changes})
    if (evaluation.channels, evaluation.cells) != (sweep.evaluation.channels, sweep.evaluation.cells):
        raise InvalidInput(
            f"channels {evaluation.channels}, cells {evaluation.cells}: accepted are the run's own "
            f"({sweep.evaluation.channels}, {sweep.evaluation.cells}), at which its candidates' cost was counted"
        )
    sweep = dataclasses.replace(sweep, evaluation=evaluation)
    candidates = _affordable(read(run, CANDIDATES), sweep.budget)
    with ExitStack() as session:
        return _train_front(sweep, run, candidates, reference, (), session)


def read_run(run: Storage) -> tuple[Sweep, tuple[float, float]]:
    """The sweep of a run and its hypervolume's reference point.

    Raises:
        InvalidInput: no run lies there.
    """
    if not run.exists("run.json"):
        raise InvalidInput(f"{run} is no run: accepted is a folder with run.json, which nasray sweep makes")
    values = run.read_json("run.json")
    macs, accuracy = values["reference"]
    return Sweep.of(values["sweep"]), (float(macs), float(accuracy))


def _open_run(sweep: Sweep, reference: tuple[float, float]) -> Storage:
    """The run's folder, new or of the same sweep."""
    storage = open_storage(sweep.storage).child(sweep.name)
    storage.check_writable()
    mine = sweep.to_dict()
    if storage.exists("run.json"):
        theirs = storage.read_json("run.json")["sweep"]
        differing = [name for name in mine if name not in _MAY_CHANGE and theirs.get(name) != mine[name]]
        if differing:
            raise InvalidInput(
                f"run {sweep.name!r} in {sweep.storage} is of another sweep (its {', '.join(differing)} differ): "
                "accepted is the same sweep, or another --name"
            )
        return storage
    storage.write_json(
        "run.json",
        {
            "sweep": mine,
            "reference": list(reference),
            "versions": versions(),
            "host": host(),
            "cpus": os.cpu_count(),
            "started": datetime.now(UTC).isoformat(),
        },
    )
    return storage


def _reference(configs: list[SearchConfig]) -> tuple[float, float]:
    """The worst corner that means something: every operation of the spaces, and the accuracy of guessing."""
    dataset = load_dataset(configs[0].dataset, configs[0].data_root)
    largest = 0.0
    for config in {config.space: config for config in configs}.values():
        space: CellSpace = registry.find("space", config.space)
        _, size = sizes(config, space, dataset)
        largest = max(largest, cost_table(space, size).largest_macs)
    return largest, 1.0 / dataset.classes


def _affordable(frame: pd.DataFrame, budget: float | None) -> pd.DataFrame:
    if budget is None:
        return frame
    kept = frame[frame["macs"] <= budget]
    if len(frame) and not len(kept):
        print(
            f"none of {len(frame)} architectures is within {budget:g} M multiply-adds "
            f"(the smallest has {frame['macs'].min():.4g} M)",
            file=sys.stderr,
        )
    return kept


def _train_front(
    sweep: Sweep,
    storage: Storage,
    candidates: pd.DataFrame,
    reference: tuple[float, float],
    failures: tuple[str, ...],
    session: ExitStack,
) -> Outcome:
    trials = _trainings(sweep, storage, _chosen(sweep, candidates))
    # Another selection or other settings are other trials, with a folder of Tune's of their own.
    identity = [(trial["name"], sweep.evaluation.to_dict()) for trial in trials]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
    failures += _run_trials(sweep, storage, f"retrain-{digest}", trials, session)
    compact(storage, EVALUATIONS)
    rows = _of_fidelity(_affordable(read(storage, EVALUATIONS), sweep.budget), sweep.evaluation)
    rows = average_over_seeds(rows) if len(sweep.retrain_seeds) > 1 else rows
    return _finish(sweep, storage, rows, pareto_front(rows), reference, failures)


def _chosen(sweep: Sweep, candidates: pd.DataFrame) -> pd.DataFrame:
    """The candidates that are trained from scratch, of each method its own."""
    if sweep.retrain == "final":
        ordered = candidates.sort_values(["trial_id", "epoch", "snapshot"], kind="stable")
        return ordered.groupby("trial_id", sort=False).tail(1)
    methods = candidates.groupby("method", sort=True)
    fronts = [near_front(rows, sweep.retrain_within) for _, rows in methods]
    return pd.concat(fronts, ignore_index=True) if fronts else candidates


def _trainings(sweep: Sweep, storage: Storage, chosen: pd.DataFrame) -> list[dict[str, Any]]:
    """Trials that train the chosen candidates from scratch, and a random baseline beside each."""
    dataset = load_dataset(sweep.dataset, sweep.data_root)
    taken, beside = set(chosen["architecture_id"]), set[str]()
    selected: dict[str, tuple[Architecture, dict[str, Any]]] = {}
    baselines: dict[str, tuple[Architecture, dict[str, Any]]] = {}
    for row in chosen.to_dict("records"):
        search = SearchConfig.of(json.loads(row["settings"]))
        method = find_method(search.method)
        found = {
            "space": row["space"],
            "method": row["method"],
            "search_trial_id": row["trial_id"],
            "knobs": knob_columns(search.settings, sweep.varied),
            "baseline_of": None,
        }
        space: CellSpace = registry.find("space", row["space"])
        architecture = Architecture.from_json(space, row["architecture"])
        if not method.trained_epochs(search.settings):
            _, first = selected.setdefault(architecture.id, (architecture, found))
            if row["method"] not in first["method"].split(", "):
                first["method"] += f", {row['method']}"
        if not sweep.random_baseline or method is Random or architecture.id in beside:
            continue
        beside.add(architecture.id)
        size = evaluation_size(space, architecture, sweep.evaluation, dataset)
        drawn = random_like(space, size, architecture, budget=sweep.budget, taken=taken)
        if drawn is not None:
            taken.add(drawn.architecture.id)
            knobs = {"operations_per_node": drawn.operations_per_node}
            found = {**found, "method": "random", "search_trial_id": None, "knobs": knobs}
            baselines[drawn.architecture.id] = (drawn.architecture, {**found, "baseline_of": architecture.id})
            storage.write_bytes(f"architectures/{drawn.architecture.id}.json", drawn.architecture.to_json().encode())
    return [
        {
            "name": f"{architecture.id}_{sweep.evaluation.epochs}_{seed}",
            "run": sweep.name,
            "storage": str(storage),
            "evaluation": EvaluationConfig(
                space=found["space"],
                dataset=sweep.dataset,
                architecture=architecture.id,
                settings=sweep.evaluation,
                seed=seed,
                data_root=sweep.data_root,
            ).to_dict(),
            "found": found,
        }
        for architecture, found in (*selected.values(), *baselines.values())
        for seed in sweep.retrain_seeds
    ]


def _of_fidelity(evaluations: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """The rows that share a front: trained from scratch with exactly these settings, or in one stage for as long."""
    from_scratch = evaluations["settings"] == json.dumps(settings.to_dict())
    one_stage = evaluations["training"] == "one stage"
    longer = sorted(set(evaluations.loc[one_stage & (evaluations["epochs"] != settings.epochs), "epochs"]))
    if longer:
        print(
            f"trained in one stage for {', '.join(map(str, longer))} epochs, not {settings.epochs}: in the table, but "
            "on no front with networks trained from scratch",
            file=sys.stderr,
        )
    return evaluations[from_scratch | (one_stage & (evaluations["epochs"] == settings.epochs))]


def _finish(
    sweep: Sweep,
    storage: Storage,
    rows: pd.DataFrame,
    front: pd.DataFrame,
    reference: tuple[float, float],
    failures: tuple[str, ...],
) -> Outcome:
    write_front(storage, front)
    by_method = {
        method: rows[[method in names.split(", ") for names in rows["method"]]]
        for method in sorted({name for names in rows["method"] for name in names.split(", ")}, key=_random_last)
    }
    fronts = {method: pareto_front(own) for method, own in by_method.items()}
    if len(front):
        storage.write_bytes("front.png", front_picture(fronts, points=by_method, title=sweep.name))
    values = storage.read_json("run.json")
    if not failures and "ended" not in values:
        storage.write_json("run.json", {**values, "ended": datetime.now(UTC).isoformat()})
    volume = hypervolume(front, reference) if len(front) else 0.0
    volumes = {method: hypervolume(own, reference) for method, own in fronts.items()}
    return Outcome(str(storage), front, volume, reference, failures, volumes)


def _random_last(method: str) -> tuple[bool, str]:
    return method == "random", method


def _run_trials(
    sweep: Sweep, storage: Storage, phase: str, trials: list[dict[str, Any]], session: ExitStack
) -> tuple[str, ...]:
    """Run trials of a phase under Tune, or those that an earlier try left; gives the reasons of failed ones.

    Ray is connected to by the first phase that has something to run, and stays for the session.
    """
    done = f"tune/{phase}.json"
    if not trials:
        return ()
    if storage.exists(done):
        return tuple(storage.read_json(done)["failures"])
    session.enter_context(_ray(sweep.address))
    failures = _tune(sweep, storage, phase, trials)
    if not failures:
        # Written after the last row: from here on the phase needs neither Ray nor its checkpoints.
        storage.write_json(done, {"trials": len(trials), "failures": []})
    return failures


def _tune(sweep: Sweep, storage: Storage, phase: str, trials: list[dict[str, Any]]) -> tuple[str, ...]:
    # Tune's loggers would write the same figures three times over for every trial.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Tune's other way of printing says things even where it is told to say nothing.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    from ray import tune

    from nasray.sweeps.progress import Progress
    from nasray.sweeps.trainables import FAILED, EvaluationTrainable, SearchTrainable

    searching = phase == "search"
    trainable = tune.with_resources(
        SearchTrainable if searching else EvaluationTrainable,
        {"cpu": sweep.cpus_per_trial, "gpu": sweep.gpus_per_trial},
    )
    param_space = {"trial": tune.grid_search(trials)}
    folder = f"{storage}/tune"
    if tune.Tuner.can_restore(f"{folder}/{phase}"):
        tuner = tune.Tuner.restore(
            f"{folder}/{phase}", trainable, resume_unfinished=True, resume_errored=True, param_space=param_space
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(
                reuse_actors=True, trial_name_creator=_trial_name, trial_dirname_creator=_trial_name
            ),
            run_config=tune.RunConfig(
                name=phase,
                storage_path=folder,
                verbose=0,
                callbacks=[Progress("searches" if searching else "trainings", len(trials))],
                failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2),
            ),
        )
    failures = []
    results = tuner.fit()
    for result in (results[i] for i in range(len(results))):
        name = (result.config or {}).get("trial", {}).get("name", "?")
        given_up = (result.metrics or {}).get(FAILED)
        if result.error is not None:
            reason = str(result.error).strip().splitlines()[-1]
            failures.append(f"trial {name} failed {sweep.max_failures + 1} times: {reason}")
        elif given_up:
            failures.append(f"trial {name}: {given_up}")
    return tuple(sorted(failures))


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"]["name"])


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """A connection to Ray: the one there is, the cluster at an address, or a Ray of our own on this machine."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # A sweep's objects are small: the store takes what its smallest size is, not a third of the memory.
    own: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": True} if address == "local" else {}
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidInput(f"address {address!r} ({reason}): accepted is that of a running Ray cluster") from None
    if context.dashboard_url:
        print(f"dashboard: http://{context.dashboard_url}", file=sys.stderr)
    try:
        yield
    finally:
        ray.shutdown()
