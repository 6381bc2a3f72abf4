"""Architectures as the field writes them."""

from __future__ import annotations

import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.spaces import CellSpace, read_architecture, to_genotype

DARTS: CellSpace = registry.find("space", "darts")

# As the released code of DARTS prints a namedtuple.
PRINTED = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat={concat}, "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat={concat})"
)


@pytest.mark.parametrize("concat", ["range(2, 6)", "[2, 3, 4, 5]", "(2, 3, 4, 5)"])
@pytest.mark.parametrize("before", ["", "DARTS_V2 = ", "\n  genotype="])
def test_a_genotype_as_the_darts_code_prints_it(before: str, concat: str) -> None:
    read = read_architecture(DARTS, before + PRINTED.format(concat=concat) + "\n")
    assert read == read_architecture(DARTS, "DARTS_V2")
    assert to_genotype(DARTS, read)["normal"][0] == ["sep_conv_3x3", 0]


@pytest.mark.parametrize(
    "text",
    [
        "Genotype(normal=__import__('os').getcwd())",
        "Genotype(normal=[x for x in ()])",
        "Genotype(normal=range(10**9))",
        "Genotype(normal=range('a'))",
        "Genotype(*[1])",
        "Genotype(normal=[), reduce=1",
        "Genotype(" + "[" * 5000,
        "Genotype(normal=1); print(2)",
        "Genotype(**{'normal': 1})",
    ],
)
def test_nothing_but_data_is_read(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^genotype .*expected") as refused:
        read_architecture(DARTS, text)
    assert "\n" not in str(refused.value)


def test_what_is_none_of_the_forms() -> None:
    with pytest.raises(InvalidInput, match=r"^architecture 'x': expected .*DARTS_V2.*, or JSON$"):
        read_architecture(DARTS, "x")
