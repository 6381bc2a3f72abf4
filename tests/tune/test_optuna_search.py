"""What Optuna's study says of trials that ended in every way, and that a restored searcher proposes the same."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from nasray.tune.optuna_search import SAMPLERS, ParetoOptunaSearch

SPACE = {"width": FloatDistribution(0, 1), "depth": optuna.distributions.IntDistribution(1, 8)}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def searcher(**changes: Any) -> ParetoOptunaSearch:
    arguments = dict(space=SPACE, metrics=["accuracy", "macs"], modes=["max", "min"], max_t=8, time_attr="epoch")
    return ParetoOptunaSearch(**{**arguments, "sampler": "random", "seed": 0, **changes})


def result_of(config: dict[str, Any], epoch: int = 8) -> dict[str, Any]:
    macs = 100 * config["width"] * config["depth"]
    return {"epoch": epoch, "accuracy": config["width"] ** 0.5 + config["depth"] / 10, "macs": macs}


def evaluate(search: ParetoOptunaSearch, trials: range) -> list[dict[str, Any]]:
    """Proposals for some trials that all run to the end."""
    proposals = []
    for number in trials:
        config = search.suggest(f"t{number}")
        assert config is not None
        proposals.append(config)
        search.on_trial_result(f"t{number}", result_of(config, 4))
        search.on_trial_complete(f"t{number}", result_of(config))
    return proposals


def test_every_way_to_end_has_its_state() -> None:
    search = searcher(upper_bounds={"macs": 150.0})
    good = {"epoch": 8, "accuracy": 0.5, "macs": 100.0}
    ends: list[tuple[dict[str, Any] | None, bool, TrialState, tuple[float, ...] | None, dict[str, float]]] = [
        (good, False, TrialState.COMPLETE, (0.5, 100.0), {"macs": -50.0}),
        ({**good, "epoch": 9, "macs": 170.0}, False, TrialState.COMPLETE, (0.5, 170.0), {"macs": 20.0}),
        ({**good, "epoch": 2}, False, TrialState.PRUNED, None, {"macs": -50.0}),
        ({**good, "epoch": 2, "accuracy": math.nan}, False, TrialState.PRUNED, None, {"macs": -50.0}),
        ({**good, "accuracy": math.nan}, False, TrialState.FAIL, None, {}),
        ({"epoch": 8, "macs": 1.0}, False, TrialState.FAIL, None, {}),
        ({"epoch": 8, "accuracy": 1.0}, False, TrialState.FAIL, None, {}),
        ({"done": True}, False, TrialState.FAIL, None, {}),
        (None, True, TrialState.FAIL, None, {}),
        (good, True, TrialState.FAIL, None, {}),
        (None, False, TrialState.PRUNED, None, {}),
    ]
    for number, (result, error, *_) in enumerate(ends):
        search.suggest(str(number))
        search.on_trial_complete(str(number), result, error)
        search.on_trial_complete(str(number), good)  # a second time changes nothing
    search.on_trial_complete("never proposed", good)
    told = [(t.state, t.values and tuple(t.values), t.constraints) for t in search.study.trials]
    assert told == [(state, values, constraints) for _, _, state, values, constraints in ends]
    assert [t.number for t in search.study.best_trials] == [0]


def test_a_result_without_a_bounded_quantity_is_refused() -> None:
    search = searcher(upper_bounds={"params": 1.0})
    search.suggest("t0")
    with pytest.raises(ValueError, match=r"^result of trial t0 without 'params', which has an upper bound$"):
        search.on_trial_result("t0", {"accuracy": 0.1, "macs": 1.0, "epoch": 1})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (dict(metrics="accuracy"), "metrics"),
        (dict(metrics=[], modes=[]), "metrics"),
        (dict(modes=["max"]), "modes"),
        (dict(modes=["max", "up"]), "modes"),
        (dict(sampler="grid"), "sampler 'grid'"),
        (dict(sampler=optuna.samplers.RandomSampler()), "seed"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_line(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word}.*accepted") as error:
        searcher(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "gp" else ()) for n in SAMPLERS])
def test_a_restored_searcher_proposes_as_if_nothing_had_been(name: str, tmp_path: Path) -> None:
    before, after = range(12), range(12, 16)
    undisturbed = searcher(sampler=name)
    evaluate(undisturbed, before)
    expected = evaluate(undisturbed, after)

    killed = searcher(sampler=name)
    evaluate(killed, before)
    killed.save(str(tmp_path / "state"))
    restored = searcher(sampler="random", seed=7)
    restored.restore(str(tmp_path / "state"))
    assert evaluate(restored, after) == expected
    assert [t.state for t in restored.study.trials] == [TrialState.COMPLETE] * 16


@pytest.mark.parametrize(
    ("name", "trials"), [("tpe", 240), ("nsga2", 400), ("nsga3", 400), pytest.param("gp", 20, marks=pytest.mark.slow)]
)
def test_samplers_learn_of_the_budget(name: str, trials: int) -> None:
    # Both objectives grow with what the budget limits: without it, what they lead to violates it.
    violating = {}
    for bounds in ({}, {"macs": 100.0}):
        search = searcher(metrics=["accuracy", "macs"], modes=["max", "max"], sampler=name, seed=1, upper_bounds=bounds)
        late = evaluate(search, range(trials))[-trials // 4 :]
        violating[bool(bounds)] = sum(result_of(config)["macs"] > 100 for config in late)
    assert violating[True] < 0.7 * violating[False]


def test_a_storage_that_is_newer_than_the_restored_searcher(tmp_path: Path) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    search = searcher(storage=optuna.storages.JournalStorage(backend), upper_bounds={"macs": 100.0})
    config = search.suggest("t0")
    assert config is not None
    search.save(str(tmp_path / "state"))
    search.on_trial_complete("t0", result_of(config))
    restored = searcher()
    restored.restore(str(tmp_path / "state"))
    restored.on_trial_complete("t0", result_of(config))
    evaluate(restored, range(1, 3))
    assert [t.state for t in restored.study.trials] == [TrialState.COMPLETE] * 3


# Runs of Ray Tune.

TUNE = """
import os, sys, time
from ray import tune
from nasray.tune.optuna_search import ParetoOptunaSearch
from nasray.tune.pareto_asha import ParetoASHA

class Toy(tune.Trainable):
    def setup(self, config):
        self.epoch, self.given = 0, config
    def reset_config(self, config):
        self.setup(config)
        return True
    def step(self):
        time.sleep(PAUSE)
        self.epoch += 1
        x, y = self.given["x"], self.given["y"]
        quality = 1 - (x - 0.7) ** 2 - y ** 2
        return {"epoch": self.epoch, "accuracy": quality * (1 - 0.5 ** self.epoch), "macs": 100 * x}
    def save_checkpoint(self, folder):
        with open(os.path.join(folder, "epoch"), "w") as file:
            file.write(str(self.epoch))
    def load_checkpoint(self, folder):
        with open(os.path.join(folder, "epoch")) as file:
            self.epoch = int(file.read())

def run(folder, trials):
    names, modes = ["accuracy", "macs"], ["max", "min"]
    search = ParetoOptunaSearch(
        metrics=names, modes=modes, max_t=4, time_attr="epoch", sampler="tpe", seed=3, upper_bounds={"macs": 80.0}
    )
    space = {"x": tune.uniform(0, 1), "y": tune.uniform(0, 1)}
    if tune.Tuner.can_restore(f"{folder}/toy"):
        tuner = tune.Tuner.restore(f"{folder}/toy", Toy, param_space=space)
    else:
        tuner = tune.Tuner(
            Toy,
            param_space=space,
            tune_config=tune.TuneConfig(
                search_alg=search, reuse_actors=True, num_samples=trials,
                scheduler=ParetoASHA(names, modes, "epoch", rungs=(1, 2, 4), reduction_factor=2),
            ),
            run_config=tune.RunConfig(
                name="toy", storage_path=folder, verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=2),
            ),
        )
    results = tuner.fit()
    assert not results.errors, results.errors
    # The searcher's own view, as Tune saved it last.
    search.restore_from_dir(f"{folder}/toy")
    told = {i: search.study.trials[t.number] for i, t in search._ot_trials.items()}
    return [[r.metrics["epoch"], r.metrics["macs"], r.metrics["accuracy"], told[r.metrics["trial_id"]].state.name,
             told[r.metrics["trial_id"]].values, told[r.metrics["trial_id"]].constraints["macs"]] for r in results]
"""

QUIET = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}


def check(rows: list[list[Any]], trials: int) -> None:
    """A trial that did not reach the last rung is pruned, without values; the others are complete with theirs."""
    assert len(rows) == trials
    for epoch, macs, accuracy, state, values, violation in rows:
        assert (state, values) == (("COMPLETE", [accuracy, macs]) if epoch == 4 else ("PRUNED", None))
        assert violation == pytest.approx(macs - 80.0)
    assert {1, 4} <= {row[0] for row in rows}


def test_what_pareto_asha_stops_is_never_complete(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    namespace: dict[str, Any] = {"PAUSE": 0.0}
    exec(TUNE, namespace)
    check(namespace["run"](str(tmp_path), 30), 30)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_a_sigkill_the_study_goes_on(tmp_path: Path, run_and_kill: Any) -> None:
    script = tmp_path / "toy.py"
    start_ray = "import ray; ray.init(address='local', num_cpus=1, include_dashboard=False, log_to_driver=False)"
    tell = "import json; print(json.dumps(run(sys.argv[1], 16)))"
    script.write_text(f"PAUSE = 0.15\n{TUNE}\nif __name__ == '__main__':\n    {start_ray}\n    {tell}\n")
    command = [sys.executable, str(script), str(tmp_path / "runs")]
    environment = {**os.environ, **QUIET, "TUNE_GLOBAL_CHECKPOINT_S": "1"}

    def trials() -> int:
        written = sorted((tmp_path / "runs" / "toy").glob("experiment_state-*.json"))
        try:
            return len(json.loads(written[-1].read_text())["trial_data"])
        except (IndexError, ValueError):
            return 0

    for so_many in (4, 9):
        run_and_kill(command, environment, lambda so_many=so_many: trials() >= so_many)
    end = subprocess.run(command, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, env=environment)
    check(json.loads(end.stdout.decode().splitlines()[-1]), 16)
