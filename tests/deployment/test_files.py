"""Exported networks: what other programs than nasray make of their files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import nasray
from nasray import registry
from nasray.deployment import FromPixels, check_target, export
from nasray.deployment.files import example
from nasray.errors import InvalidInput
from nasray.networks import Network, target_network
from nasray.networks.saved import KEY, Blueprint, Data, from_bytes, rebuild, to_bytes
from nasray.spaces import Architecture, NetworkSize
from nasray.training.dataset import load_dataset

GOLD = registry.find("space", "gold")
NAMES = ("nought", "one", "two")
DATA = Data(dataset="mine", mean=(0.4, 0.5), std=(0.2, 0.3), class_names=NAMES)
SIZE = NetworkSize(channels=2, cells=3, input_shape=(2, 12, 8), classes=3)


def small(data: Data = DATA) -> tuple[Network, Blueprint]:
    """A network of few operations, whose normalisations have seen something."""
    kinds = GOLD.kinds(3)
    graphs = {kind: GOLD.cells[kind] for kind in kinds}
    layout = dict(zip(GOLD.layout(3), kinds, strict=True))
    choices = {
        name: [(0, t, graphs[kind].operations[t % len(graphs[kind].operations)]) for t in graphs[kind].targets]
        for name, kind in layout.items()
    }
    architecture = Architecture.of(GOLD, choices)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = target_network(GOLD, architecture, SIZE)
        network.train()
        network(torch.randn(8, *SIZE.input_shape))
    return network.eval(), Blueprint.of("gold", architecture, SIZE, GOLD.evaluation_normalisation, data)


def pixels(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 2, 12, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def without_nasray(code: str, folder: Path) -> Any:
    """What a program prints as JSON, in whose environment nasray cannot be imported."""
    block = "import sys; sys.modules['nasray'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", block + code], cwd=folder, capture_output=True, text=True, check=False, timeout=700
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ONNX = """
import json, numpy, onnxruntime
session = onnxruntime.InferenceSession("net.onnx")
(taken,) = session.get_inputs()
about = json.loads(session.get_modelmeta().custom_metadata_map["nasray"])
logits = session.run(None, {taken.name: numpy.load("pixels.npy")})[0]
print(json.dumps([taken.type, taken.shape[1:], about, logits.tolist()]))
"""
PT2 = """
import json, numpy, torch
about = {"nasray": ""}
program = torch.export.load("net.pt2", extra_files=about).module()
images = torch.from_numpy(numpy.load("pixels.npy"))
print(json.dumps([str(images.dtype), list(images.shape[1:]), json.loads(about["nasray"]), program(images).tolist()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("form", "code"), [("onnx", ONNX), ("pt2", PT2)])
def test_a_program_runs_elsewhere_on_any_number_of_images_and_says_what_it_is(
    form: str, code: str, tmp_path: Path
) -> None:
    network, blueprint = small()
    file = export(network, blueprint, tmp_path / f"net.{form}", form)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    # No path of this machine.
    content = file.read_bytes()
    for folder in (Path(nasray.__file__).parent, Path(torch.__file__).parent):
        assert str(folder).encode() not in content

    for count in (1, 5):
        images = pixels(count)
        np.save(tmp_path / "pixels.npy", images.numpy())
        kind, shape, about, logits = without_nasray(code, tmp_path)
        assert "uint8" in kind
        assert shape == [2, 12, 8]
        # The normalisation, as anybody would do it.
        mean, std = (torch.tensor(values)[:, None, None] for values in (DATA.mean, DATA.std))
        with torch.no_grad():
            expected = network((images / 255 - mean) / std)
        torch.testing.assert_close(torch.tensor(logits), expected, rtol=1e-4, atol=1e-5)
        assert about["data"] == {"dataset": "mine", "mean": [0.4, 0.5], "std": [0.2, 0.3], "class_names": [*NAMES]}
        assert about["size"]["input_shape"] == [2, 12, 8]


def test_a_file_of_weights_rebuilds_its_network(tmp_path: Path) -> None:
    network, blueprint = small()
    file = export(network, blueprint, tmp_path / "net.safetensors", "safetensors")
    read, weights = from_bytes(file.read_bytes(), "net")
    assert read == blueprint
    with torch.no_grad():
        images = torch.randn(2, *SIZE.input_shape)
        assert torch.equal(rebuild(read, weights, GOLD, "net")(images), network(images))
    with safetensors.safe_open(file, "np") as opened:
        assert json.loads(opened.metadata()[KEY])["data"]["class_names"] == [*NAMES]


def test_pixels_become_what_the_network_was_trained_on() -> None:
    digits = load_dataset("digits")
    recipe: Any = digits.augmentations["none"]
    data = Data(dataset="digits", mean=recipe.mean, std=recipe.std, class_names=digits.class_names)
    seen: list[Tensor] = []

    class Sees(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x

    network: Any = Sees()
    FromPixels(network, data)(digits.test[0])
    assert torch.equal(seen[0], recipe(digits.test[0]))
    assert digits.class_names == tuple("0123456789")


def test_where_a_users_own_code_makes_the_inputs_a_program_takes_those() -> None:
    _, blueprint = small(Data(dataset="mine", mean=None, std=None, class_names=()))
    assert example(blueprint, 3).dtype == torch.float32
    assert example(blueprint, 3).shape == (3, *SIZE.input_shape)


def test_a_program_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, blueprint = small()

    class Program:
        def module(self) -> Any:
            return lambda images: FromPixels(network, DATA)(images) + 2e-5

    monkeypatch.setattr(sys.modules["nasray.deployment.files"], "_program", lambda *_: Program())
    with pytest.raises(InvalidInput, match=r"^the pt2 program differs from the network by [12]\.\de-05 of its largest"):
        export(network, blueprint, tmp_path / "net.pt2", "pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_target(tmp_path / "net.onnx", None) == "onnx"
    assert check_target(tmp_path / "weights", "safetensors") == "safetensors"
    with pytest.raises(InvalidInput, match=r"net.pkl'?: expected a name that ends with one of .safetensors, "):
        check_target(tmp_path / "net.pkl", None)
    with pytest.raises(InvalidInput, match=r"^to 'tflite': expected safetensors, pt2 or onnx$"):
        check_target(tmp_path / "net.onnx", "tflite")
    for path in (tmp_path / "nowhere" / "net.pt2", tmp_path):
        with pytest.raises(InvalidInput, match=r"expected a file in a folder that is there$"):
            check_target(path, "pt2")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InvalidInput, match=r"^ONNX needs more packages .*: pip install 'nasray\[onnx\]'$"):
        check_target(tmp_path / "net.onnx", None)


def test_a_description_that_describes_no_network_is_refused() -> None:
    network, blueprint = small()
    content = to_bytes(network, blueprint)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    for name, wrong in (
        *(("mean", wrong) for wrong in (["0.4", 0.5], [0.4], None, [0.4, float("nan")], 0.4)),
        *(("std", wrong) for wrong in (None, [0.2, 0.0], [True, 0.2])),
        *(("class_names", wrong) for wrong in ([1, 2, 3], ["one"], None)),
        ("dataset", 3),
        ("more", 1),
    ):
        values = json.loads(blueprint.to_json())
        values["data"][name] = wrong
        changed = safetensors.torch.save(safetensors.torch.load(content), {**header, KEY: json.dumps(values)})
        with pytest.raises(InvalidInput, match="holds no network's weights, or is damaged"):
            from_bytes(changed, "net")
