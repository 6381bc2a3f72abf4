"""Architectures as categorical parameters and back, on every space."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.methods.random import random_mask
from nasray.spaces import Architecture, CellGraph, CellSpace, from_genotype, live, to_string
from nasray.spaces.encoding import decode, encode, mutate, parameters, sample
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.dso import DSO, DSO_FULL, DSO_IMAGENET
from search_spaces.architectures.gold import GOLD
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201, OPERATIONS

CELLS = {"darts": 8, "gold": 5, "dso": 26, "dso_full": 5, "dso_imagenet": 26, "nas_bench_201": 15}
SPACES = [DARTS, GOLD, DSO, DSO_FULL, DSO_IMAGENET, NAS_BENCH_201]
spaces = pytest.mark.parametrize("space", SPACES, ids=[space.name for space in SPACES])


@st.composite
def values_of(draw: Any, space: CellSpace) -> dict[str, Any]:
    # One number for all parameters, so that hypothesis need not draw thousands of them.
    known = parameters(space, CELLS[space.name])
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    thin = draw(st.sampled_from([0.02, 0.3, 0.9]))
    return {
        name: bool(generator.random() < thin) if accepted == (False, True) else str(generator.choice(accepted))
        for name, accepted in known.items()
    }


@spaces
@given(data=st.data())
def test_any_values_decode_to_an_architecture_that_encodes_and_decodes_to_itself(
    space: CellSpace, data: st.DataObject
) -> None:
    values = data.draw(values_of(space))
    architecture = decode(space, values, CELLS[space.name])  # Architecture.of has checked it
    again = encode(space, architecture)
    assert decode(space, again, CELLS[space.name]) == architecture
    assert encode(space, Architecture.from_json(space, architecture.to_json())) == again
    if space in (DARTS, NAS_BENCH_201):
        assert again == values  # one set of values for each architecture


@spaces
@given(seed=st.integers(0, 2**32), operations=st.integers(1, 5))
def test_architectures_that_were_drawn_otherwise_come_back(space: CellSpace, seed: int, operations: int) -> None:
    generator = np.random.default_rng(seed)
    operations = space.cells["normal"].edges_per_node or operations
    cells = {}
    for name in dict.fromkeys(space.layout(CELLS[space.name])):
        graph = space.graph(name)
        mask = random_mask(graph, operations, generator)
        cells[name] = [(*graph.edges[e], graph.operations[o]) for e, o in np.argwhere(mask)]
    architecture = Architecture.of(space, cells)
    assert decode(space, encode(space, architecture), CELLS[space.name]) == architecture


def test_a_block_keeps_what_lies_on_a_path() -> None:
    # Against live(), which Architecture.of demands, and on the very values: 1 reaches the output, 2 does not.
    values: dict[str, Any] = dict.fromkeys(parameters(DSO, 26), False)
    values |= {"normal.0-1": True, "normal.1-17": True, "normal.0-2": True, "normal.3-17": True}
    cells = decode(DSO, values, 26).cells
    assert cells["normal"] == ((0, 1, "connect"), (1, 17, "connect"))
    assert cells["reduce_1"] == ((0, 1, "connect"), (1, 3, "connect"))  # something must leave it
    mask = np.ones((len(DSO.cells["normal"].edges), 1), dtype=bool)
    full = decode(DSO, dict.fromkeys(parameters(DSO, 26), True), 26)
    assert len(full.cells["normal"]) == live(DSO.cells["normal"], mask).sum() == mask.sum()


def test_a_node_that_must_receive_something_does() -> None:
    architecture = decode(GOLD, dict.fromkeys(parameters(GOLD, 3), False), 3)
    assert architecture.cells["normal_0"] == tuple((0, node, "skip_connect") for node in (2, 3, 4, 5))


def test_as_many_architectures_as_were_published() -> None:
    def sets_of_values(space: CellSpace, num_cells: int) -> int:
        return math.prod(len(accepted) for accepted in parameters(space, num_cells).values())

    assert sets_of_values(NAS_BENCH_201, 15) == 15_625
    assert sets_of_values(DARTS, 8) == (1 * 3 * 6 * 10 * 7**8) ** 2
    # GOLD-NAS: 10^117.5 of 14 cells, in which every node receives something.
    valid = math.prod(2 ** (2 * edges) - 1 for edges in (2, 3, 4, 5)) ** 14
    assert sets_of_values(GOLD, 14) == 2 ** (2 * 14 * 14) > valid
    assert math.log10(valid) == pytest.approx(117.5, abs=0.1)


def test_all_cells_of_nas_bench_201_have_their_own_string() -> None:
    names = list(parameters(NAS_BENCH_201, 15))
    strings = {
        to_string(NAS_BENCH_201, decode(NAS_BENCH_201, dict(zip(names, operations, strict=True)), 15))
        for operations in product(OPERATIONS, repeat=6)
    }
    assert len(strings) == 15_625


def test_published_architectures_of_darts_can_be_proposed() -> None:
    for reference in DARTS.references.values():
        architecture = from_genotype(DARTS, reference.genotype)
        try:
            values = encode(DARTS, architecture)
        except InvalidInput:  # DATA and EnTranNAS-DST publish others
            degrees = [sum(t == node for _, t, _ in c) for c in architecture.cells.values() for node in range(2, 6)]
            edges = [len({c[:2] for c in cell}) for cell in architecture.cells.values()]
            assert set(degrees) != {2} or min(edges) < 8
        else:
            assert decode(DARTS, values, 8) == architecture


@spaces
def test_a_mutation_changes_one_value(space: CellSpace) -> None:
    generator = np.random.default_rng(0)
    known = parameters(space, CELLS[space.name])
    values = sample(known, generator)
    changed = []
    for _ in range(200):
        child = mutate(known, values, generator)
        (name,) = [name for name in known if child[name] != values[name]]
        assert child[name] in known[name]
        changed.append(name)
    assert len(set(changed)) > min(len(known), 100) * 0.6


def test_draws_of_switches_are_of_every_density() -> None:
    generator = np.random.default_rng(0)
    known = parameters(GOLD, 14)
    densities = [np.mean(list(sample(known, generator).values())) for _ in range(300)]
    assert np.histogram(densities, bins=4, range=(0, 1))[0].min() > 45


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal.0-1": "conv"}, "'conv' for parameter normal.0-1: expected one of none, skip_connect, .*"),
        ({"normal.0-1": None}, "None for parameter normal.0-1: .*"),
        ({"normal.0-4": "none"}, "parameter 'normal.0-4' of space 'nas_bench_201': expected one such as normal.0-1"),
    ],
)
def test_values_that_are_none_are_refused(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = dict.fromkeys(parameters(NAS_BENCH_201, 15), "none")
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        decode(NAS_BENCH_201, {**values, **change}, 15)
    with pytest.raises(InvalidInput, match=r"^no value for parameter normal\.0-1: "):
        decode(NAS_BENCH_201, {}, 15)


def test_architectures_that_no_searcher_proposes_are_refused() -> None:
    choices = [(source, node, "skip_connect") for node in range(2, 6) for source in range(2)]
    for more in [(2, 3, "skip_connect"), (0, 3, "max_pool_3x3")]:
        architecture = Architecture.of(DARTS, {"normal": choices, "reduce": [*choices, more]})
        with pytest.raises(InvalidInput, match=r"into node 3 of cell 'reduce': expected 2 edges"):
            encode(DARTS, architecture)


def test_a_graph_gives_no_node_more_edges_than_it_has() -> None:
    with pytest.raises(InvalidInput, match=r"^3 edges a node: expected 1 to 2, which the first node has$"):
        CellGraph(inputs=2, nodes=4, operations=("skip_connect",), edges_per_node=3)
