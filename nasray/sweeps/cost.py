"""What one architecture costs, as people ask for it by names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nasray import registry
from nasray.costs import Latency, architecture_latency, macs, params
from nasray.errors import InvalidInput
from nasray.spaces import Architecture, CellSpace, NetworkSize, architecture_of_value
from nasray.training.measure import pick_device

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an architecture costs at a size."""

    macs: float
    """Multiply-adds (M)."""
    params: float
    """Parameters (M)."""
    size: NetworkSize
    """At which they are counted."""
    architecture_id: str
    latency: Latency | None = None
    """Measured, where that was asked for (ms)."""

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.size.input_shape))
        line = (
            f"{_millions(self.params, 4)} parameters, {_millions(self.macs, 2)} multiply-adds "
            f"({self.size.channels} channels, {self.size.cells} cells, input {shape}, {self.size.classes} classes)"
        )
        one = self.latency
        if one is None:
            return line
        return (
            f"{line}\nlatency {one.median_ms:.4g} ms, quartiles {one.low_ms:.4g} and {one.high_ms:.4g} ms: "
            f"{one.repeats} runs, batch {one.batch}, {one.threads} thread{'s' * (one.threads > 1)}, {one.device}"
        )


def cost(
    space: str | CellSpace,
    architecture: str | Architecture | Mapping[str, Any] | pd.Series[Any],
    *,
    channels: int | None = None,
    cells: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    skeleton: str | None = None,
    like: NetworkSize | None = None,
    latency_batch: int | None = None,
    latency_threads: int | None = None,
    latency_device: str = "auto",
) -> Cost:
    """Count the multiply-adds and parameters of an architecture, exactly.

    Args:
        space: a search space, by its name or itself.
        architecture: one of that space: itself, a row of a table, the name of a published one, JSON, a genotype or a
            string.
        channels: of the first cell; None means that of ``like``.
        cells: their number; None means that of ``like``.
        input_shape: of one input, (channels, height, width); None means that of ``like``.
        classes: their number; None means that of ``like``.
        skeleton: stem and classifier around the cells, ``cifar`` or ``imagenet``; None means that of ``like`` where
            the input is its own too, else it follows the input.
        like: the size that holds where nothing else is given; None is the space's own for CIFAR-10.
        latency_batch: examples at once at which the latency is measured too; None measures none.
        latency_threads: CPU threads of that; None means as many as torch uses.
        latency_device: ``auto`` is the GPU where there is one, else the processor.

    Raises:
        InvalidInput: there is no such space or architecture, or a size that the architecture cannot have.
    """
    if latency_batch is None and (latency_threads is not None or latency_device != "auto"):
        raise InvalidInput("latency without a batch: give latency_batch (--latency-batch 1), or nothing of the latency")
    found: CellSpace = registry.find("space", space, CellSpace) if isinstance(space, str) else space
    chosen = architecture_of_value(found, architecture)
    own_cells = len(chosen.cells) if found.cell_per_position else found.evaluation_cells
    size = like or NetworkSize(channels=found.evaluation_channels, cells=own_cells, input_shape=(3, 32, 32), classes=10)
    if input_shape is not None:
        size = size.replace(input_shape=tuple(input_shape), skeleton="auto")
    given = {"channels": channels, "cells": cells, "classes": classes, "skeleton": skeleton}
    size = size.replace(**{name: value for name, value in given.items() if value is not None})
    counted = {"params": params(found, chosen, size), "macs": macs(found, chosen, size)}
    latency = None
    if latency_batch is not None:
        latency = architecture_latency(
            found, chosen, size, batch=latency_batch, threads=latency_threads, device=pick_device(latency_device)
        )
    return Cost(**counted, size=size, architecture_id=chosen.id, latency=latency)


def _millions(value: float, digits: int) -> str:
    return f"{value:.{digits}f} M" if value >= 1 else f"{value:.{digits + 2}f} M"
