"""NAS-Bench-201's space: its layout, and its costs against torch's counter, closed sums and published figures."""

from __future__ import annotations

import time
from itertools import accumulate, pairwise, product

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasray.cli import main
from nasray.costs import expected_macs, macs, params
from nasray.errors import InvalidInput
from nasray.gates import Gates, architecture_masks, binary_gates
from nasray.networks import supernet, target_network
from nasray.spaces import Architecture, NetworkSize, from_string
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201, OPERATIONS

CIFAR = NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=10)
IMAGENET16 = CIFAR.replace(input_shape=(3, 16, 16), classes=120)
FORM = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
DEAD = FORM.format("nor_conv_3x3", "none", "nor_conv_1x1", "nor_conv_3x3", "none", "none")
"""Its first and third operation lead nowhere."""


def cell(*operations: str) -> Architecture:
    return from_string(NAS_BENCH_201, FORM.format(*operations))


def random_cells(count: int, seed: int) -> list[Architecture]:
    generator = np.random.default_rng(seed)
    return [cell(*generator.choice(OPERATIONS, size=6)) for _ in range(count)]


def test_the_published_network_has_three_stages_of_five_cells() -> None:
    assert NAS_BENCH_201.layout(15) == ("normal",) * 15
    assert NAS_BENCH_201.fixed_reductions(15) == {5, 10}
    assert NAS_BENCH_201.widths(15) == (*[1] * 5, *[2] * 5, *[4] * 5)


def test_any_size_has_a_cell_in_every_stage() -> None:
    for cells in range(3, 40):
        widths = NAS_BENCH_201.widths(cells)
        assert len(widths) == cells
        per_stage = [widths.count(width) for width in (1, 2, 4)]
        assert sum(per_stage) == cells
        assert max(per_stage) - min(per_stage) <= 1
        assert NAS_BENCH_201.fixed_reductions(cells) == set(list(accumulate(per_stage))[:2])
        assert list(widths) == sorted(widths)
    with pytest.raises(InvalidInput, match=r"^2 cells for 'nas_bench_201': expected 3 and more$"):
        NAS_BENCH_201.layout(2)


@pytest.mark.parametrize(
    ("size", "published"),
    [
        # (least and most parameters, least and most FLOPs) in NAS-Bench-201-v1_1-096897, M.
        (CIFAR, (0.073306, 1.531546, 7.78305, 220.11969)),
        (CIFAR.replace(classes=100), (0.079156, 1.537396, 7.7889, 220.12554)),
        (IMAGENET16, (0.080456, 1.538696, 1.9534, 55.03756)),
    ],
    ids=["cifar10", "cifar100", "imagenet16-120"],
)
def test_the_smallest_and_the_largest_cost_what_was_published(size: NetworkSize, published: tuple[float, ...]) -> None:
    smallest, largest = cell(*["none"] * 6), cell(*["nor_conv_3x3"] * 6)
    assert params(NAS_BENCH_201, smallest, size) == pytest.approx(published[0], abs=1e-9)
    assert params(NAS_BENCH_201, largest, size) == pytest.approx(published[1], abs=1e-9)
    # The published counter takes the classifier's bias for multiply-adds, one a class; torch's does not.
    bias = size.classes / 1e6
    assert macs(NAS_BENCH_201, smallest, size) + bias == pytest.approx(published[2], abs=1e-9)
    assert macs(NAS_BENCH_201, largest, size) + bias == pytest.approx(published[3], abs=1e-9)


def check_with_torch(architecture: Architecture, size: NetworkSize) -> None:
    network = target_network(NAS_BENCH_201, architecture, size).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, *size.input_shape))
    assert macs(NAS_BENCH_201, architecture, size) * 1e6 == pytest.approx(counter.get_total_flops() / 2, abs=0.1)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert params(NAS_BENCH_201, architecture, size) * 1e6 == pytest.approx(counted, abs=0.1)


@pytest.mark.parametrize("size", [CIFAR, CIFAR.replace(channels=5, cells=4, input_shape=(1, 9, 13))], ids=str)
def test_costs_are_those_of_torchs_counter_on_the_built_network(size: NetworkSize) -> None:
    for architecture in [*random_cells(5, seed=1), from_string(NAS_BENCH_201, DEAD), cell(*["none"] * 6)]:
        check_with_torch(architecture, size)


@pytest.mark.slow
def test_costs_of_300_cells_are_those_of_torchs_counter_on_the_built_network() -> None:
    for architecture in random_cells(300, seed=2):
        check_with_torch(architecture, CIFAR)


def test_all_15625_cells_are_costed_exactly_within_seconds() -> None:
    architectures = [cell(*operations) for operations in product(OPERATIONS, repeat=6)]
    began = time.perf_counter()
    counted = [(macs(NAS_BENCH_201, a, CIFAR), params(NAS_BENCH_201, a, CIFAR)) for a in architectures]
    seconds = time.perf_counter() - began
    # By hand: the network without any operation, and what a convolution adds in five cells of each of three stages.
    widths = (16, 32, 64)
    positions = {16: 32 * 32, 32: 16 * 16, 64: 8 * 8}
    base_macs, base_params = 3 * 16 * 9 * positions[16] + 64 * 10, 3 * 16 * 9 + 2 * 16 + 2 * 64 + 64 * 10 + 10
    for c, d in pairwise(widths):
        weights = c * d * 9 + d * d * 9 + c * d
        base_macs += weights * positions[d]
        base_params += weights + 2 * 2 * d
    kernels = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
    macs_of = {o: sum(5 * k * c * c * positions[c] for c in widths) for o, k in kernels.items()}
    params_of = {o: sum(5 * (k * c * c + 2 * c) for c in widths) for o, k in kernels.items()}
    for operations, (cell_macs, cell_params) in zip(product(OPERATIONS, repeat=6), counted, strict=True):
        assert cell_macs * 1e6 == pytest.approx(base_macs + sum(macs_of.get(o, 0) for o in operations), abs=0.1)
        assert cell_params * 1e6 == pytest.approx(base_params + sum(params_of.get(o, 0) for o in operations), abs=0.1)
    assert seconds < 20


def test_an_operation_that_leads_nowhere_is_computed_and_paid_for() -> None:
    size = NetworkSize(channels=4, cells=3, input_shape=(3, 8, 8), classes=10)
    architecture = from_string(NAS_BENCH_201, DEAD)
    network = target_network(NAS_BENCH_201, architecture, size).eval()
    run: list[nn.Module] = []
    for one in network.cells:
        for operation in one.operations.values():
            operation.register_forward_hook(lambda module, *_: run.append(module))
    with torch.no_grad():
        network(torch.randn(2, 3, 8, 8))
    assert len(run) == len({id(module) for module in run}) == 3 * 3
    useful = from_string(NAS_BENCH_201, FORM.format("none", "none", "none", "nor_conv_3x3", "none", "none"))
    assert macs(NAS_BENCH_201, architecture, size) > macs(NAS_BENCH_201, useful, size)


def test_expected_macs_and_the_supernets_are_exact_at_gates_of_zero_and_one() -> None:
    size = NetworkSize(channels=4, cells=4, input_shape=(3, 9, 9), classes=10)
    with torch.device("meta"):
        network = supernet(NAS_BENCH_201, size).eval()
    for architecture in random_cells(6, seed=3):
        masks = architecture_masks(NAS_BENCH_201, architecture, 4)
        gates = [Gates(torch.from_numpy(mask).double(), mask) for mask in masks]
        exact = macs(NAS_BENCH_201, architecture, size)
        assert float(expected_macs(NAS_BENCH_201, gates, size)) == pytest.approx(exact, rel=1e-12)
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(torch.empty(1, 3, 9, 9, device="meta"), binary_gates(masks, "meta"))
        assert counter.get_total_flops() / 2e6 == pytest.approx(exact, rel=1e-9)


def test_the_command_line_takes_strings(capsys: pytest.CaptureFixture[str]) -> None:
    # The file door, which needs no installed entry point.
    from search_spaces.architectures import nas_bench_201

    space = f"{nas_bench_201.__file__}:NAS_BENCH_201"
    assert main(["cost", space, FORM.format(*["nor_conv_3x3"] * 6)]) == 0
    assert capsys.readouterr().out.startswith("1.5315 M parameters, 220.12 M multiply-adds (16 channels, 15 cells, ")
    for text, accepted in (
        ("|nor_conv_3x3~0|", "|OPERATION~0|+|OPERATION~0|OPERATION~1|+"),
        (FORM.format(*["nor_conv_5x5"] * 6), "none, skip_connect, nor_conv_1x1"),
        ("nope", "|OPERATION~0|+"),
    ):
        assert main(["cost", space, text]) == 2
        error = capsys.readouterr().err
        assert accepted in error
        assert error.count("\n") == 1
