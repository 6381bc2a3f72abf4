"""Steps that are replayed: the same as made one by one, and what a record of them would miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nasray import registry
from nasray.methods import Problem, SearchMethod
from nasray.methods.random import Random
from nasray.networks import Batch, supernet
from nasray.spaces import NetworkSize, from_genotype
from nasray.training import replay
from nasray.training.learner import NetworkLearner
from nasray.training.replay import Replay
from nasray.training.tasks import TASKS
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig, find_method

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
REPLAYED = ["darts", "darts second_order", "pc_darts", "gold_nas", "ista_nas", "ista_nas_one_stage", "random"]


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """As a GPU's: nothing of Python is done again, which here is all that there is. So it is done again."""
    return work


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "captured", captured)


def batches(count: int, of: int = 4) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(of, 1, 8, 8, generator=generator), torch.randint(10, (of,), generator=generator))
        for _ in range(count)
    ]


def test_the_first_is_made_the_second_captured_the_others_replayed(as_on_a_gpu: None) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    given = batches(4)
    steps = Replay(lambda batch, other: seen.append((batch[0], batch[0].clone())), enabled=True)
    for batch in given:
        steps(batch, None)
    assert seen[0][0] is given[0][0]
    assert len({held.data_ptr() for held, _ in seen[1:]}) == 1
    assert all(torch.equal(x, batch[0]) for (_, x), batch in zip(seen, given, strict=True))


def test_a_batch_of_another_size_is_made_as_it_is(as_on_a_gpu: None) -> None:
    sizes: list[tuple[int, bool]] = []
    given = [*batches(3), *batches(1, of=2), *batches(2)]
    steps = Replay(lambda batch: sizes.append((len(batch[0]), any(batch[0] is one[0] for one in given))), enabled=True)
    for batch in given:
        steps(batch)
    assert sizes == [(4, True), (4, False), (4, False), (2, True), (4, True), (4, False)]


def test_switched_off_every_step_is_made_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "captured", None)
    given, seen = batches(3), []
    steps = Replay(seen.append, enabled=False)
    for batch in given:
        steps(batch)
    assert [id(one) for one in seen] == [id(one) for one in given]


def made(name: str, device: str = "cpu") -> tuple[SearchMethod, NetworkLearner]:
    """A method half way through a search, behind its warm-ups and with a penalty."""
    torch.manual_seed(0)
    name, _, second = name.partition(" ")
    kind = find_method(name)
    config = kind.Config(channels=4, cells=3, **({"second_order": True} if second else {}))
    space = registry.find("space", "darts")
    method = kind(config, Problem(space, SIZE, SIZE, seed=0))
    network = supernet(space, SIZE, needs=method.needs)
    learner = NetworkLearner(network.to(device), TASKS["classification"], config)
    epoch = config.epochs // 2
    method.start_epoch(epoch - 1)
    method.end_epoch(epoch - 1)
    method.to(device)
    learner.start_epoch(*method.schedule_epoch(epoch))
    method.start_epoch(epoch)
    return method, learner


@pytest.mark.parametrize("name", REPLAYED)
def test_a_step_waits_for_no_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device there are no numbers: what asks for one fails."""
    sgd = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda *a, fused=False, **k: sgd(*a, **k))  # fused it is not on this device
    method, learner = made(name, "meta")
    assert method.replayable
    batch = torch.empty(4, 1, 8, 8, device="meta"), torch.empty(4, dtype=torch.int64, device="meta")
    for _ in range(2):
        method.step(learner, batch, batch)


def plain(module: torch.nn.Module) -> str:
    return repr(
        {name: one for name, one in vars(module).items() if name not in ("_parameters", "_buffers", "optimizer")}
    )


@pytest.mark.parametrize("name", REPLAYED)
def test_a_step_changes_tensors_alone(name: str) -> None:
    """What Python keeps would not change as steps are replayed."""
    method, learner = made(name)
    one, other = batches(2)
    method.step(learner, one, other)
    before = [plain(module) for module in (*method.modules(), *learner.network.modules())]
    method.step(learner, other, one)
    assert [plain(module) for module in (*method.modules(), *learner.network.modules())] == before


def test_a_method_with_steps_of_its_own_is_not_replayed() -> None:
    class Counting(Random):
        def step(self, learner: Any, batch: Batch, architecture_batch: Batch | None) -> None:
            super().step(learner, batch, architecture_batch)

    class Named(Random):
        pass

    assert not Counting.replayable
    assert Named.replayable


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["darts", "pc_darts", "gold_nas", "ista_nas", "ista_nas_one_stage", "random"])
def test_replayed_searches_are_those_that_are_not(name: str) -> None:
    found = []
    for cuda_graphs in (True, False):
        kind = find_method(name)
        settings = kind.Config(
            channels=4, cells=3, epochs=3, train_examples=256, device="cuda", cuda_graphs=cuda_graphs
        )
        search = Search(SearchConfig(method=name, space="darts", dataset="digits", settings=settings))
        epochs = [search.run_epoch().metrics for _ in range(3)]
        found.append([one["loss"] for one in epochs] + [float(p.abs().sum()) for p in search.method.parameters()])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_replayed_training_is_one_that_is_not() -> None:
    found = []
    space = registry.find("space", "darts")
    architecture = from_genotype(space, space.references["DARTS_V2"].genotype)
    for cuda_graphs in (True, False):
        settings = EvaluationSettings(
            channels=4, cells=3, epochs=3, train_examples=256, drop_path=0.3, cuda_graphs=cuda_graphs
        )
        config = EvaluationConfig(space="darts", dataset="digits", settings=settings, architecture=architecture)
        evaluation = Evaluation(config, device="cuda")
        found.append([evaluation.run_epoch()["loss"] for _ in range(3)])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
