"""nasray's searchers under Ray Tune: what gets a trial, what is told, and what a killed search proposes again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.search_generator import SearchGenerator

from nasray.searchers import EPOCH, Feedback, Proposal, Searcher, SearchProblem, find_searcher, rebuilt
from nasray.searchers.evolution import Evolution
from nasray.searchers.optuna import TPE
from nasray.spaces import Architecture, CellSpace
from nasray.tune.searcher import AskTellSearch
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201
from tests.small_space import five_cells

FINISHED = "FINISHED"
Known = Callable[[Architecture], Mapping[str, Any] | None]


def problem(space: CellSpace = NAS_BENCH_201) -> SearchProblem:
    return SearchProblem(
        space=space, cells=15, objectives={"accuracy": "max", "macs": "min"}, epochs=4, budget=None, macs=cost, seed=2
    )


def cost(architecture: Architecture) -> float:
    return float(architecture.to_json().count("3x3"))


def result_of(text: str) -> dict[str, Any]:
    """What a trial comes to; some are stopped after an epoch."""
    return {
        "architecture": text,
        "accuracy": text.count("conv") ** 0.5 + len(text) / 1e3,
        "macs": float(text.count("3x3")),
        EPOCH: 1 if text.count("skip") == 1 else 4,
    }


def searcher(name: str, space: CellSpace = NAS_BENCH_201) -> Searcher:
    kind = find_searcher(name)
    config = Evolution.Config(initial=5) if kind is Evolution else kind.Config()
    return kind(config, problem(space))


def name_of(proposal: Proposal) -> str:
    assert proposal.architecture is not None
    return f"{proposal.architecture.id}_4_0"


def key(architecture: Architecture) -> str:
    return Proposal(architecture).key


def adapter(one: Searcher, proposals: int = 20, **arguments: Any) -> AskTellSearch:
    return AskTellSearch(one, proposals, name_of=name_of, **arguments)


def run(search: AskTellSearch, most: int = 1000) -> list[str]:
    """Run trials one after another; gives their architectures as JSON."""
    trials: list[str] = []
    while len(trials) < most and (config := search.suggest(f"t{len(trials)}")) != FINISHED:
        search.on_trial_complete(f"t{len(trials)}", result_of(config["proposal"]))
        trials.append(config["proposal"])
    return trials


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_a_space_with_fewer_architectures_than_proposals_trains_each_once(name: str) -> None:
    # These two propose again and again what they know.
    numbers: list[int] = []
    search = adapter(searcher(name, five_cells()), 12, on_told=lambda proposal, result, number: numbers.append(number))
    trials = run(search)
    assert len(set(trials)) == len(trials) <= 5
    assert (search.proposed, search.distinct, search.told) == (12, len(trials), 12)
    assert numbers == sorted(numbers)  # of its first telling each, repetitions between them
    assert numbers[0] == 1
    study = search.black_box.study  # type: ignore[attr-defined]
    assert len(study.trials) == 12
    assert all(trial.state.is_finished() for trial in study.trials)


def test_evolution_ends_when_there_is_nothing_new() -> None:
    search = adapter(searcher("evolution", five_cells()), 12)
    assert len(run(search)) == 5
    assert (search.proposed, search.distinct) == (5, 5)


@pytest.mark.parametrize("name", ["random_search", "evolution", "nsga2", "nsga3", "tpe"])
def test_a_search_that_was_killed_anywhere_proposes_the_same_trials(name: str) -> None:
    undisturbed: dict[str, int] = {}
    search = adapter(
        searcher(name), on_told=lambda proposal, result, number: undisturbed.setdefault(result["architecture"], number)
    )
    trials = run(search)
    assert list(undisturbed) == trials
    for done in range(len(trials) + 1):
        known = {text: {**result_of(text), "told": undisturbed[text]} for text in trials[:done]}
        told = dict.fromkeys(known, 0)
        resumed = adapter(
            searcher(name),
            known=lambda one, known=known: known.get(one.key),
            on_told=lambda proposal, result, number, told=told: told.update({result["architecture"]: number}),
        )
        assert run(resumed) == trials[done:]
        assert (resumed.proposed, resumed.distinct) == (search.proposed, search.distinct)
        assert {**undisturbed, **{text: number for text, number in told.items() if number}} == undisturbed


def test_a_row_that_was_written_before_it_was_told_gets_its_number() -> None:
    trials = run(adapter(searcher("evolution")))
    known = {text: {**result_of(text), "told": number} for number, text in enumerate(trials[:7], start=1)}
    known[trials[6]]["told"] = None  # killed between the two
    numbers: dict[str, int] = {}
    resumed = adapter(
        searcher("evolution"),
        known=lambda one: known.get(one.key),
        on_told=lambda proposal, result, number: numbers.update({result["architecture"]: number}),
    )
    run(resumed, most=1)
    assert numbers == {trials[6]: 7, trials[7]: 8}


class Repeating(Searcher):
    """Proposes given architectures, and remembers what it is told."""

    def __init__(self, architectures: list[Architecture]) -> None:
        super().__init__(Searcher.Config(), problem())
        self.left = list(enumerate(architectures))
        self.told: list[tuple[int | None, str]] = []

    def ask(self) -> Proposal | None:
        if not self.left:
            return None
        number, architecture = self.left.pop(0)
        return Proposal(architecture, number=number)

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        self.told.append((proposal.number, feedback.state))


def cells(number: int) -> list[Architecture]:
    texts = run(adapter(searcher("random_search"), number))
    found = (Proposal.of(text, NAS_BENCH_201).architecture for text in texts)
    return [architecture for architecture in found if architecture is not None]


def test_what_is_under_way_is_told_when_it_ends() -> None:
    a, b = cells(2)
    one = Repeating([a, a, b, a, b])
    search = adapter(one, 5)
    first, second = search.suggest("x"), search.suggest("y")
    assert first == {"trial": name_of(Proposal(a)), "proposal": key(a), "told": 0}
    assert second == {"trial": name_of(Proposal(b)), "proposal": key(b), "told": 0}
    assert search.suggest("z") == FINISHED
    search.on_trial_complete("y", error=True)
    search.on_trial_complete("y", result_of(key(b)))  # a second time changes nothing
    search.on_trial_complete("never proposed", result_of(key(b)))
    search.on_trial_complete("x", {**result_of(key(a)), EPOCH: 4})
    assert one.told == [
        (2, "failed"), (4, "failed"), (0, "complete"), (1, "complete"), (3, "complete")
    ]  # fmt: skip
    assert (search.proposed, search.distinct, search.told) == (5, 2, 5)


def test_a_training_that_is_resumed_ends_what_it_began_and_counts_on() -> None:
    a, b, c, d = cells(4)
    before = {a.id: {**result_of(key(a)), "told": 1}, b.id: {**result_of(key(b)), "told": 2}}
    numbers: list[tuple[str, int]] = []
    search = adapter(
        one := Repeating([b, c, d]),
        6,
        known=lambda proposal: before.get(proposal.architecture.id),
        on_told=lambda proposal, result, number: numbers.append((result["architecture"], number)),
        told=3,  # a, b and one of them again
        distinct=2,
        unfinished=[Proposal(d)],
    )
    assert run(search) == [key(d), key(c)]
    assert numbers == [(key(d), 4), (key(c), 6)]
    assert [number for number, _ in one.told] == [None, 0, 1]  # b is told again, and trained no more
    assert (search.proposed, search.distinct) == (6, 4)


def test_a_searcher_that_is_rebuilt_and_adapted_learns_from_trials_of_before() -> None:
    first = searcher("evolution")
    trials = run(adapter(first, 12))
    feedback = Feedback(state="complete", values=(1.0, 1.0))
    told = [(Proposal.of(text, NAS_BENCH_201), feedback) for text in trials]
    search = adapter(rebuilt(Evolution, first.config, first.problem, told), 20, told=12)
    assert len(run(search)) == 8
    assert search.distinct == 20


def test_tune_s_limit_asks_for_the_next_when_the_last_has_ended() -> None:
    # As TuneConfig's max_concurrent_trials does.
    one = Repeating(cells(3))
    search = ConcurrencyLimiter(adapter(one), max_concurrent=1)
    first = search.suggest("a")
    assert set(first) == {"trial", "proposal", "told"}
    assert search.suggest("b") is None
    search.on_trial_result("a", {EPOCH: 1})
    assert search.suggest("b") is None
    assert not one.told
    search.on_trial_complete("a", result_of(first["proposal"]))
    assert search.suggest("b")["told"] == 1  # told before the next one was asked for
    search.on_trial_complete("b", error=True)
    assert search.suggest("c")["told"] == 2
    search.on_trial_complete("c")
    assert [search.suggest("d"), search.suggest("e")] == [FINISHED] * 2


def test_the_state_that_tune_saves_holds_nothing_of_the_search(tmp_path: Path) -> None:
    search = adapter(searcher("tpe"))
    run(search, most=3)
    SearchGenerator(ConcurrencyLimiter(search, max_concurrent=1)).save_to_dir(str(tmp_path), "session")
    assert not list(tmp_path.glob("searcher-state*"))


TUNE = """
from ray import tune

class Toy(tune.Trainable):
    def setup(self, config):
        self.epoch, self.text = 0, config["proposal"]
    def reset_config(self, config):
        self.setup(config)
        return True
    def step(self):
        self.epoch += 1
        cost = 9.0 * self.text.count("3x3") + self.text.count("1x1")
        accuracy = cost ** 0.5 + self.text.count("skip") * self.epoch
        return {"epoch": self.epoch, "accuracy": accuracy, "macs": cost, "architecture": self.text}
    def save_checkpoint(self, folder):
        pass
"""


@pytest.mark.slow
def test_under_ray_tune_what_pareto_asha_stops_is_never_told_complete(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import tune

    from nasray.tune.pareto_asha import ParetoASHA

    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    namespace: dict[str, Any] = {}
    exec(TUNE, namespace)
    search = adapter(one := TPE(TPE.Config(), problem()), 30)
    tuner = tune.Tuner(
        namespace["Toy"],
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=ParetoASHA(["accuracy", "macs"], ["max", "min"], "epoch", rungs=(1, 4)),
            reuse_actors=True,
            num_samples=30,
            trial_name_creator=lambda trial: trial.config["trial"],
            trial_dirname_creator=lambda trial: trial.config["trial"],
        ),
        run_config=tune.RunConfig(name="toy", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    assert len(results) == search.distinct <= search.proposed == 30
    ends = {result.config["proposal"]: result.metrics["epoch"] for result in results}
    assert set(ends.values()) == {1, 4}
    assert {Path(result.path).name for result in results} == {
        name_of(Proposal.of(text, NAS_BENCH_201)) for text in ends
    }
    states = [trial.state for trial in one.study.trials]
    assert len(states) == 30
    complete = sum(epoch == 4 for epoch in ends.values())
    assert complete <= states.count(TrialState.COMPLETE)
    assert {TrialState.PRUNED, TrialState.COMPLETE} == set(states)
    assert not any(trial.values for trial in one.study.trials if trial.state is TrialState.PRUNED)
