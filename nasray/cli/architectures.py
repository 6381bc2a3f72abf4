"""Verbs about one architecture: what it costs, how it looks, and its trained network as a file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from nasray import registry
from nasray.cli.arguments import parse, positional
from nasray.cli.found import RUNS, find_architecture, find_run, shape_of
from nasray.errors import InvalidInput


def cost(arguments: list[str]) -> int:
    """SPACE ARCHITECTURE [--channels C] [--cells N] [--input CxHxW] [--classes K] [--latency-batch B] [--json]: cost"""
    from nasray.costs import architecture_latency, macs, params
    from nasray.spaces import CellSpace, NetworkSize
    from nasray.training.measure import pick_device

    @dataclass(frozen=True, kw_only=True)
    class Cost:
        channels: int | None = None
        """Channels of the first cell; None means the space's own number."""
        cells: int | None = None
        """None is the space's own number."""
        input: str = "3x32x32"
        """Shape of one input: channels x height x width."""
        classes: int = 10
        skeleton: str = "cifar"
        """What surrounds the cells."""
        storage: str = RUNS
        """Where to look for the ids of architectures."""
        latency_batch: int | None = None
        """Examples at once at which the latency is measured too; None measures none."""
        latency_threads: int | None = None
        """Number of processor threads; None means as many as torch uses."""
        latency_device: str = "auto"
        """auto is the GPU where there is one, else the processor."""
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Print it as JSON."""

    (name, text), rest = positional(arguments, "SPACE", "ARCHITECTURE", example="nasray cost darts DARTS_V2")
    typed = parse(Cost, rest, f"nasray cost {name} {text}", default=Cost())
    space: CellSpace = registry.find("space", name, CellSpace)
    architecture = find_architecture(space, text, typed.storage)
    size = NetworkSize(
        channels=space.evaluation_channels if typed.channels is None else typed.channels,
        cells=(len(architecture.cells) if space.cell_per_position else space.evaluation_cells)
        if typed.cells is None
        else typed.cells,
        input_shape=shape_of(typed.input),
        classes=typed.classes,
        skeleton=typed.skeleton,
    )
    counted = {"params": params(space, architecture, size), "macs": macs(space, architecture, size)}
    measured = None
    if typed.latency_batch is None and (typed.latency_threads is not None or typed.latency_device != "auto"):
        raise InvalidInput("latency without a batch: expected --latency-batch 1, or none of the latency's fields")
    if typed.latency_batch is not None:
        measured = architecture_latency(
            space,
            architecture,
            size,
            batch=typed.latency_batch,
            threads=typed.latency_threads,
            device=pick_device(typed.latency_device),
        )
    if typed.json:
        latency = {} if measured is None else {"latency": dataclasses.asdict(measured)}
        print(json.dumps({"architecture_id": architecture.id, **counted, **dataclasses.asdict(size), **latency}))
        return 0
    print(
        f"{_millions(counted['params'], 4)} parameters, {_millions(counted['macs'], 2)} multiply-adds "
        f"({size.channels} channels, {size.cells} cells, input {typed.input}, {size.classes} classes)"
    )
    if measured is not None:
        print(
            f"latency {measured.median_ms:.4g} ms, quartiles {measured.low_ms:.4g} and {measured.high_ms:.4g} ms: "
            f"{measured.repeats} runs, batch {measured.batch}, {measured.threads} thread"
            f"{'' if measured.threads == 1 else 's'}, {measured.device}"
        )
    return 0


def draw(arguments: list[str]) -> int:
    """SPACE ARCHITECTURE --out FILE: the cells as a picture"""
    from nasray.pictures import draw_cells
    from nasray.spaces import CellSpace

    @dataclass(frozen=True, kw_only=True)
    class Draw:
        out: str | None = None
        """File to write: .png, .svg or .pdf."""
        storage: str = RUNS
        """Where to look for the ids of architectures."""

    example = "nasray draw darts DARTS_V2 --out cells.png"
    (name, text), rest = positional(arguments, "SPACE", "ARCHITECTURE", example=example)
    typed = parse(Draw, rest, f"nasray draw {name} {text}", default=Draw())
    if typed.out is None:
        raise InvalidInput(f"--out missing: expected a .png, .svg or .pdf file, as in {example}")
    space: CellSpace = registry.find("space", name, CellSpace)
    architecture = find_architecture(space, text, typed.storage)
    called = text if text in space.references else f"architecture {architecture.id}"
    draw_cells(space, architecture, typed.out, title=f"{called} ({space.name})")
    print(f"{len(architecture.cells)} cells of {called}: {typed.out}")
    return 0


def export(arguments: list[str]) -> int:
    """RUN (ID or best) --out FILE [--to FORM] [--budget M] [--code FILE ...]: a trained network as a file"""
    from nasray.results import open as open_run

    @dataclass(frozen=True, kw_only=True)
    class Export:
        out: str | None = None
        """File to write: .safetensors (weights), .pt2 (torch.export) or .onnx."""
        to: Literal["safetensors", "pt2", "onnx"] | None = None
        """Form of the file; None is what its name ends with."""
        budget: float | None = None
        """Most multiply-adds (M) that the best one may have; None is any number."""
        code: tuple[str, ...] = ()
        """Files of your own code that define the run's search space."""

    example = "nasray export runs/digits best --out digits.onnx"
    (run, which), rest = positional(arguments, "RUN", "ARCHITECTURE", example=example)
    typed = parse(Export, rest, f"nasray export {run} {which}", default=Export())
    if typed.out is None:
        raise InvalidInput(f"--out missing: expected a .safetensors, .pt2 or .onnx file, as in {example}")
    opened = open_run(str(find_run(run)), typed.code)
    path = opened.export(which, out=typed.out, to=typed.to, budget=typed.budget)
    print(f"{path}: {path.stat().st_size / 1e6:.3g} MB")
    return 0


def _millions(value: float, digits: int) -> str:
    return f"{value:.{digits}f} M" if value >= 1 else f"{value:.{digits + 2}f} M"
