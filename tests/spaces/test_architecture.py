from __future__ import annotations

import copy
import hashlib
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.spaces import Architecture, CellSpace, Choice, from_genotype, parse_architecture, to_genotype
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD

NORMAL = [[0, 2, "sep_conv_3x3"], [1, 3, "skip_connect"], [2, 4, "max_pool_3x3"], [4, 5, "dil_conv_5x5"]]


@st.composite
def cells_of(draw: st.DrawFn, space: CellSpace, num_cells: int) -> dict[str, list[Choice]]:
    """Any architecture of a space as plain choices, in any order."""
    cells = {}
    for name in dict.fromkeys(space.layout(num_cells)):
        graph = space.graph(name)
        chosen = []
        for node in graph.targets:
            possible = [
                (source, target, operation)
                for source, target in graph.edges
                for operation in graph.operations
                if target == node and operation != graph.none
            ]
            chosen += draw(st.lists(st.sampled_from(possible), min_size=1, max_size=4, unique=True))
        cells[name] = draw(st.permutations(chosen))
    return cells


ANY = st.one_of(
    st.tuples(st.just(DARTS), cells_of(DARTS, 3)),
    st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(GOLD), cells_of(GOLD, n))),
)


@given(ANY)
def test_json_round_trip(case: tuple[CellSpace, dict[str, list[Choice]]]):
    space, cells = case
    architecture = Architecture.of(space, cells)
    value = json.loads(architecture.to_json())
    assert {name: {tuple(c) for c in choices} for name, choices in value["cells"].items()} == {
        name: set(choices) for name, choices in cells.items()
    }
    assert Architecture.from_json(space, architecture.to_json()) == architecture
    assert Architecture.from_json(space, json.dumps(value, indent=1)).id == architecture.id


@given(ANY)
def test_genotype_round_trip(case: tuple[CellSpace, dict[str, list[Choice]]]):
    space, cells = case
    architecture = Architecture.of(space, cells)
    text = json.dumps(to_genotype(space, architecture))
    assert from_genotype(space, json.loads(text)) == architecture
    assert parse_architecture(space, text) == architecture
    assert parse_architecture(space, architecture.to_json()) == architecture


@given(ANY, st.randoms())
def test_an_architecture_is_its_set_of_choices(case: tuple[CellSpace, dict[str, list[Choice]]], random: Any):
    space, cells = case
    architecture = Architecture.of(space, cells)
    shuffled = {name: random.sample(choices, len(choices)) for name, choices in reversed(cells.items())}
    same = Architecture.of(space, shuffled)
    assert same == architecture
    assert hash(same) == hash(architecture)
    assert same.id == architecture.id == hashlib.sha256(architecture.to_json().encode()).hexdigest()[:12]


@given(ANY)
def test_pickle_and_copy_keep_it(case: tuple[CellSpace, dict[str, list[Choice]]]):
    architecture = Architecture.of(*case)
    assert pickle.loads(pickle.dumps(architecture)) == architecture
    assert copy.deepcopy(architecture).id == architecture.id


def test_another_choice_has_another_id():
    ids = set()
    for operation in DARTS.cells["normal"].operations[1:]:
        cells = {"normal": [(0, 2, operation), *NORMAL[1:]], "reduce": NORMAL}
        ids.add(Architecture.from_json(DARTS, json.dumps({"space": "darts", "cells": cells})).id)
    assert len(ids) == 7


def test_it_cannot_be_changed():
    architecture = Architecture.of(GOLD, {"reduce_0": [(0, node, "skip_connect") for node in (2, 3, 4, 5)]})
    with pytest.raises(TypeError):
        architecture.cells["reduce_0"] = ()  # type: ignore[index]
    with pytest.raises(AttributeError):
        architecture.space = "darts"  # type: ignore[misc]


def of_darts(normal: Any = NORMAL, reduce: Any = NORMAL, **more: Any) -> dict[str, Any]:
    return {"space": "darts", "cells": {"normal": normal, "reduce": reduce, **more}}


def with_choice(choice: Any) -> dict[str, Any]:
    return of_darts([choice, *NORMAL[1:]])


GOLD_CELL = [["skip_connect", 0, node] for node in (2, 3, 4, 5)]
FLAT = [["sep_conv_3x3", 0], ["skip_connect", 1]] * 4

BAD = {
    "unknown operation": (DARTS, with_choice([0, 2, "sep_conv_9x9"]), ["'sep_conv_9x9'", "sep_conv_3x3, sep_conv_5x5"]),
    "none is no choice": (DARTS, with_choice([0, 2, "none"]), ["'none'", "max_pool_3x3"]),
    "operation of another space": (
        GOLD,
        {"cells": [[["max_pool_3x3", 0, 2], *GOLD_CELL[1:]]]},
        ["'max_pool_3x3'", "skip_connect, sep_conv_3x3"],
    ),
    "edge backwards": (DARTS, with_choice([4, 2, "skip_connect"]), ["edge 4 to 2", "edges into 2 from 0, 1"]),
    "edge to itself": (DARTS, with_choice([2, 2, "skip_connect"]), ["edge 2 to 2", "edges into 2 from 0, 1"]),
    "edge into an input": (DARTS, with_choice([0, 1, "skip_connect"]), ["edge 0 to 1", "into the nodes 2 to 5"]),
    "edge out of the cell": (DARTS, with_choice([0, 6, "skip_connect"]), ["edge 0 to 6", "into the nodes 2 to 5"]),
    "negative node": (DARTS, with_choice([-1, 2, "skip_connect"]), ["edge -1 to 2", "edges into 2 from 0, 1"]),
    "node missing": (DARTS, of_darts(NORMAL[:3]), ["nothing enters node 5 in cell 'normal'", "at least one operation"]),
    "cell empty": (DARTS, of_darts([]), ["nothing enters node 2", "at least one operation"]),
    "twice the same": (
        DARTS,
        of_darts([*NORMAL, NORMAL[0]]),
        ["(0, 2, 'sep_conv_3x3') chosen twice", "each operation of an edge once"],
    ),
    "wrong space": (DARTS, {**of_darts(), "space": "gold"}, ["space 'gold'", "expected space 'darts'"]),
    "space of another type": (DARTS, {**of_darts(), "space": ["darts"]}, ["['darts']", "expected space 'darts'"]),
    "cell missing": (DARTS, {"space": "darts", "cells": {"normal": NORMAL}}, ["['normal']", "normal, reduce"]),
    "one cell more": (DARTS, of_darts(extra=NORMAL), ["'extra'", "expected one of normal, reduce"]),
    "cell position missing": (
        GOLD,
        {"space": "gold", "cells": {"normal_1": [[0, node, "skip_connect"] for node in (2, 3, 4, 5)]}},
        ["['normal_1']", "expected one of reduce_0"],
    ),
    "no cell at all": (GOLD, {"space": "gold", "cells": {}}, ["cells []", "at least one cell"]),
    "a line break in a name": (DARTS, of_darts(**{"a\nb": []}), ["'a\\nb'", "normal, reduce"]),
    "cells no map": (DARTS, {"space": "darts", "cells": [NORMAL]}, ["without a map of cells", '"cells"']),
    "cell no list": (DARTS, of_darts("skip_connect"), ["without a map of cells to lists", '"cells"']),
    "node index true": (
        DARTS,
        with_choice([True, 2, "skip_connect"]),
        ["[True, 2, 'skip_connect']", "[source, target"],
    ),
    "node index 0.0": (DARTS, with_choice([0.0, 2, "skip_connect"]), ["[0.0, 2, 'skip_connect']", "[source, target"]),
    "operation no text": (DARTS, with_choice([0, 2, None]), ["[0, 2, None]", "[source, target, operation]"]),
    "choice too long": (DARTS, with_choice([0, 2, "skip_connect", 1]), ["'skip_connect', 1]", "[source, target"]),
    "choice null": (DARTS, with_choice(None), ["choice None", "[source, target, operation]"]),
    "a list": (DARTS, [NORMAL], ["a JSON list", '"space"']),
    "a number": (DARTS, 3, ["a JSON int", '"space"']),
    "neither form": (DARTS, {"op": 1}, ["['op']", "expected one with normal, reduce"]),
    "genotype of the other kind": (GOLD, {"normal": FLAT, "reduce": FLAT}, ["['normal', 'reduce']", '"cells"']),
    "odd number of pairs": (DARTS, {"normal": FLAT[:7], "reduce": FLAT}, ["7 pairs in 'normal'", "a multiple of 4"]),
    "no pairs": (DARTS, {"normal": [], "reduce": FLAT}, ["0 pairs in 'normal'", "a multiple of 4"]),
    "three nodes": (DARTS, {"normal": [FLAT[:2]] * 3, "reduce": FLAT}, ["3 lists in 'normal'", "4, one for each node"]),
    "pair reversed": (DARTS, {"normal": [[0, "skip_connect"], *FLAT[1:]], "reduce": FLAT}, ["in 'normal'", "4"]),
    "pair with true": (DARTS, {"normal": [["skip_connect", True], *FLAT[1:]], "reduce": FLAT}, ["True", "[source"]),
    "pair of later node": (DARTS, {"normal": [["skip_connect", 3], *FLAT[1:]], "reduce": FLAT}, ["3 to 2", "0, 1"]),
    "concatenation of three": (
        DARTS,
        {"normal": FLAT, "reduce": FLAT, "normal_concat": [3, 4, 5]},
        ["normal_concat [3, 4, 5]", "[2, 3, 4, 5]"],
    ),
    "concatenation no list": (DARTS, {"normal": FLAT, "reduce": FLAT, "reduce_concat": 4}, ["4", "a list"]),
    "gold entry of two": (
        GOLD,
        {"cells": [[["skip_connect", 0]]]},
        ["['skip_connect', 0]", "[operation, source, target]"],
    ),
    "gold without cells": (GOLD, {"cells": []}, ["cells []", "at least one cell"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_architecture_is_named_with_what_is(case: str):
    space, value, words = BAD[case]
    with pytest.raises(InvalidInput) as error:
        parse_architecture(space, json.dumps(value))
    check_line(str(error.value), words)


def check_line(message: str, words: list[str]) -> None:
    assert len(message.splitlines()) == 1
    assert len(message) < 600
    given, _, accepted = message.rpartition(": expected ")
    assert given, message
    assert accepted, message
    assert all(word in message for word in words), message


UNREADABLE = {
    "nothing": "",
    "half": '{"space": "darts"',
    "not json": "DARTS_V2",
    "python": "{'space': 'darts'}",
    "deep list": "[" * 100_000,
    "deep map": '{"cells":' * 50_000,
    "deep choice": json.dumps(of_darts()).replace("[0, 2", "[" * 300 + "]" * 300 + ", 2"),
    "long number": json.dumps(of_darts()).replace("[0, 2", "[" + "9" * 5000 + ", 2"),
    "long operation": json.dumps(with_choice([0, 2, "x" * 100_000])),
    "many cells": json.dumps({"space": "gold", "cells": {f"c_{i}": [] for i in range(50_000)}}),
    "huge": json.dumps(of_darts() | {"more": "x" * 1_000_000}),
    "null character": "\0",
    "lone surrogate": '{"space": "\\ud800"}',
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_hostile_text_ends_in_one_short_line(space: CellSpace, case: str):
    with pytest.raises(InvalidInput) as error:
        parse_architecture(space, UNREADABLE[case])
    check_line(str(error.value), [])
    str(error.value).encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["space", "cells", "normal", "reduce", "normal_0", "concat"]) | st.text(), x
            )
        ),
    )
)
def test_any_other_json_is_refused_and_raises_nothing_else(value: Any):
    for space in (DARTS, GOLD):
        with pytest.raises(InvalidInput):
            parse_architecture(space, json.dumps(value))


def test_numpy_indices_of_masks_give_plain_numbers():
    choices = [(int(s), int(t), "skip_connect") for s, t in np.array([(0, 2), (0, 3), (0, 4), (0, 5)])]
    assert json.loads(Architecture.of(GOLD, {"reduce_0": choices}).to_json())["cells"]["reduce_0"][0] == [
        0,
        2,
        "skip_connect",
    ]
