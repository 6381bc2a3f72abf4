"""A network for training code of one's own: what it takes, and the names of its parameters."""

from __future__ import annotations

import hashlib

import pytest
import torch

import nasray
from nasray import registry
from nasray.costs import params
from nasray.errors import InvalidInput
from nasray.spaces import NetworkSize, read_architecture

SIZES = {
    "darts": NetworkSize(channels=4, cells=3, input_shape=(3, 16, 16), classes=5),
    "nas_bench_201": NetworkSize(channels=4, cells=3, input_shape=(1, 16, 16), classes=7),
}
CHOSEN = {
    "darts": "DARTS_V2",
    "nas_bench_201": "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|",
}


@pytest.mark.parametrize("space", SIZES)
def test_a_network_of_an_architecture_at_a_size(space: str) -> None:
    size = SIZES[space]
    network = nasray.network(space, CHOSEN[space], size)
    assert network(torch.randn(2, *size.input_shape)).shape == (2, size.classes)
    found = registry.find("space", space)
    architecture = read_architecture(found, CHOSEN[space])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == params(found, architecture, size)
    same = nasray.network(found, architecture, size)
    assert same.state_dict().keys() == network.state_dict().keys()


def test_names_of_parameters_are_stable() -> None:
    # Weights that people have saved stay loadable: a name that changes here makes them unreadable.
    names = {space: [*nasray.network(space, CHOSEN[space], SIZES[space]).state_dict()] for space in SIZES}
    assert names["darts"][:3] == ["stem.layers.0.weight", "stem.layers.1.weight", "stem.layers.1.bias"]
    assert {s: hashlib.sha256("\n".join(of).encode()).hexdigest()[:12] for s, of in names.items()} == {
        "darts": "c0511089ab15",
        "nas_bench_201": "ea74897a32ed",
    }


def test_what_is_no_architecture_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^architecture 'DARTS_V9': expected DARTS_V1, "):
        nasray.network("darts", "DARTS_V9", SIZES["darts"])
