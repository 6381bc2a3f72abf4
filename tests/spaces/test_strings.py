"""Architecture strings, against the published example and every architecture of a space."""

from __future__ import annotations

from itertools import product

import pytest

from nasray.errors import InvalidInput
from nasray.spaces import (
    Architecture,
    CellGraph,
    from_string,
    has_strings,
    string_form,
    string_pattern,
    to_genotype,
    to_string,
)
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201, OPERATIONS

# The example in NATS-Bench's documentation.
PUBLISHED = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"


def every_string() -> list[str]:
    form = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    return [form.format(*operations) for operations in product(OPERATIONS, repeat=6)]


def test_a_string_names_sources_node_by_node() -> None:
    assert from_string(NAS_BENCH_201, PUBLISHED).cells["normal"] == (
        (0, 1, "nor_conv_3x3"),
        *((0, 2, "nor_conv_3x3"), (1, 2, "avg_pool_3x3")),
        *((0, 3, "skip_connect"), (1, 3, "nor_conv_3x3"), (2, 3, "skip_connect")),
    )


def test_every_string_is_an_architecture_of_its_own() -> None:
    # Also where operations lead nowhere, so that two of them compute the same.
    strings = every_string()
    architectures = [from_string(NAS_BENCH_201, text) for text in strings]
    assert len(strings) == len({a.id for a in architectures}) == len({a.to_json() for a in architectures}) == 15_625
    assert [to_string(NAS_BENCH_201, a) for a in architectures] == strings
    pattern = string_pattern(NAS_BENCH_201)
    assert all(pattern.fullmatch(text) for text in strings)
    for architecture in architectures[::97]:
        assert Architecture.from_json(NAS_BENCH_201, architecture.to_json()) == architecture


def test_none_is_an_edge_without_an_operation() -> None:
    nothing = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    architecture = from_string(NAS_BENCH_201, nothing)
    assert architecture == Architecture.of(NAS_BENCH_201, {"normal": []})
    assert to_string(NAS_BENCH_201, architecture) == nothing
    genotype = to_genotype(NAS_BENCH_201, architecture)
    assert genotype == {"normal": [[], [], []], "normal_concat": [3]}


def test_the_order_of_a_nodes_edges_has_no_say() -> None:
    shuffled = "|nor_conv_3x3~0|+|avg_pool_3x3~1|nor_conv_3x3~0|+|skip_connect~2|skip_connect~0|nor_conv_3x3~1|"
    assert from_string(NAS_BENCH_201, f" {shuffled}\n") == from_string(NAS_BENCH_201, PUBLISHED)
    assert not string_pattern(NAS_BENCH_201).fullmatch(shuffled)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ["of 1 nodes", string_form(NAS_BENCH_201)]),
        (PUBLISHED.rpartition("+")[0], ["of 2 nodes"]),
        (f"{PUBLISHED}+|none~0|", ["of 4 nodes"]),
        (PUBLISHED.replace("~2", "~1"), ["|OPERATION~0|OPERATION~1|OPERATION~2|"]),
        (PUBLISHED.replace("~2", "~3"), ["|OPERATION~0|OPERATION~1|OPERATION~2|"]),
        (PUBLISHED.replace("~2", "~-2"), ["OPERATION~2"]),
        (PUBLISHED.replace("~2", "~" + "9" * 5000), ["OPERATION~2"]),
        (PUBLISHED.replace("~2", "~²"), ["OPERATION~2"]),
        (PUBLISHED.replace("skip_connect~2|", ""), ["OPERATION~2"]),
        (PUBLISHED.replace("skip_connect~2|", "skip_connect~2||"), ["OPERATION~2"]),
        (PUBLISHED[1:], ["'nor_conv_3x3~0|'", "expected |OPERATION~0|"]),
        (PUBLISHED[:-1], ["OPERATION~2"]),
        (PUBLISHED.replace("skip_connect~2", "max_pool_3x3~2"), ["'max_pool_3x3'", ", ".join(OPERATIONS)]),
        (PUBLISHED.replace("skip_connect~2", "x" * 9000 + "~2"), ["expected one of none, skip_connect"]),
        (PUBLISHED.replace("+", "\n"), ["of 1 nodes"]),
        (PUBLISHED.replace("skip", "sk\nip"), ["expected one of none"]),
    ],
)
def test_what_is_no_string_is_named_in_one_line(text: str, named: list[str]) -> None:
    with pytest.raises(InvalidInput) as error:
        from_string(NAS_BENCH_201, text)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    assert all(word in message for word in named), message


@pytest.mark.parametrize("space", [DARTS, GOLD], ids=lambda s: s.name)
def test_spaces_whose_edges_take_any_number_have_no_strings(space: object) -> None:
    assert space in (DARTS, GOLD)
    assert not has_strings(space)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^architecture string for '\w+': expected JSON"):
        from_string(space, PUBLISHED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choices", "none", "named"),
    [
        ([(0, 1, "a"), (0, 1, "b")], "none", "^2 operations on edge 0 to 1 .*: expected one, or none for 'none'$"),
        ([(0, 1, "a"), (0, 1, "b")], None, "^2 operations on edge 0 to 1 .*: expected one$"),
        ([], None, "^0 operations on edge 0 to 1 .*: expected one$"),
        ([(0, 1, "none")], "none", "^operation 'none' in cell 'normal'.*: expected one of a, b$"),
    ],
)
def test_an_edge_takes_one_operation(choices: list[tuple[int, int, str]], none: str | None, named: str) -> None:
    from dataclasses import replace

    operations = ("a", "b") if none is None else (none, "a", "b")
    graph = CellGraph(inputs=1, nodes=1, operations=operations, none=none, one_per_edge=True, output="sum")
    with pytest.raises(InvalidInput, match=named):
        Architecture.of(replace(NAS_BENCH_201, cells={"normal": graph}), {"normal": choices})
