from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray.errors import InvalidInput, NonFiniteLoss
from nasray.gates import binary_gates
from nasray.networks import Network, supernet, target_network
from nasray.settings import TrainingSettings
from nasray.spaces import NetworkSize, from_genotype
from nasray.training.dataset import load_dataset
from nasray.training.learner import NetworkLearner, learning_rate, recalibrate
from nasray.training.measure import peak_memory_bytes, pick_device, reset_peak_memory
from nasray.training.tasks import TASKS, task_of
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

SIZE = NetworkSize(channels=2, cells=3, input_shape=(1, 8, 8), classes=5)


def network(auxiliary: bool = False) -> Network:
    torch.manual_seed(0)
    architecture = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype)
    return target_network(DARTS, architecture, SIZE, auxiliary).double()


def learner(auxiliary: bool = False, **changes: Any) -> NetworkLearner:
    return NetworkLearner(network(auxiliary), TASKS["classification"], TrainingSettings(**changes))


def batches(count: int, size: int = 8) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 1, 8, 8, generator=generator).double(), torch.randint(0, 5, (size,), generator=generator))
        for _ in range(count)
    ]


def torchs_rates(make: Any, epochs: int, start: float) -> Iterator[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=start)
    scheduler = make(optimizer)
    for _ in range(epochs):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("start", "end", "epochs"), [(0.025, 0.001, 50), (0.025, 0.0, 600), (0.1, 0.0, 1)])
def test_the_cosine_is_torchs(start: float, end: float, epochs: int):
    settings = TrainingSettings(learning_rate=start, learning_rate_min=end, epochs=epochs)
    theirs = torchs_rates(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=epochs, eta_min=end), epochs, start
    )
    assert [learning_rate(settings, e, epochs) for e in range(epochs)] == pytest.approx(list(theirs), rel=1e-9)


def test_the_line_is_torchs_and_the_constant_constant():
    settings = TrainingSettings(learning_rate=0.5, learning_rate_min=0.1, epochs=40, schedule="linear")
    theirs = torchs_rates(
        lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1, end_factor=0.2, total_iters=40), 40, 0.5
    )
    assert [learning_rate(settings, e, settings.epochs) for e in range(40)] == pytest.approx(list(theirs), rel=1e-9)
    constant = replace(settings, schedule="constant")
    assert {learning_rate(constant, e, constant.epochs) for e in range(40)} == {0.5}


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_warm_up_rises_as_printed_and_the_rest_follows(schedule: str):
    # methods.md 0.5: lr * (e + 1) / 5 in the first five epochs.
    settings = TrainingSettings(learning_rate=0.5, learning_rate_min=0.0, epochs=30, schedule=schedule, warmup_epochs=5)
    assert [learning_rate(settings, e, settings.epochs) for e in range(5)] == pytest.approx(
        [0.5 * (e + 1) / 5 for e in range(5)]
    )
    shorter = replace(settings, epochs=25, warmup_epochs=0)
    assert [learning_rate(settings, e + 5, settings.epochs) for e in range(25)] == [
        learning_rate(shorter, e, shorter.epochs) for e in range(25)
    ]


def test_drop_path_rises_linearly():
    made = learner(epochs=600, drop_path=0.2)
    for epoch in (0, 1, 300, 599):
        made.start_epoch(epoch)
        assert made.network.drop_path == pytest.approx(0.2 * epoch / 600)


def test_a_step_is_that_of_torchs_sgd_with_clipping():
    made = learner(gradient_clip=0.5, weight_decay=0.01, learning_rate=0.1, epochs=4)
    theirs = copy.deepcopy(made.network)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, foreach=False)
    clipped = 0
    for epoch in range(2):
        made.start_epoch(epoch)
        theirs.train()
        optimizer.param_groups[0]["lr"] = 0.001 + 0.099 * (1 + np.cos(np.pi * epoch / 4)) / 2
        for x, y in batches(3):
            made.loss((x, y)).backward()
            made.update()
            optimizer.zero_grad()
            F.cross_entropy(theirs(x), y).backward()
            norm = torch.sqrt(sum((p.grad.square().sum() for p in theirs.parameters()), torch.zeros(())))
            if norm > 0.5:
                clipped += 1
                for p in theirs.parameters():
                    p.grad *= 0.5 / (norm + 1e-6)
            optimizer.step()
    assert clipped
    for mine, other in zip(made.network.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


def test_a_look_ahead_is_the_step_that_it_does_not_take():
    made = learner(gradient_clip=1e9, weight_decay=0.01, learning_rate=0.1)
    made.start_epoch(0)
    for batch in batches(2):  # so that there is momentum
        made.loss(batch).backward()
        made.update()
    before = [w.detach().clone() for w in made.weights]
    loss = made.loss(batches(3)[-1])
    gradients = torch.autograd.grad(loss, made.weights)
    ahead = made.lookahead(gradients)
    assert all(torch.equal(w, b) for w, b in zip(made.weights, before, strict=True))
    for weight, gradient in zip(made.weights, gradients, strict=True):
        weight.grad = gradient.clone()
    made.update()
    for weight, foreseen, old in zip(made.weights, ahead, before, strict=True):
        torch.testing.assert_close(weight.detach(), foreseen, rtol=1e-9, atol=1e-12)
        assert not torch.equal(weight.detach(), old)


def test_weights_of_absent_operations_stay_though_they_have_momentum():
    torch.manual_seed(0)
    made = NetworkLearner(supernet(GOLD, SIZE), TASKS["classification"], TrainingSettings())
    made.start_epoch(0)
    full = [np.ones((14, 2), dtype=bool) for _ in range(3)]
    thin = [np.array([[True, False]] * 14) for _ in range(3)]
    x, y = batches(1)[0]
    for masks in (full, thin):
        before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
        made.loss((x.float(), y), binary_gates(masks)).backward()
        made.update()
        for name, parameter in made.network.named_parameters():
            absent = masks is thin and "sep_conv" in name
            assert torch.equal(parameter, before[name]) == absent, name


@pytest.mark.parametrize(("smoothing", "weight"), [(0.0, 0.4), (0.1, 0.0), (0.1, 0.4)])
def test_the_loss_is_cross_entropy_smoothed_and_with_the_heads_share(smoothing: float, weight: float):
    made = learner(auxiliary=weight > 0, label_smoothing=smoothing, auxiliary_weight=weight)
    made.start_epoch(0)
    x, y = batches(1)[0]
    loss = made.loss((x, y))

    def slow(logits: Tensor) -> Tensor:
        target = torch.full((8, 5), smoothing / 5, dtype=torch.float64)
        target[torch.arange(8), y] += 1 - smoothing
        return -(target * (logits - logits.logsumexp(dim=1, keepdim=True))).sum(dim=1).mean()

    logits, side = made.network.forward_with_auxiliary(x)
    expected = slow(logits)
    if weight:
        assert side is not None
        expected = expected + weight * slow(side)
    torch.testing.assert_close(loss, expected)
    mean, accuracy = made.finish_epoch()
    assert mean == pytest.approx(float(slow(logits).detach()), rel=1e-6)
    assert accuracy == pytest.approx(float((logits.argmax(dim=1) == y).double().mean()))


def test_accuracy_is_a_fraction_of_all_examples_in_evaluation_mode():
    made = learner()
    parts = [*batches(2), (batches(1, 3)[0])]
    made.network.eval()
    with torch.no_grad():
        right = sum(int((made.network(x).argmax(dim=1) == y).sum()) for x, y in parts)
    made.network.train()
    buffers = [b.clone() for b in made.network.buffers()]
    assert made.accuracy(parts) == pytest.approx(right / 19)
    assert all(torch.equal(a, b) for a, b in zip(buffers, made.network.buffers(), strict=True))


def test_recalibration_averages_the_statistics_of_the_batches():
    made = network()
    parts = batches(4)
    norm = made.stem.layers[1]
    inputs: list[Tensor] = []
    handle = norm.register_forward_hook(lambda _m, x, _y: inputs.append(x[0].detach()))
    recalibrate(made, iter(parts), None)
    handle.remove()
    assert norm.momentum == 0.1
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean(dim=(0, 2, 3)) for x in inputs]).mean(dim=0))
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(dim=1) for x in inputs])
    torch.testing.assert_close(norm.running_var, variances.mean(dim=0))


def test_what_is_not_finite_ends_the_epoch():
    made = learner()
    made.start_epoch(0)
    x, y = batches(1)[0]
    made.loss((x * float("nan"), y))
    made.loss((x, y))
    with pytest.raises(NonFiniteLoss, match=r"^the training loss became nan at a learning rate of 0.025$"):
        made.finish_epoch()
    made.start_epoch(1)
    made.loss((x, y))
    made.finish_epoch()
    # The last step of an epoch: no loss has seen what it did.
    with torch.no_grad():
        made.weights[-1].fill_(float("inf"))
    with pytest.raises(NonFiniteLoss, match=r"outputs are not finite"):
        made.accuracy(batches(2))


def test_state_comes_back():
    made, other = learner(), learner()
    for batch in batches(2):
        made.loss(batch).backward()
        made.update()
    other.load_state_dict(copy.deepcopy(made.state_dict()))
    for each in (made, other):
        each.loss(batches(1)[0]).backward()
        each.update()
    assert all(torch.equal(a, b) for a, b in zip(made.weights, other.weights, strict=True))


def test_a_space_and_a_dataset_must_be_of_one_known_task():
    digits = load_dataset("digits")
    assert task_of(DARTS, digits) is TASKS["classification"]
    with pytest.raises(InvalidInput, match=r"^dataset 'digits' of task 'classification' for space 'darts': expected"):
        task_of(replace(DARTS, task="segmentation"), digits)
    with pytest.raises(InvalidInput, match=r"^task 'prophecy': expected one of classification"):
        task_of(replace(DARTS, task="prophecy"), replace(digits, task="prophecy"))


def test_devices_that_nasray_does_not_run_on():
    assert pick_device("cpu").type == "cpu"
    absent = [] if torch.cuda.is_available() else ["cuda", "cuda:1"]
    # On the meta device nothing would be computed, and nothing is measured on those that nasray does not know.
    for name in ("tpu9", "", "meta", "mps", "xpu:0", "cuda:99", "cpu:1", *absent):
        with pytest.raises(InvalidInput, match=rf"^device '{name}': nasray runs on .*; give auto, cpu"):
            pick_device(name)


def test_peak_memory_sees_an_allocation_and_forgets_it():
    device = torch.device("cpu")
    reset_peak_memory(device)
    before = peak_memory_bytes(device)
    size = 200_000_000
    block = torch.ones(size // 8, dtype=torch.float64)
    assert peak_memory_bytes(device) > before + 0.9 * block.nbytes
    del block
    reset_peak_memory(device)
    assert peak_memory_bytes(device) < before + 0.5 * size
