"""What runs eagerly loads no compiler, and an optimiser's step is the one that torch makes."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from nasray.networks.eager import step

PROGRAM = """
import sys
from nasray.methods.gold_nas import GoldNAS
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig

SIZE = dict(epochs=1, channels=2, cells=3, train_examples=64, batch_size=32, augmentation="standard")
settings = GoldNAS.Config(**SIZE, auxiliary_weight=0.0)
Search(SearchConfig(space="gold", method="gold_nas", dataset="digits", seed=0, settings=settings)).run_epoch()
print(*sorted({"torch._dynamo", "sympy", "sklearn", "optuna", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_a_trial_loads_neither_torchs_compiler_nor_what_it_has_no_use_for() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


class Counting(SGD):
    """A user's own."""

    steps = 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.steps += 1
        super().step(closure)


@pytest.mark.parametrize("kind", [SGD, Adam, Counting])
def test_a_step_is_the_optimisers_own(kind: type[Optimizer]) -> None:
    made: list[tuple[nn.Linear, Optimizer]] = []
    for _ in range(2):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        made.append((layer, kind(layer.parameters(), lr=0.1)))  # type: ignore[call-arg]
    for _ in range(3):
        for (layer, optimizer), own in zip(made, (False, True), strict=True):
            optimizer.zero_grad()
            layer(torch.ones(4, 3)).square().sum().backward()
            step(optimizer) if own else optimizer.step()
    (layer, _), (other, optimizer) = made
    assert torch.equal(layer.weight, other.weight)
    assert getattr(optimizer, "steps", 3) == 3


def test_what_is_hooked_to_a_step_is_called() -> None:
    optimizer, called = SGD(nn.Linear(3, 2).parameters(), lr=0.1), []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    step(optimizer)
    schedule = torch.optim.lr_scheduler.StepLR(SGD(nn.Linear(3, 2).parameters(), lr=0.1), 1)  # it replaces the step
    step(schedule.optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's, that nothing was stepped before the schedule
        schedule.step()
    assert called == ["before", "after"]
