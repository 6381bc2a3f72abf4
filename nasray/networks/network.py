"""Supernets and target networks: stacks of cells in a skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray.gates import Gates, Mask, architecture_masks, candidate_mask
from nasray.networks.blocks import BLOCK_SKELETONS, Block, initialise
from nasray.networks.cell import Cell
from nasray.networks.needs import Needs
from nasray.networks.recomputation import recomputed
from nasray.networks.residual import ResidualReduction
from nasray.networks.skeletons import SKELETONS, SUM_SKELETONS, skeleton
from nasray.spaces import Architecture, CellSpace, NetworkSize, Normalisation

Batch = tuple[Tensor, Tensor]
"""What networks are trained on and judged by: (inputs, targets), on their device."""


class Network(nn.Module):
    """A stack of cells between a stem and a classifier (methods.md 0.4).

    Made by :func:`supernet`, where it holds every candidate operation, or by :func:`target_network`, where it
    holds those of one architecture.
    """

    def __init__(
        self,
        space: CellSpace,
        size: NetworkSize,
        present: Sequence[Mask],
        normalisation: Normalisation,
        auxiliary: bool,
        needs: Needs,
    ) -> None:
        super().__init__()
        graphs = [space.cells[kind] for kind in space.kinds(size.cells)]
        in_blocks = any(graph.node_operations for graph in graphs)
        of_sums = all(graph.output == "sum" for graph in graphs)
        frame = skeleton(size, BLOCK_SKELETONS if in_blocks else SUM_SKELETONS if of_sums else SKELETONS)
        self.drop_path = 0.0
        """Probability with which drop path zeroes an operation's output, in training."""
        self.dropout = 0.0
        """Probability with which a feature is zeroed before the classifier, in training."""
        self.precision: torch.dtype | None = None
        """Type of 16 bits in which it computes, by torch's autocast, normalisations apart; None is its weights' own."""
        self.recompute_cells = False
        """Whether only what enters a cell is kept for its gradients, in training."""
        self.stem = frame.stem(size)
        before = self.stem.channels
        after_reduction = frame.after_reduction
        self.cells = nn.ModuleList()
        self.reductions = nn.ModuleDict()
        """Those without a choice, by the position of the cell that follows."""
        self.auxiliary: nn.Module | None = None
        widths, fixed = space.widths(size.cells), space.fixed_reductions(size.cells)
        widened = [position for position in range(1, size.cells) if widths[position] > widths[position - 1]]
        self._auxiliary_position = widened[-1] if widened else 2 * size.cells // 3
        cell: Cell | Block
        for position, (graph, width) in enumerate(zip(graphs, widths, strict=True)):
            channels = size.channels * width
            if position in fixed:
                self.reductions[str(position)] = ResidualReduction(before[1], channels)
                before = (before[1], channels)
            if graph.node_operations:
                depth = (position + 1) / size.cells
                cell = Block(graph, present[position], before[1], channels, after_reduction, normalisation, depth)
            else:
                cell = Cell(graph, present[position], channels, before, after_reduction, normalisation, needs)
            self.cells.append(cell)
            before = (before[1], cell.channels_out)
            after_reduction = graph.stride > 1
            if auxiliary and position == self._auxiliary_position:
                self.auxiliary = frame.auxiliary(before[1], size.classes)
        self.final = frame.final(before[1])
        self.classifier = nn.Linear(before[1], size.classes)
        if in_blocks:
            self.apply(initialise)
        self.to(memory_format=torch.channels_last)

    def forward(self, x_NCHW: Tensor, gates: Sequence[Gates] | None = None) -> Tensor:
        """Logits (N, classes).

        Args:
            x_NCHW: images.
            gates: one for each cell position; None sums every operation that the network holds.
        """
        return self._run(x_NCHW, gates, with_auxiliary=False)[0]

    def forward_with_auxiliary(
        self, x_NCHW: Tensor, gates: Sequence[Gates] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of the classifier and of the auxiliary head, None where there is no such head."""
        return self._run(x_NCHW, gates, with_auxiliary=True)

    def _run(self, x: Tensor, gates: Sequence[Gates] | None, with_auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        if self.precision is None:
            return self._computed(x, gates, with_auxiliary)
        with torch.autocast(x.device.type, self.precision):
            logits, auxiliary_logits = self._computed(x, gates, with_auxiliary)
        return logits.float(), None if auxiliary_logits is None else auxiliary_logits.float()

    def _computed(self, x: Tensor, gates: Sequence[Gates] | None, with_auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        auxiliary_logits = None
        keeps_little = self.recompute_cells and self.training and torch.is_grad_enabled()
        before_last, last = self.stem(x)
        for position, cell in enumerate(self.cells):
            if str(position) in self.reductions:
                last = self.reductions[str(position)](last)
            arguments = (before_last, last), None if gates is None else gates[position], self.drop_path
            output = recomputed(cell, *arguments, draws=self.drop_path > 0) if keeps_little else cell(*arguments)
            before_last, last = last, output
            if with_auxiliary and self.auxiliary is not None and position == self._auxiliary_position:
                auxiliary_logits = self.auxiliary(last)
        features_NC = F.dropout(self.final(last).mean(dim=(2, 3)), self.dropout, self.training)
        return self.classifier(features_NC), auxiliary_logits


def supernet(space: CellSpace, size: NetworkSize, auxiliary: bool = False, needs: Needs | None = None) -> Network:
    """The network that holds every candidate operation of a space, normalised as in its papers' searches.

    Raises:
        InvalidInput: the channels do not divide into the fractions that are asked for.
    """
    masks = [candidate_mask(space.cells[kind]) for kind in space.kinds(size.cells)]
    needs = needs or Needs()
    return Network(space, size, masks, needs.normalisation or space.search_normalisation, auxiliary, needs)


def target_network(
    space: CellSpace,
    architecture: Architecture,
    size: NetworkSize,
    auxiliary: bool = False,
    normalisation: Normalisation | None = None,
) -> Network:
    """The network of one architecture at a size, as it is trained from scratch.

    Args:
        space: of the architecture.
        architecture: whose operations it holds.
        size: how large it is.
        auxiliary: whether it has an auxiliary head.
        normalisation: where its cells normalise; None is as the space does in evaluations.

    Raises:
        InvalidInput: the architecture fixes another number of cells.
    """
    masks = architecture_masks(space, architecture, size.cells)
    return Network(space, size, masks, normalisation or space.evaluation_normalisation, auxiliary, Needs())
