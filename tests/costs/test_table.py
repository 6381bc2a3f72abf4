from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasray.costs import cost_table, expected_macs, macs, params
from nasray.errors import InvalidInput
from nasray.gates import Gates, architecture_of, binary_gates, candidate_mask
from nasray.networks import supernet, target_network
from nasray.networks.skeletons import SKELETONS, CifarStem
from nasray.spaces import Architecture, CellGraph, CellSpace, NetworkSize, Normalisation, from_genotype
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

CIFAR = NetworkSize(channels=36, cells=20, input_shape=(3, 32, 32), classes=10)
IMAGENET = NetworkSize(channels=48, cells=14, input_shape=(3, 224, 224), classes=1000, skeleton="imagenet")

# Recounted from the cells by hand-written sums, and equal to the printed parameters to all their digits; M.
PUBLISHED = [
    (DARTS, "DARTS_V1", CIFAR, 3.1694, 500.99),
    (DARTS, "DARTS_V2", CIFAR, 3.3493, 528.36),
    (DARTS, "PC_DARTS_cifar", CIFAR, 3.6347, 556.67),
    (DARTS, "PC_DARTS_image", CIFAR, 3.7215, 570.47),
    (GOLD, "GOLD_s1", CIFAR.replace(cells=14), 3.442, 504.64),
    (DARTS, "DARTS_V1", IMAGENET, 4.5104, 505.86),
    (DARTS, "DARTS_V2", IMAGENET, 4.7188, 529.91),
    (DARTS, "PC_DARTS_cifar", IMAGENET, 5.2706, 571.14),
    (DARTS, "PC_DARTS_image", IMAGENET, 5.3425, 581.63),
]


@pytest.mark.parametrize(("space", "name", "size", "params_M", "macs_M"), PUBLISHED)
def test_published_cells_cost_what_was_published(
    space: CellSpace, name: str, size: NetworkSize, params_M: float, macs_M: float
):
    architecture = from_genotype(space, space.references[name].genotype)
    assert params(space, architecture, size) == pytest.approx(params_M, abs=5.1e-5)
    assert macs(space, architecture, size) == pytest.approx(macs_M, abs=5.1e-3)


def test_the_figures_printed_in_papers_follow():
    printed = {
        name: reference.published["cifar10"]["params_M"]
        for name, reference in DARTS.references.items()
        if "cifar10" in reference.published
    }
    assert {"DARTS_V2", "PC_DARTS_cifar"} <= set(printed)
    for name in ("DARTS_V2", "PC_DARTS_cifar"):
        architecture = from_genotype(DARTS, DARTS.references[name].genotype)
        assert round(params(DARTS, architecture, CIFAR), 1) == printed[name]


def test_gold_costs_are_those_of_its_code():
    size = CIFAR.replace(cells=14)
    table = cost_table(GOLD, size)
    everything = [candidate_mask(GOLD.cells[kind]) for kind in GOLD.kinds(14)]
    # methods.md 3.3 and 3.5: stem, preprocessing and classifier; and the full supernet.
    assert table.base_macs / 1e6 == pytest.approx(163.6, abs=0.05)
    assert table.macs(everything) == pytest.approx(777, abs=0.5)
    assert table.params(everything) == pytest.approx(5.22, abs=0.005)


SIZES = [
    NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10),
    NetworkSize(channels=5, cells=4, input_shape=(1, 28, 28), classes=7),
    NetworkSize(channels=6, cells=5, input_shape=(3, 9, 9), classes=10),
    NetworkSize(channels=3, cells=6, input_shape=(2, 13, 10), classes=3),
    NetworkSize(channels=1, cells=3, input_shape=(1, 1, 1), classes=2),
    NetworkSize(channels=16, cells=5, input_shape=(3, 32, 32), classes=100),
    NetworkSize(channels=8, cells=6, input_shape=(3, 224, 224), classes=1000, skeleton="imagenet"),
    NetworkSize(channels=7, cells=4, input_shape=(3, 65, 97), classes=5, skeleton="imagenet"),
]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s.skeleton}-{s.channels}x{s.cells}-{s.input_shape}")
@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_exact_costs_are_those_of_torchs_counter_on_the_built_network(
    space: CellSpace, size: NetworkSize, random_masks: Any
):
    generator = np.random.default_rng(size.channels)
    for _ in range(2 if size.cells < 4 else 1):
        masks = random_masks(space, size.cells, generator)
        architecture = architecture_of(space, masks)
        with torch.device("meta"):
            # The head is built and not counted: it does not run at inference.
            network = target_network(space, architecture, size, auxiliary=True).eval()
            counter = FlopCounterMode(display=False)
            with counter, torch.no_grad():
                network(torch.empty(1, *size.input_shape))
        assert macs(space, architecture, size) * 1e6 == pytest.approx(counter.get_total_flops() / 2, abs=0.1)
        counted = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("auxiliary"))
        assert params(space, architecture, size) * 1e6 == pytest.approx(counted, abs=0.1)


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_a_supernet_runs_what_its_gates_cost(space: CellSpace, random_masks: Any):
    # The counter sees what is executed: a gate of zero is not.
    size = NetworkSize(channels=4, cells=4, input_shape=(3, 9, 9), classes=10)
    generator = np.random.default_rng(1)
    with torch.device("meta"):
        network = supernet(space, size).eval()
    for _ in range(3):
        masks = random_masks(space, 4, generator)
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(torch.empty(1, 3, 9, 9, device="meta"), binary_gates(masks, "meta"))
        expected = expected_macs(space, binary_gates(masks), size)
        assert float(expected) * 1e6 == pytest.approx(counter.get_total_flops() / 2, rel=1e-6)


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_expected_macs_equal_exact_macs_at_gates_of_zero_and_one(space: CellSpace, random_masks: Any):
    generator = np.random.default_rng(0)
    for trial in range(60):
        size = SIZES[trial % len(SIZES)]
        masks = random_masks(space, size.cells, generator)
        gates = [Gates(torch.from_numpy(mask).double(), mask) for mask in masks]
        expected = float(expected_macs(space, gates, size))
        assert expected == pytest.approx(macs(space, architecture_of(space, masks), size), rel=1e-12)


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_the_gradient_of_expected_macs_is_what_one_operation_more_costs(space: CellSpace, random_masks: Any):
    generator = np.random.default_rng(2)
    size = NetworkSize(channels=5, cells=4, input_shape=(1, 28, 28), classes=10)
    cells = dict.fromkeys(space.layout(4))
    masks = random_masks(space, 4, generator)
    masks[0][:] = candidate_mask(space.graph(space.layout(4)[0]))
    masks[0][:, -1] = False
    masks[0][:, 1] = True
    values = {
        name: torch.from_numpy(m).double().requires_grad_() for name, m in zip(space.layout(4), masks, strict=True)
    }
    gates = [Gates(values[name], mask) for name, mask in zip(space.layout(4), masks, strict=True)]
    expected_macs(space, gates, size).backward()
    before = macs(space, architecture_of(space, masks), size)
    for name in cells:
        position = space.layout(4).index(name)
        gradient = values[name].grad
        assert gradient is not None
        absent = np.argwhere(~masks[position] & candidate_mask(space.graph(name)))
        for edge, operation in generator.permutation(absent)[:6]:
            more = dict(zip(space.layout(4), [m.copy() for m in masks], strict=True))
            more[name][edge, operation] = True
            after = macs(space, architecture_of(space, [more[n] for n in space.layout(4)]), size)
            assert gradient[edge, operation] == pytest.approx(after - before, abs=1e-9)
        none = space.graph(name).none
        if none is not None:
            assert not gradient[:, space.graph(name).operation_index[none]].any()


def test_soft_gates_cost_the_weighted_sum(random_masks: Any):
    size = SIZES[0]
    table = cost_table(GOLD, size)
    values = [torch.rand(14, 2, dtype=torch.float64) for _ in range(3)]
    gates = [Gates(v, np.ones((14, 2), dtype=bool)) for v in values]
    slow = table.base_macs / 1e6
    for value, macs_EO in zip(values, table.macs_EO, strict=True):
        for edge in range(14):
            for operation in range(2):
                slow += float(value[edge, operation]) * int(macs_EO[edge, operation]) / 1e6
    assert float(expected_macs(GOLD, gates, size)) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize(
    ("space", "size", "largest"),
    # All candidates in GOLD's code (methods.md 3.5), and a 3x3 convolution on every edge in NAS-Bench-201's table.
    [(GOLD, CIFAR.replace(cells=14), 777.0), (NAS_BENCH_201, CIFAR.replace(channels=16, cells=15), 220.12)],
    ids=["gold", "nas_bench_201"],
)
def test_the_dearest_architecture(space: CellSpace, size: NetworkSize, largest: float, random_masks: Any):
    table = cost_table(space, size)
    assert table.largest_macs == pytest.approx(largest, abs=0.5)
    generator = np.random.default_rng(0)
    assert max(table.macs(random_masks(space, size.cells, generator)) for _ in range(200)) <= table.largest_macs


def test_another_number_of_cells_than_an_architecture_of_positions_has():
    architecture = from_genotype(GOLD, GOLD.references["GOLD_s1"].genotype)
    with pytest.raises(InvalidInput, match=r"^20 cells for an architecture of 14 cell positions: expected 14$"):
        macs(GOLD, architecture, CIFAR)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skeleton": "resnet"}, r"skeleton 'resnet': expected one of auto, cifar, imagenet"),
        ({"input_shape": (32, 32)}, r"input shape \(32, 32\) .*expected \(channels, height, width\)"),
    ],
)
def test_sizes_that_no_skeleton_has(change: dict[str, Any], message: str):
    architecture = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype)
    with pytest.raises(InvalidInput, match=message):
        macs(DARTS, architecture, CIFAR.replace(**change))


def test_tables_of_spaces_with_one_name_are_kept_apart():
    other = replace(DARTS, evaluation_normalisation=replace(DARTS.evaluation_normalisation, affine=False))
    architecture = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype)
    size = SIZES[0]
    norms: Sequence[nn.Module] = [
        m for m in target_network(DARTS, architecture, size).cells.modules() if isinstance(m, nn.BatchNorm2d)
    ]
    affine = sum(p.numel() for norm in norms for p in norm.parameters())
    assert (params(DARTS, architecture, size) - params(other, architecture, size)) * 1e6 == pytest.approx(affine)


OWN_OPERATIONS = """
import torch
import torch.nn.functional as F
from torch import nn
from nasray.networks.operations import Operation


class Own(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.stride = stride

    def forward(self, x):
        return F.conv2d(x, self.weight, stride=self.stride, padding=1)


class Mixed(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.stride = stride

    def forward(self, x):
        return torch.einsum("nchw,cd->ndhw", x, self.weight)[:, :, :: self.stride, :: self.stride]


def conv(channels, stride, normalisation):
    return Operation.of(Own(channels, stride), activated=True)


def mixed(channels, stride, normalisation):
    return Operation.of(Mixed(channels, stride))


def narrow(channels, stride, normalisation):
    return Operation.of(nn.AdaptiveAvgPool2d(1))
"""


def own_space(file: Path, *names: str) -> CellSpace:
    """Of one node, which both inputs enter, with the operations of a user's file."""
    file.write_text(OWN_OPERATIONS)
    operations = tuple(f"{file}:{name}" for name in names)
    cells = {
        kind: CellGraph(inputs=2, nodes=1, operations=operations, stride=stride)
        for kind, stride in (("normal", 1), ("reduce", 2))
    }
    plain = Normalisation(affine=True, after_pool=False, after_identity=False)
    return CellSpace(
        name="own", cells=cells, search_channels=4, search_cells=3, evaluation_channels=4, evaluation_cells=3,
        search_normalisation=plain, evaluation_normalisation=plain,
    )  # fmt: skip


def test_operations_of_a_users_are_counted_whatever_code_they_are(tmp_path: Path, random_masks: Any):
    space, size = own_space(tmp_path / "mine.py", "conv", "mixed"), SIZES[0]
    conv = f"{tmp_path}/mine.py:conv"
    both = Architecture.of(space, {name: [(0, 2, conv), (1, 2, conv)] for name in space.cells})
    # Six 3x3 convolutions of 4, 8 and 8 channels, onto 8x8, 4x4 (reductions stand at 1 and 2) and 2x2 pixels of 8 and
    # 16 channels, among the rest; the figure is that of torch's counter.
    assert macs(space, both, size) * 1e6 == pytest.approx(79_776)
    generator = np.random.default_rng(0)
    for _ in range(3):
        masks = random_masks(space, size.cells, generator)
        with torch.device("meta"):
            network = target_network(space, architecture_of(space, masks), size).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, *size.input_shape, device="meta"))
        gates = [Gates(torch.from_numpy(mask).double(), mask) for mask in masks]
        exact = macs(space, architecture_of(space, masks), size)
        assert exact * 1e6 == pytest.approx(counter.get_total_flops() / 2)
        assert float(expected_macs(space, gates, size)) == pytest.approx(exact, rel=1e-12)


def test_what_surrounds_the_cells_is_counted_too(monkeypatch: pytest.MonkeyPatch):
    class Patches(CifarStem):
        def forward(self, x_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            conv = self.layers[0]
            x = F.conv2d(x_NCHW, conv.weight, padding=1)
            return x, x

    architecture = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype)
    published = macs(DARTS, architecture, SIZES[0])
    monkeypatch.setitem(SKELETONS, "patches", replace(SKELETONS["cifar"], stem=Patches))
    assert macs(DARTS, architecture, SIZES[0].replace(skeleton="patches")) == published


def test_an_operation_that_gives_another_shape_is_refused(tmp_path: Path):
    space = own_space(tmp_path / "mine.py", "narrow")
    with pytest.raises(
        InvalidInput,
        match=r"narrow' with stride 1 gives shape \(1, 4, 1, 1\) for an input of shape \(1, 4, 8, 8\): it must give",
    ):
        cost_table(space, SIZES[0])
