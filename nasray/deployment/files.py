"""Trained networks as files: safetensors, torch's exported programs (pt2), ONNX.

All hold the same description, as JSON by the name ``nasray``: the architecture, its size, the dataset, the pixels' mean
and standard deviation, and the names of the classes. A program takes images as uint8 (N, C, H, W), of any number N, and
normalises them itself; where a user's own code makes a network's inputs, it takes those, as float32. Each program is
run, and compared with the network that it is of, before it is written.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nasray.deployment.pixels import FromPixels
from nasray.errors import InvalidInput, message
from nasray.networks import Network
from nasray.networks.saved import KEY, Blueprint, to_bytes

FORMS = ("safetensors", "pt2", "onnx")
TOLERANCE = 1e-5
"""Largest difference between the logits of a program and its network, as a share of the largest logit, or of 1."""
_SIZES = (1, 3)
"""Numbers of images with which a program is compared."""


def check_target(out: str | Path, to: str | None) -> str:
    """The form of a file that is to be written: refused before anything is computed where that cannot be.

    Args:
        out: the file.
        to: its form; None is what its name ends with.

    Raises:
        InvalidInput: an unknown form, a folder that is not there, or packages that the form needs are missing.
    """
    path = Path(out)
    form = path.suffix.removeprefix(".") if to is None else to
    if form not in FORMS:
        if to is None:
            raise InvalidInput(f"out {str(out)!r}: expected a name that ends with one of .{', .'.join(FORMS)}, or --to")
        raise InvalidInput(f"to {to!r}: expected {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInput(f"out {str(out)!r}: expected a file in a folder that is there")
    if form == "onnx":
        try:
            for package in ("onnx", "onnxruntime", "onnxscript"):
                importlib.import_module(package)
        except ImportError as error:
            raise InvalidInput(f"ONNX needs more packages ({message(error)}): pip install 'nasray[onnx]'") from None
    return form


def export(network: Network, blueprint: Blueprint, out: str | Path, form: str) -> Path:
    """Write a trained network into a file, whole or not at all.

    Args:
        network: on the CPU, in evaluation mode.
        blueprint: all that it is built from.
        out: the file; one that is there is replaced.
        form: one of FORMS.

    Returns:
        The file.

    Raises:
        InvalidInput: the file cannot be written, or torch cannot export the network.
    """
    if form == "safetensors":
        content = to_bytes(network, blueprint)
    else:
        module: nn.Module = network if blueprint.data.mean is None else FromPixels(network, blueprint.data)
        try:
            content = (_pt2 if form == "pt2" else _onnx)(module, blueprint)
        except InvalidInput:
            raise
        except Exception as error:  # of a user's own operation, which the exporter may not take
            raise InvalidInput(f"torch cannot export this network as {form} ({message(error)})") from error
    path = Path(out)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
    return path


def example(blueprint: Blueprint, count: int) -> Tensor:
    """Inputs of a program, drawn at random: uint8 images, or float32 where it does not normalise (count, ...)."""
    shape = (count, *blueprint.size.input_shape)
    generator = torch.Generator().manual_seed(count)
    if blueprint.data.mean is None:
        return torch.randn(shape, generator=generator)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _pt2(module: nn.Module, blueprint: Blueprint) -> bytes:
    program = _program(module, blueprint)
    _compare(module, program.module(), blueprint, "pt2")
    file = io.BytesIO()
    with _quietly():
        torch.export.save(program, file, extra_files={KEY: blueprint.to_json()})
    return file.getvalue()


def _onnx(module: nn.Module, blueprint: Blueprint) -> bytes:
    import onnxruntime

    with _quietly():
        made = torch.onnx.export(
            _program(module, blueprint), dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
        )
    assert made is not None
    model = made.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, blueprint.to_json()
    content: bytes = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    _compare(module, run, blueprint, "onnx")
    return content


def _program(module: nn.Module, blueprint: Blueprint) -> torch.export.ExportedProgram:
    with torch.no_grad():
        batch = {0: torch.export.Dim("batch", min=1)}
        program = torch.export.export(module, (example(blueprint, 2),), dynamic_shapes=(batch,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _compare(module: nn.Module, program: Callable[[Tensor], Any], blueprint: Blueprint, form: str) -> None:
    for count in _SIZES:
        images = example(blueprint, count)
        with torch.no_grad():
            expected, given = module(images), program(images)
        difference = float((expected - given).abs().max()) / max(1.0, float(expected.abs().max()))
        if not difference <= TOLERANCE:
            raise InvalidInput(
                f"the {form} program differs from the network by {difference:.1e} of its largest logit, more than "
                f"{TOLERANCE:g}: nothing was written"
            )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch's exporter prints of its steps and warns of in its own code."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
