"""A space so small that searchers come back to what they proposed before."""

from __future__ import annotations

from nasray.spaces import CellGraph, CellSpace
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201, OPERATIONS


def five_cells() -> CellSpace:
    """NAS-Bench-201's networks with cells of one edge: as many architectures as operations, five."""
    graph = CellGraph(inputs=1, nodes=1, operations=OPERATIONS, none="none", one_per_edge=True, output="sum")
    fields = {name: getattr(NAS_BENCH_201, name) for name in NAS_BENCH_201.__dataclass_fields__}
    return CellSpace(**{**fields, "name": "five", "cells": {"normal": graph}})
