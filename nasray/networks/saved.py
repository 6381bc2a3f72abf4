"""A trained network in one file: its weights as safetensors, and in their metadata all that rebuilds it.

The metadata's entry ``nasray`` is a JSON object: the name of the search space with the digest of its source where it
is a user's own, the architecture, the size, where the cells normalise, and what it takes and gives: how images
become its inputs, and the names of the classes. So a file says by itself which network it is of, also where that one
normalises otherwise than its space does. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from nasray import registry
from nasray.errors import InvalidInput, message, shown
from nasray.networks.network import Network, target_network
from nasray.networks.operations import module_name
from nasray.spaces import Architecture, CellSpace, NetworkSize, Normalisation

KEY = "nasray"
"""Of the metadata."""
_DIGEST = "sha256"
"""Of the metadata: digest of the weights."""
_MOST, _MOST_CELLS = 1_000_000, 10_000


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a network was trained on: what its inputs and outputs mean."""

    dataset: str
    """Name of the dataset."""
    mean: tuple[float, ...] | None
    """Of the pixels of each channel, as a fraction of 255: subtracted from an image. None where a user's own code makes
    the network's inputs."""
    std: tuple[float, ...] | None
    """Standard deviation of the pixels of each channel, as a fraction of 255: what an image is divided by then."""
    class_names: tuple[str, ...]
    """In the order of the logits; empty where the classes have no names."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """All that a network is built from, beside the code of its space."""

    space: str
    """Registered name, or ``file.py:NAME`` without its folders."""
    digest: str | None
    """Digest of the space's source code; None for nasray's own spaces."""
    architecture: str
    """As JSON."""
    size: NetworkSize
    normalisation: Normalisation
    data: Data

    @classmethod
    def of(
        cls, space: str, architecture: Architecture, size: NetworkSize, normalisation: Normalisation, data: Data
    ) -> Blueprint:
        """The blueprint of a network whose space has a name here.

        Raises:
            InvalidInput: there is no such space.
        """
        return cls(
            space=registry.portable(space),
            digest=registry.digest("space", space),
            architecture=architecture.to_json(),
            size=size,
            normalisation=normalisation,
            data=data,
        )

    def to_json(self) -> str:
        """As it stands in files."""
        return json.dumps(asdict(self))


def to_bytes(network: Network, blueprint: Blueprint) -> bytes:
    """The file of a trained network, without its auxiliary head, which only trains."""
    weights = {k: v.contiguous() for k, v in network.state_dict().items() if not k.startswith("auxiliary.")}
    return safetensors.torch.save(weights, {"format": "pt", KEY: blueprint.to_json(), _DIGEST: _digest(weights)})


def from_bytes(data: bytes, source: str) -> tuple[Blueprint, dict[str, Tensor]]:
    """Blueprint and weights of a file that :func:`to_bytes` wrote.

    Args:
        data: the whole file.
        source: its name, for messages.

    Raises:
        InvalidInput: it is another file, or damaged.
    """
    try:
        weights = safetensors.torch.load(data)
        (length,) = struct.unpack("<Q", data[:8])
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        if metadata[_DIGEST] != _digest(weights):
            raise ValueError("its weights are not those that were written")
        return _blueprint(json.loads(metadata[KEY])), weights
    except KeyError:
        raise InvalidInput(
            f"{source} does not say which network its weights are of: they were not written by this version of nasray."
        ) from None
    except (SafetensorError, ValueError, TypeError, RecursionError, struct.error) as error:
        raise InvalidInput(f"{source} holds no network's weights, or is damaged ({message(error)}).") from None


def rebuild(blueprint: Blueprint, weights: Mapping[str, Tensor], space: CellSpace, source: str) -> Network:
    """The network, on the CPU and in evaluation mode.

    Args:
        blueprint: of the network.
        weights: all of them, by name.
        space: that the blueprint names.
        source: where they come from, for messages.

    Raises:
        InvalidInput: the space has no such architecture, or its network has other weights.
    """
    text, moved = _moved(space, blueprint.architecture)
    architecture = Architecture.from_json(space, text)
    with torch.device("meta"):  # whatever the file says of its size, nothing is allocated before it is compared
        network = target_network(space, architecture, blueprint.size, normalisation=blueprint.normalisation)
    given = {_renamed(name, moved): weight for name, weight in weights.items()}
    expected = network.state_dict()
    differing = sorted(expected.keys() ^ given.keys()) or [
        name for name, w in expected.items() if (w.shape, w.dtype) != (given[name].shape, given[name].dtype)
    ]
    if differing:
        raise InvalidInput(
            f"{source} does not fit its network: {len(differing)} of its weights differ, such as "
            f"{shown(differing[0])}. Space {space.name!r} was another one when it was trained."
        )
    network.load_state_dict(given, assign=True)
    network.to(memory_format=torch.channels_last)
    return network.eval()


def _digest(weights: Mapping[str, Tensor]) -> str:
    """Digest of all weights, by name."""
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(name.encode())
        whole.update(weights[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def _blueprint(values: Any) -> Blueprint:
    """A blueprint from what JSON gave.

    Raises:
        KeyError, TypeError, ValueError: they do not describe a network.
    """
    size, normalisation = dict(values["size"]), dict(values["normalisation"])
    size["input_shape"] = tuple(size["input_shape"])
    numbers = [size["channels"], size["cells"], size["classes"], *size["input_shape"]]
    texts = [values["space"], values["architecture"], size["skeleton"], values["digest"] or ""]
    if any(type(one) is not int or one > _MOST for one in numbers) or size["cells"] > _MOST_CELLS:
        raise ValueError("a size that no network has")
    if not all(isinstance(one, str) for one in texts):
        raise TypeError("a name is no text")
    if set(normalisation) != {one.name for one in fields(Normalisation)} or not all(
        isinstance(one, bool) for one in normalisation.values()
    ):
        raise TypeError("a normalisation that no network has")
    return Blueprint(
        space=values["space"],
        digest=values["digest"],
        architecture=values["architecture"],
        size=NetworkSize(**size),
        normalisation=Normalisation(**normalisation),
        data=_data(values["data"], channels=size["input_shape"][0], classes=size["classes"]),
    )


def _data(values: Any, channels: int, classes: int) -> Data:
    """What a network was trained on, from what JSON gave.

    Raises:
        KeyError, TypeError, ValueError: it does not describe the data of a network of so many channels and classes.
    """
    moments = values["mean"], values["std"]
    if moments != (None, None):
        for one in moments:
            if (
                not all(type(number) in (int, float) and math.isfinite(number) for number in one)
                or len(one) != channels
            ):
                raise ValueError("no mean or standard deviation of each channel")
        if min(values["std"]) <= 0:
            raise ValueError("a standard deviation that is not above 0")
    names = values["class_names"]
    if not all(isinstance(one, str) for one in (values["dataset"], *names)) or len(names) not in (0, classes):
        raise ValueError("no names of a dataset and its classes")
    mean, std = (None if one is None else tuple(one) for one in moments)
    return Data(**{**values, "mean": mean, "std": std, "class_names": tuple(names)})


def _moved(space: CellSpace, text: str) -> tuple[str, dict[str, str]]:
    """The architecture with a user's own operations called as the space calls them now, and who is called otherwise.

    ``/there/file.py:NAME`` may be ``/here/file.py:NAME`` by now.
    """
    here = {registry.portable(o): o for graph in space.cells.values() for o in graph.operations if registry.is_file(o)}
    if not here:
        return text, {}
    value, moved = json.loads(text), dict[str, str]()
    for choices in value.get("cells", {}).values():
        for choice in choices:
            name = choice[-1]
            if isinstance(name, str) and registry.portable(name) in here:
                choice[-1] = moved[name] = here[registry.portable(name)]
    return json.dumps(value), {module_name(old): module_name(new) for old, new in moved.items()}


def _renamed(weight: str, moved: Mapping[str, str]) -> str:
    parts = weight.split(".")
    for old, new in moved.items():
        parts = [part.removesuffix(old) + new if part.endswith(f"_{old}") else part for part in parts]
    return ".".join(parts)
