"""Verbs about one architecture: what it costs, how it looks, and its trained network as a file."""

from __future__ import annotations

import dataclasses
import json as as_json
from typing import Annotated, Literal

from nasray import registry
from nasray.cli.found import RUNS, find_architecture, find_run, shape_of, size_of_id
from nasray.cli.option import Says
from nasray.cli.verbs import Code, Run, SpaceWord
from nasray.errors import InvalidInput

ArchitectureWord = Annotated[
    str,
    Says(
        help="A published one by its name (nasray list architectures), JSON, a genotype, a file of one, or an id.",
        word="ARCHITECTURE",
    ),
]
Storage = Annotated[str, Says(help="Folder of the runs in which an id is looked for.", unit="DIR")]
_OWN = "of an id its row's, else the space's own number"
_SIZE, _LATENCY = "size of the network", "latency"


def cost(
    space: SpaceWord,
    architecture: ArchitectureWord,
    *,
    channels: Annotated[int | None, Says(help="Channels of the first cell.", group=_SIZE, shown_default=_OWN)] = None,
    cells: Annotated[int | None, Says(help="Number of cells.", group=_SIZE, shown_default=_OWN)] = None,
    input: Annotated[
        str | None,
        Says(
            help="Shape of one input: channels, height and width.",
            group=_SIZE,
            unit="CxHxW",
            shown_default="of an id its row's, else 3x32x32",
        ),
    ] = None,
    classes: Annotated[
        int | None, Says(help="Number of classes.", group=_SIZE, shown_default="of an id its row's, else 10")
    ] = None,
    skeleton: Annotated[
        str | None,
        Says(
            help="Stem and classifier around the cells: cifar or imagenet.",
            group=_SIZE,
            shown_default="imagenet from sides of 128 pixels",
        ),
    ] = None,
    latency_batch: Annotated[
        int | None, Says(help="Examples at once at which the latency (ms) is measured too.", group=_LATENCY)
    ] = None,
    latency_threads: Annotated[
        int | None, Says(help="Number of processor threads.", group=_LATENCY, shown_default="as many as torch uses")
    ] = None,
    latency_device: Annotated[
        str, Says(help="Device; auto is the GPU where there is one, else the processor.", group=_LATENCY)
    ] = "auto",
    storage: Storage = RUNS,
    json: Annotated[bool, Says(help="Print it as JSON.")] = False,
) -> int:
    """Exact multiply-adds (M) and parameters (M) of an architecture, and its measured latency (ms)."""
    from nasray.spaces import CellSpace
    from nasray.sweeps.cost import cost

    found: CellSpace = registry.find("space", space, CellSpace)
    counted = cost(
        found,
        find_architecture(found, architecture, storage),
        channels=channels,
        cells=cells,
        input_shape=None if input is None else shape_of(input),
        classes=classes,
        skeleton=skeleton,
        like=size_of_id(architecture, storage),
        latency_batch=latency_batch,
        latency_threads=latency_threads,
        latency_device=latency_device,
    )
    if json:
        latency = {} if counted.latency is None else {"latency": dataclasses.asdict(counted.latency)}
        figures = {"params": counted.params, "macs": counted.macs, **dataclasses.asdict(counted.size)}
        print(as_json.dumps({"architecture_id": counted.architecture_id, **figures, **latency}))
    else:
        print(counted)
    return 0


def draw(
    space: SpaceWord,
    architecture: ArchitectureWord,
    *,
    out: Annotated[str | None, Says(help="File to write: .png, .svg or .pdf.", unit="FILE")] = None,
    storage: Storage = RUNS,
) -> int:
    """Draw the cells of an architecture."""
    from nasray.pictures.drawing import draw
    from nasray.spaces import CellSpace

    if out is None:
        raise InvalidInput(
            "--out missing: expected a .png, .svg or .pdf file, as in nasray draw darts DARTS_V2 --out cells.png"
        )
    found: CellSpace = registry.find("space", space, CellSpace)
    chosen = find_architecture(found, architecture, storage)
    called = architecture if architecture in found.references else f"architecture {chosen.id}"
    draw(found, chosen, out, title=f"{called} ({found.name})")
    print(f"{len(chosen.cells)} cells of {called}: {out}")
    return 0


def export(
    run: Run,
    which: Annotated[str, Says(help="An architecture's id, or best: the front's most accurate.", word="ID")],
    *,
    out: Annotated[
        str | None,
        Says(help="File to write: .safetensors (weights), .pt2 (torch.export) or .onnx.", unit="FILE"),
    ] = None,
    to: Annotated[
        Literal["safetensors", "pt2", "onnx"] | None,
        Says(help="Form of the file.", shown_default="what its name ends with"),
    ] = None,
    budget: Annotated[float | None, Says(help="Most multiply-adds (M) that best may have.", unit="M")] = None,
    code: Code = (),
) -> int:
    """Write a trained network of a run to a file, for elsewhere."""
    from nasray.results import open as open_run

    if out is None:
        raise InvalidInput(
            "--out missing: expected a .safetensors, .pt2 or .onnx file, as in "
            "nasray export runs/digits best --out digits.onnx"
        )
    path = open_run(str(find_run(run)), code).export(which, out=out, to=to, budget=budget)
    print(f"{path}: {path.stat().st_size / 1e6:.3g} MB")
    return 0
