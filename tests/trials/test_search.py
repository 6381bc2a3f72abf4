from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasray import registry
from nasray.costs import macs, params
from nasray.errors import InvalidInput, NonFiniteLoss
from nasray.methods.darts import DARTS
from nasray.methods.random import Random
from nasray.networks import target_network
from nasray.spaces import CellSpace
from nasray.training.dataset import Dataset, load_dataset
from nasray.trials.search import Epoch, Search
from nasray.trials.search_config import SearchConfig, find_method

ENTRY_POINTS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
SMALL = {"epochs": 2, "channels": 4, "cells": 3, "batch_size": 8, "train_examples": 32}
# So that within two epochs of a few steps something happens.
ACTIVE: dict[str, dict[str, Any]] = {
    "gold_nas": {"stop_macs": 0.01, "lambda0": 0.2, "share_max": 0.12},
    "ista_nas_one_stage": {"final_epochs": 1},
    "pc_darts": {"frozen": 0.0},
}
CLOCK = {"seconds", "train_seconds", "examples_per_second", "peak_memory_bytes"}


def config(method: str, space: str, seed: int = 0, **changes: Any) -> SearchConfig:
    cls = find_method(method)
    stages = registry.find("space", space).stages
    cells = {"cells": 2 * len(stages) - 1} if stages else {}
    settings = cls.Config.of({**SMALL, **cells, **ACTIVE.get(method, {}), **changes})
    return SearchConfig(
        method=method, space=space, dataset="digits", settings=settings, seed=seed, evaluation_channels=4
    )


def spaces() -> Iterator[str]:
    """One of the spaces that differ in the numbers of their cells alone."""
    seen = set()
    for name in ENTRY_POINTS["nasray.spaces"]:
        space = registry.find("space", name)
        what = space.cell_per_position, space.cells["normal"], space.cells.get("reduce")
        if what not in seen:
            seen.add(what)
            yield name


def every_pair() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for method in ENTRY_POINTS["nasray.methods"]:
        for space in spaces():
            if find_method(method).unsupported(registry.find("space", space)) is None:
                yield method, space, {}
    yield "darts", "gold", {"second_order": True}
    yield "random", "gold", {"drop_path": 0.3, "auxiliary_weight": 0.4, "augmentation": "cutout"}


PAIRS = list(every_pair())


def space_of(method: str) -> str:
    """The smallest space that a method searches."""
    return max((s for m, s, _ in PAIRS if m == method), key=["nas_bench_201", "dso_full", "dso", "darts", "gold"].index)


# A quick run has every method on its smallest space, and one on cells that repeat and reduce; the others are slow
# together, not each.
PARAMS = [
    pytest.param(pair, id="-".join([pair[0], pair[1], *pair[2]]), marks=[] if quick else [pytest.mark.slow])
    for pair in PAIRS
    for quick in [pair[1] == space_of(pair[0]) or pair[:2] == ("random", "darts")]
]


def plain(value: Any) -> Any:
    """A state without its clock, in values that == compares bit for bit."""
    if isinstance(value, Tensor):
        # Bits, so that -0 is not 0; a momentum that was not needed yet is None.
        return str(value.dtype), tuple(value.shape), value.detach().contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if key not in CLOCK}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def figures(epoch: Epoch) -> Any:
    return epoch.number, plain(epoch.metrics), epoch.candidates


def saved(search: Search) -> bytes:
    buffer = io.BytesIO()
    torch.save(search.state_dict(), buffer)
    return buffer.getvalue()


def loaded(state: bytes) -> Any:
    return torch.load(io.BytesIO(state), weights_only=True)


class Poisoned(torch.Tensor):
    """May be moved to a device; whatever else is done with it raises."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to:
            return super().__torch_function__(func, types, args, kwargs or {})
        raise AssertionError(f"the test split was used: {func}")


def random_states() -> Any:
    """Of every generator that belongs to the caller."""
    legacy = np.random.get_state()  # noqa: NPY002
    return random.getstate(), legacy[1].tolist(), plain(torch.get_rng_state())


class Record:
    """An undisturbed search that may not read the test split: what each epoch gave, and the state after it."""

    def __init__(self, made: SearchConfig) -> None:
        self.config = made
        whole = load_dataset("digits")
        self.dataset = replace(whole)
        object.__setattr__(self.dataset, "test", tuple(part.as_subclass(Poisoned) for part in whole.test))
        self.random_states = [random_states()]
        search = Search(made, dataset=self.dataset, device="cpu")
        self.random_states.append(random_states())
        self.states = [saved(search)]
        self.epochs: list[Epoch] = []
        while not search.finished:
            self.epochs.append(search.run_epoch())
            self.states.append(saved(search))
            self.random_states.append(random_states())
        self.search = search


@pytest.fixture(scope="module", params=PARAMS)
def record(request: pytest.FixtureRequest) -> Record:
    method, space, changes = request.param
    return Record(config(method, space, **changes))


def test_the_same_seed_gives_the_same_search(record: Record):
    search = Search(record.config, device="cpu")
    assert plain(loaded(saved(search))) == plain(loaded(record.states[0]))
    assert figures(search.run_epoch()) == figures(record.epochs[0])
    assert plain(search.state_dict()) == plain(loaded(record.states[1]))


def test_a_restored_search_goes_on_bit_for_bit(record: Record):
    # Each epoch from the state before it, in a search that has seen nothing else or quite other things.
    search = Search(record.config, device="cpu")
    for number in reversed(range(1, len(record.epochs))):
        search.load_state_dict(loaded(record.states[number]))
        assert search.epoch == number
        assert not search.finished
        torch.manual_seed(number)  # the caller's random state is no part of a search
        assert figures(search.run_epoch()) == figures(record.epochs[number])
        assert plain(search.state_dict()) == plain(loaded(record.states[number + 1]))


def test_what_an_epoch_gives(record: Record):
    search, space = record.search, record.search.space
    assert [epoch.number for epoch in record.epochs] == list(range(1, len(record.epochs) + 1))
    given = [candidate for epoch in record.epochs for candidate in epoch.candidates]
    assert given, "at its end a search gives its last architecture"
    assert record.epochs[-1].candidates[-1].architecture == search.method.architecture()
    for candidate in given:
        # The space's own JSON accepts it; costs are those of the size at which it would be evaluated.
        again = type(candidate.architecture).from_json(space, candidate.architecture.to_json())
        assert again == candidate.architecture
        assert candidate.macs == macs(space, again, search.evaluation_size)
        assert candidate.params == params(space, again, search.evaluation_size)
        assert 0 <= candidate.accuracy <= 1
        assert candidate.gap == candidate.supernet_accuracy - candidate.accuracy
    for epoch in record.epochs:
        assert [candidate.snapshot for candidate in epoch.candidates] == list(range(len(epoch.candidates)))
        assert all(np.isfinite(value) for value in epoch.metrics.values())
        json.dumps(epoch.metrics)
    with pytest.raises(RuntimeError, match="finished"):
        search.run_epoch()


def test_gates_are_zero_where_nothing_is_computed(record: Record):
    search = record.search
    with torch.no_grad():
        gates = search.method.gates()
    layout = search.space.layout(search.size.cells)
    assert len(gates) == len(layout)
    for name, position in zip(layout, gates, strict=True):
        graph = search.space.graph(name)
        assert position.values_EO.shape == position.active_EO.shape == (len(graph.edges), len(graph.operations))
        assert position.active_EO.dtype == np.bool_
        absent = ~position.active_EO
        if graph.none is not None:
            none = graph.operation_index[graph.none]
            assert absent[:, none].all()
            absent[:, none] = False
        assert not position.values_EO.detach().numpy()[absent].any()
    assert record.epochs[-1].metrics["active_operations"] == sum(int(g.active_EO.sum()) for g in gates)


def test_the_test_split_is_never_read(record: Record):
    with pytest.raises(AssertionError, match="the test split was used"):
        len(record.dataset.test[0])
    assert record.search.data.dataset is record.dataset
    splits = record.search.splits
    parts = [part.tolist() for part in (splits.train, splits.architecture, splits.validation)]
    assert len({index for part in parts for index in part}) == sum(map(len, parts))
    assert bool(parts[1]) == (find_method(record.config.method).architecture_fraction > 0)


def test_the_callers_random_state_is_left_alone(record: Record):
    assert all(state == record.random_states[0] for state in record.random_states)


def test_another_seed_gives_another_search():
    first, second = (Search(config("darts", "gold", seed=seed), device="cpu") for seed in (0, 1))
    assert plain(first.state_dict()) != plain(second.state_dict())
    assert torch.equal(first.splits.validation, second.splits.validation), "splits have a seed of their own"


def test_gold_prunes_and_gives_architectures_that_shrink():
    record = Record(config("gold_nas", "gold", epochs=5, stable_epochs=0, train_examples=64))
    active = [epoch.metrics["active_operations"] for epoch in record.epochs]
    cost = [epoch.metrics["macs"] for epoch in record.epochs]
    assert active == sorted(active, reverse=True)
    assert cost == sorted(cost, reverse=True)
    assert active[-1] < 3 * 28


def test_inherited_accuracy_is_that_of_the_target_network_with_the_supernets_weights():
    made = config(
        "gold_nas", "gold", epochs=1, batch_size=16, train_examples=128, validation_fraction=0.5, learning_rate=0.05
    )
    search = Search(made, device="cpu")
    (candidate,) = search.run_epoch().candidates
    network = search.learner.network
    # GOLD normalises search and evaluation alike, so its target network can hold the supernet's weights.
    target = target_network(search.space, candidate.architecture, search.size)
    target.load_state_dict({name: network.state_dict()[name] for name in target.state_dict()})
    for module in target.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    plain_inputs = search.data.dataset.augmentations["none"]
    inputs, targets = search.data.dataset.train
    with torch.no_grad():
        target.train()
        for batch in range(len(search.splits.train) // 16 // 4):
            target(plain_inputs(inputs[search.splits.train[batch * 16 : batch * 16 + 16]], None))
        target.eval()
        right = target(plain_inputs(inputs[search.splits.validation], None)).argmax(dim=1)
    accuracy = float((right == targets[search.splits.validation]).double().mean())
    assert candidate.accuracy == pytest.approx(accuracy, abs=1.5 / len(search.splits.validation))
    assert len(search.splits.validation) > 100


def test_a_supernet_that_is_its_candidate_has_no_gap():
    search = Search(config("random", "darts", epochs=2), device="cpu")
    search.run_epoch()
    (candidate,) = search.run_epoch().candidates
    assert candidate.gap == 0.0
    assert candidate.accuracy > 0.2


def test_measuring_a_candidate_leaves_the_supernet_as_it_was():
    search = Search(config("darts", "gold", epochs=3, drop_path=0.2), device="cpu")
    search.run_epoch()
    search.run_epoch()
    before = plain(search.state_dict()), search.learner.network.drop_path
    assert before[1] > 0
    search._inherited_accuracy(search.method.architecture())
    assert (plain(search.state_dict()), search.learner.network.drop_path) == before
    assert all(m.momentum == 0.1 for m in search.learner.network.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("method", "batch_size"), [("darts", 8), *((method, 64) for method in ENTRY_POINTS["nasray.methods"])]
)
def test_what_is_not_finite_gives_no_candidate(method: str, batch_size: int):
    # With a single step in the epoch its loss is finite still, and what it did is seen by the validation alone.
    search = Search(config(method, space_of(method), learning_rate=1e30, batch_size=batch_size), device="cpu")
    with pytest.raises(NonFiniteLoss):
        search.run_epoch()


KILLED = """
import json, os, sys
import torch
torch.set_num_threads(1)
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
config, folder = SearchConfig.of(json.loads(sys.argv[1])), sys.argv[2]
search = Search(config, device="cpu")
state = os.path.join(folder, "state.pt")
if os.path.exists(state):
    search.load_state_dict(torch.load(state, weights_only=True))
step = search.method.step
def reported(*arguments):
    step(*arguments)
    print("step", search.epoch, flush=True)
search.method.step = reported
while not search.finished:
    epoch = search.run_epoch()
    torch.save(search.state_dict(), state + ".new")
    os.replace(state + ".new", state)
    print("epoch", epoch.number, flush=True)
"""


@pytest.mark.slow
def test_a_search_that_is_killed_in_mid_epoch_and_restored_ends_as_if_left_alone(tmp_path: Path):
    made = config("gold_nas", "gold", epochs=4, train_examples=160)
    command = [sys.executable, "-c", KILLED, json.dumps(made.to_dict()), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen: list[str] = []
        for line in process.stdout:
            seen.append(line.strip())
            if seen.count("step 2") == 3:  # of twenty, in the third epoch
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert "epoch 2" in seen
    assert "epoch 3" not in seen
    rest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert "step 1" not in rest, "epochs that were done are not done again"
    assert rest.count("step 2") == 20
    alone = Record(made)
    ended = torch.load(tmp_path / "state.pt", weights_only=True)
    assert plain(ended) == plain(loaded(alone.states[-1]))
    restored = Search(made, device="cpu")
    restored.load_state_dict(ended)
    assert restored.finished
    assert restored.method.architecture() == alone.epochs[-1].candidates[-1].architecture


def test_a_config_comes_back_from_json():
    for method, space, changes in PAIRS:
        made = config(method, space, seed=7, **changes)
        assert SearchConfig.of(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "dart"}, r"^unknown method 'dart': did you mean 'darts'\?$"),
        ({"space": "moon"}, r"^unknown space 'moon': expected .*darts.*gold"),
        ({"dataset": "digit"}, r"^unknown dataset 'digit': did you mean 'digits'\?$"),
        ({"method": "gold_nas"}, r"^method 'gold_nas' on space 'darts': a node has 35 candidates"),
        ({"seed": -1}, r"^seed -1: expected a whole number from 0 to 9223372036854775807$"),
    ],
)
def test_what_cannot_be_searched_is_named(changes: dict[str, Any], message: str):
    with pytest.raises(InvalidInput, match=message):
        replace(config("random", "darts"), **changes)


def test_what_is_no_method_is_named(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "from nasray.methods.random import Random\nclass Mine(Random): pass\nnumber = 3\n"
    )
    assert issubclass(find_method(f"{tmp_path}/mine.py:Mine"), Random)
    with pytest.raises(InvalidInput, match=r"is 3: expected a subclass of nasray.methods.SearchMethod$"):
        find_method(f"{tmp_path}/mine.py:number")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            config("random", "darts", cells=2),
            r"^cells 2 on 'darts': expected enough for a 'normal' cell",
        ),
        (
            replace(config("random", "gold"), evaluation_cells=5),
            r"^evaluation with 5 cells .* expected 3, for every",
        ),
        (config("random", "darts", skeleton="resnet"), r"^skeleton 'resnet': expected one of auto, cifar, imagenet$"),
        (config("gold_nas", "gold", stop_macs=240.0), r"^stop_macs 240: expected a value below "),
        (
            config("random", "darts", augmentation="mixup"),
            r"^unknown augmentation 'mixup' for digits: expected one of ",
        ),
    ],
)
def test_settings_that_fit_no_search_are_named(made: SearchConfig, message: str):
    with pytest.raises(InvalidInput, match=message):
        Search(made, device="cpu").run_epoch()


def test_a_space_of_another_task_is_refused(tmp_path: Path):
    (tmp_path / "spaces.py").write_text(
        "from dataclasses import replace\n"
        "from search_spaces.architectures.darts import DARTS\n"
        "TEXT = replace(DARTS, name='text', task='language')\n"
    )
    made = replace(config("random", "darts"), space=f"{tmp_path}/spaces.py:TEXT")
    with pytest.raises(InvalidInput, match=r"^dataset 'digits' of task 'classification' for space 'text': expected"):
        Search(made, device="cpu")


def test_sizes_are_the_spaces_own_unless_given():
    darts: CellSpace = registry.find("space", "darts")
    digits: Dataset = load_dataset("digits")
    made = SearchConfig(method="darts", space="darts", dataset="digits", settings=DARTS.Config())
    from nasray.trials.search_config import sizes

    search, evaluation = sizes(made, darts, digits)
    assert (search.channels, search.cells, search.input_shape, search.classes) == (16, 8, (1, 8, 8), 10)
    assert (evaluation.channels, evaluation.cells) == (36, 20)
    gold = SearchConfig(method="random", space="gold", dataset="digits", settings=Random.Config(cells=6))
    assert [s.cells for s in sizes(gold, registry.find("space", "gold"), digits)] == [6, 6]
