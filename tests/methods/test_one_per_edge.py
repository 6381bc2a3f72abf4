"""What methods derive where every edge takes one operation: against strings read off their parameters by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from nasray.errors import InvalidInput
from nasray.gates import strongest_on_edges
from nasray.methods import Problem
from nasray.methods.darts import DARTS
from nasray.methods.data_egs import DataEGS
from nasray.methods.dso_nas import DSONAS
from nasray.methods.entrannas import EnTranNAS, EnTranNASDST
from nasray.methods.gold_nas import GoldNAS
from nasray.methods.ista_nas import ISTANAS
from nasray.methods.ista_nas_one_stage import ISTANASOneStage
from nasray.methods.pc_darts import PCDARTS
from nasray.methods.random import Random, random_mask
from nasray.spaces import Architecture, CellGraph, NetworkSize, to_string
from search_spaces.architectures.nas_bench_201 import CELL, NAS_BENCH_201, OPERATIONS

SIZE = NetworkSize(channels=4, cells=3, input_shape=(1, 8, 8), classes=10)
EVALUATION = NetworkSize(channels=16, cells=15, input_shape=(3, 32, 32), classes=10)
PROBLEM = Problem(NAS_BENCH_201, SIZE, EVALUATION, 0)
# The field's order: node by node, then source by source.
FORM = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"


def string(architecture: Architecture) -> str:
    return to_string(NAS_BENCH_201, architecture)


def strongest(numbers_EO: np.ndarray) -> str:
    """The string of the largest number of each edge, ``none`` among them."""
    return FORM.format(*(max(zip(row, OPERATIONS, strict=True))[1] for row in numbers_EO.tolist()))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (DARTS, {}),
        (DARTS, {"edges_per_node": 1}),
        (PCDARTS, {}),
        (EnTranNAS, {}),
        (DataEGS, {"probabilities": "softmax"}),
        (DataEGS, {"samples": 1, "scope": "node"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_softmax_methods_derive_the_largest_parameter_of_every_edge(method: Any, settings: dict[str, Any]) -> None:
    made = method(method.Config(**settings), PROBLEM)
    (name,) = made.alphas
    nones = 0
    for seed in range(20):
        with torch.no_grad():
            made.alphas[name].copy_(torch.rand((6, 5), generator=torch.Generator().manual_seed(seed)) + 0.1)
        expected = strongest(made.alphas[name].detach().numpy())
        assert string(made.architecture()) == expected
        nones += expected.count("none")
    assert nones > 10


def test_transit_cells_hold_what_is_derived() -> None:
    made = EnTranNAS(EnTranNAS.Config(engine_cells="2"), PROBLEM)
    with torch.no_grad():
        made.alphas["normal"].copy_(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)))
    first, _, engine = made.gates()
    chosen = {(*CELL.edges[e], OPERATIONS[o]) for e, o in np.argwhere(first.active_EO)}
    assert chosen == set(made.architecture().cells["normal"])
    assert engine.active_EO.sum() == 6 * 4


def test_thresholds_keep_the_strongest_of_an_edges_operations_above_them() -> None:
    made = EnTranNASDST(EnTranNASDST.Config(engine_cells="2"), PROBLEM)
    kept: Counter[int] = Counter()
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            made.alphas["normal"].copy_(torch.randn((6, 5), generator=generator))
            made.betas["normal"].copy_(torch.randn(3, generator=generator))
        p = torch.softmax(made.alphas["normal"].detach().double(), dim=1).numpy()
        t = torch.sigmoid(made.betas["normal"].detach().double()).numpy()
        choices = []
        for node, edges in enumerate([[0], [1, 2], [3, 4, 5]]):
            largest = p[edges, 1:].max()
            for edge in edges:
                best = int(p[edge, 1:].argmax()) + 1
                if p[edge, best] / largest > t[node]:
                    choices.append((*CELL.edges[edge], OPERATIONS[best]))
        assert made.architecture() == Architecture.of(NAS_BENCH_201, {"normal": choices})
        transit, _, engine = made.gates()
        assert {(*CELL.edges[e], OPERATIONS[o]) for e, o in np.argwhere(transit.active_EO)} == set(choices)
        assert not (transit.active_EO & ~engine.active_EO).any()
        kept[len(choices)] += 1
    assert len(kept) > 2


def test_gold_keeps_the_strongest_of_what_is_not_pruned() -> None:
    made = GoldNAS(GoldNAS.Config(stop_macs=50.0), PROBLEM)
    generator = np.random.default_rng(0)
    for _ in range(20):
        alpha, kept = generator.normal(size=(6, 5)), generator.random((6, 5)) < 0.4
        kept[:, 0] = False
        with torch.no_grad():
            made.alpha_CEO.copy_(torch.from_numpy(alpha)[None])
        made._kept = kept[None]
        assert string(made.architecture()) == strongest(with_none(alpha, kept))


def with_none(alpha: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """``none`` weakest of all, but stronger than what is pruned."""
    numbers = np.where(kept, alpha, -np.inf)
    numbers[:, 0] = -1e9
    return numbers


def test_gold_compares_its_limit_with_the_largest_architecture_at_the_evaluation_size() -> None:
    # 220.12 M: one 3x3 convolution on every edge. With all candidates of every edge it would be more.
    with pytest.raises(InvalidInput, match=r"^stop_macs 240: expected a value below 220\.1 M"):
        GoldNAS(GoldNAS.Config(stop_macs=240.0), PROBLEM)
    assert GoldNAS(GoldNAS.Config(), PROBLEM)._stop_macs == pytest.approx(220.12 * 240 / 777.03, rel=1e-4)
    assert GoldNAS(GoldNAS.Config(), replace(PROBLEM, budget=30.0))._stop_macs == 30.0
    made = GoldNAS(GoldNAS.Config(stop_macs=100.0), PROBLEM)
    with torch.no_grad():
        made.alpha_CEO[0, :, OPERATIONS.index("nor_conv_3x3")] = 1.0
    assert string(made.architecture()) == FORM.format(*["nor_conv_3x3"] * 6)
    assert not made.end_epoch(0).finished
    with torch.no_grad():
        made.alpha_CEO[0, :, OPERATIONS.index("nor_conv_1x1")] = 2.0
    assert made.end_epoch(1).finished


@pytest.mark.parametrize("sparsity", [1, 2, 3, 7])
@pytest.mark.parametrize("method", [ISTANAS, ISTANASOneStage])
def test_sparse_codes_select_one_operation_of_an_edge(method: Any, sparsity: int) -> None:
    made = method(method.Config(sparsity=sparsity), PROBLEM)
    clashes = 0
    for seed in range(15):
        with torch.no_grad():
            for number, b in enumerate(made.coding.b):
                b.copy_(torch.randn(7, generator=torch.Generator().manual_seed(3 * seed + number)))
        made.coding.adopt(*made.coding.recover())
        size = made.coding.of_cells(made.coding.z_JN)["normal"].abs().numpy()
        expected = []
        for node, edges in enumerate([[0], [1, 2], [3, 4, 5]]):
            entries = sorted(((size[node, e, o], e, o) for e in edges for o in range(5)), reverse=True)
            taken: dict[int, int] = {}
            for value, edge, operation in entries:
                clashes += value > 0 and edge in taken and len(taken) < sparsity
                if value > 0 and edge not in taken and len(taken) < sparsity:
                    taken[edge] = operation
            expected += [(*CELL.edges[e], OPERATIONS[o]) for e, o in taken.items()]
        assert made.architecture() == Architecture.of(NAS_BENCH_201, {"normal": expected})
        assert made.gates()[0].active_EO.sum() == len(expected)
    assert clashes or sparsity == 1


def test_random_architectures_are_equally_likely() -> None:
    graph = CellGraph(inputs=1, nodes=2, operations=("none", "a", "b"), none="none", one_per_edge=True, output="sum")
    generator = np.random.default_rng(0)
    counts = Counter(random_mask(graph, 2, generator).tobytes() for _ in range(5400))
    assert len(counts) == 27
    assert chisquare(list(counts.values())).pvalue > 1e-3
    problems = [Problem(NAS_BENCH_201, SIZE, SIZE, seed) for seed in range(50)]
    assert len({Random(Random.Config(), problem).architecture().id for problem in problems}) > 45


def test_without_none_every_edge_gets_an_operation() -> None:
    graph = CellGraph(inputs=1, nodes=2, operations=("a", "b"), one_per_edge=True, output="sum")
    assert strongest_on_edges(graph, np.array([[1, 2], [4, 3], [0, -1]])).tolist() == [
        [False, True],
        [True, False],
        [True, False],
    ]


def test_only_the_method_of_blocks_refuses_the_space() -> None:
    assert "operations are on edges" in str(DSONAS.unsupported(NAS_BENCH_201))
    for method in (DARTS, PCDARTS, EnTranNAS, EnTranNASDST, DataEGS, GoldNAS, ISTANAS, ISTANASOneStage, Random):
        assert method.unsupported(NAS_BENCH_201) is None
