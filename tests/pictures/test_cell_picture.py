"""Pictures of cells: every connection can be followed, texts lie apart by matplotlib's own measure."""

from __future__ import annotations

import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nasray.errors import InvalidInput
from nasray.pictures import cell_picture, draw_cells
from nasray.pictures.cell_layout import CellLayout, Key, lay_out
from nasray.pictures.cell_picture import cell_figure
from nasray.spaces import Architecture, CellGraph, CellSpace, Choice, Normalisation, from_genotype, live
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.dso import DSO, DSO_FULL
from search_spaces.architectures.gold import GOLD

NORMALISATION = Normalisation(affine=True, after_pool=True, after_identity=False)
ODD = CellSpace(
    name="odd",
    cells={
        "cell": CellGraph(
            inputs=1,
            nodes=2,
            operations=("a_very_long_name_of_an_operation_$with_signs$_5x5", "x", "none"),
            none="none",
        )
    },
    search_channels=1,
    search_cells=1,
    evaluation_channels=1,
    evaluation_cells=1,
    search_normalisation=NORMALISATION,
    evaluation_normalisation=NORMALISATION,
)


def published(space: CellSpace, name: str) -> Architecture:
    return from_genotype(space, space.references[name].genotype)


def random_architecture(space: CellSpace, cells: int, seed: int, share: float) -> Architecture:
    generator = np.random.default_rng(seed)
    chosen: dict[str, list[Choice]] = {}
    for name in space.layout(cells) if space.cell_per_position else space.cells:
        graph = space.graph(name)
        entered: set[int] = set()
        while name not in chosen or not set(graph.required) <= entered:
            mask = generator.random((len(graph.edges), len(graph.operations))) < share
            if graph.none:
                mask[:, graph.operation_index[graph.none]] = False
            chosen[name] = [(*graph.edges[e], graph.operations[o]) for e, o in np.argwhere(live(graph, mask))]
            entered = {target for _, target, _ in chosen[name]}
    return Architecture.of(space, chosen)


ARCHITECTURES = [
    *((DARTS, published(DARTS, name)) for name in DARTS.references),
    (GOLD, published(GOLD, "GOLD_s1")),
    *((DARTS, random_architecture(DARTS, 0, seed, 0.4)) for seed in range(3)),
    *((GOLD, random_architecture(GOLD, 3, seed, 0.6)) for seed in range(2)),
    *((DSO, random_architecture(DSO, 0, seed, share)) for seed, share in enumerate((0.1, 0.3, 0.6, 1.0))),
    (DSO_FULL, random_architecture(DSO_FULL, 5, 0, 0.2)),
    (ODD, random_architecture(ODD, 0, 0, 1.0)),
]


def layouts(space: CellSpace, architecture: Architecture) -> list[CellLayout]:
    return [
        lay_out(n, space.graph(n), choices, lambda text: len(text) / 12) for n, choices in architecture.cells.items()
    ]


def followed(cell: CellLayout, start: Key, chosen: bool) -> set[Key]:
    """The boxes that lines from a box lead to, as an eye would follow them: through empty places only."""
    found, ways = set(), [line.end for line in cell.lines if line.start == start and line.chosen == chosen]
    while ways:
        key = ways.pop()
        if key in cell.items:
            found.add(key)
        else:
            ways += [line.end for line in cell.lines if line.start == key and line.chosen == chosen]
    return found


@pytest.mark.parametrize(
    ("space", "architecture"), ARCHITECTURES, ids=lambda one: getattr(one, "id", one.__class__.__name__)
)
def test_lines_lead_where_the_architecture_says(space: CellSpace, architecture: Architecture) -> None:
    for cell, choices in zip(layouts(space, architecture), architecture.cells.values(), strict=True):
        graph = space.graph(cell.name)
        seen = set()
        for key in cell.items:
            for other in followed(cell, key, chosen=True):
                if graph.node_operations:
                    seen.add((key[1], other[1], graph.operations[0]))
                elif other[0] == "operations":
                    # The box of an edge's operations is entered from its source, and left to its target.
                    assert key == ("node", other[1])
                    assert followed(cell, other, chosen=True) == {("node", other[2])}
                    seen |= {(other[1], other[2], operation) for operation in cell.items[other].operations}
        assert seen == set(choices)
        fixed = {(key, other) for key in cell.items for other in followed(cell, key, chosen=False)}
        if graph.output == "concatenation":
            assert fixed == {(("node", node), ("output",)) for node in graph.targets}
        elif graph.output == "residual":
            assert fixed == {(("node", 0), ("node", graph.outputs[0]))}
        else:
            assert not fixed


@pytest.mark.parametrize(
    ("space", "architecture"), ARCHITECTURES, ids=lambda one: getattr(one, "id", one.__class__.__name__)
)
def test_texts_lie_apart_and_inside(space: CellSpace, architecture: Architecture) -> None:
    figure = cell_figure(space, architecture, title="of a picture")
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    extents = {text: text.get_window_extent(renderer) for text in axes.texts}
    high, wide = figure.get_size_inches()[::-1] * figure.dpi
    for text, extent in extents.items():
        assert 0 <= extent.x0 < extent.x1 <= wide, text.get_text()
        assert 0 <= extent.y0 < extent.y1 <= high, text.get_text()
    for (one, a), (other, b) in itertools.combinations(extents.items(), 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, (one.get_text(), other.get_text())
    shown = " ".join(text.get_text() for text in axes.texts)
    for name, choices in architecture.cells.items():
        graph = space.graph(name)
        assert name in shown
        for operation in {o for *_, o in choices} if not graph.node_operations else ():
            assert operation in shown


def test_no_line_bends_where_boxes_stand() -> None:
    # Bends lie in the gaps between columns; there are boxes in columns alone.
    for space, architecture in ARCHITECTURES:
        for cell in layouts(space, architecture):
            for line in cell.lines:
                gap = cell.places[line.start].right, cell.places[line.end].left
                assert gap[0] < gap[1]
                for key, item in cell.items.items():
                    left, right = cell.places[key].x - item.width / 2, cell.places[key].x + item.width / 2
                    assert right <= gap[0] + 1e-9 or left >= gap[1] - 1e-9


def test_the_same_operation_has_one_colour_in_every_picture_of_a_space() -> None:
    def faces(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        (axes,) = cell_figure(DARTS, published(DARTS, name)).axes
        boxes = [patch for patch in axes.patches if type(patch).__name__ == "FancyBboxPatch"]
        for text in axes.texts:
            at = text.get_position()
            for box in boxes:
                x0, y0, width, height = box.get_x(), box.get_y(), box.get_width(), box.get_height()
                if x0 < at[0] < x0 + width and y0 < at[1] < y0 + height:
                    found.setdefault(text.get_text(), set()).add(str(box.get_facecolor()))
        return found

    one, other = faces("DARTS_V2"), faces("PC_DARTS_cifar")
    shared = {"sep_conv_3x3", "skip_connect", "max_pool_3x3", "dil_conv_3x3"}
    assert shared <= one.keys() & other.keys()
    assert all(len(one[name]) == 1 and one[name] == other[name] for name in shared)
    assert len({face for name in shared for face in one[name]}) == len(shared)


@pytest.mark.parametrize(("ending", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_ending_chooses_the_format(tmp_path: Path, ending: str, begin: bytes) -> None:
    path = tmp_path / "new" / f"cells.{ending}"
    draw_cells(DARTS, published(DARTS, "DARTS_V2"), path, title="DARTS_V2")
    assert path.read_bytes().startswith(begin)
    if ending == "svg":
        # Text lies in the SVG as comments beside its outlines.
        ElementTree.parse(path)
        assert path.read_text().count("<!-- sep_conv_3x3 -->") == 5
    with pytest.raises(InvalidInput, match=r"\.png, \.svg, \.pdf"):
        draw_cells(DARTS, published(DARTS, "DARTS_V2"), tmp_path / "cells.bmp")


def test_a_block_of_which_nothing_is_left_is_its_input() -> None:
    chain: list[Choice] = [(0, 1, "connect"), (1, 3, "connect")]
    names = DSO_FULL.layout(5)
    nothing = Architecture.of(DSO_FULL, {name: chain if name.startswith("reduce") else [] for name in names})
    cell = layouts(DSO_FULL, nothing)[0]
    assert [(line.start, line.end, line.chosen) for line in cell.lines] == [(("node", 0), ("node", 17), False)]
    assert cell_picture(DSO_FULL, nothing).startswith(b"\x89PNG")


def test_drawing_needs_no_torch_and_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from nasray.cli import main\n"
        f"assert main(['draw', 'darts', 'DARTS_V2', '--out', {str(tmp_path / 'a.png')!r}]) == 0\n"
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
