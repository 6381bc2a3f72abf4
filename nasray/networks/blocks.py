"""Networks of blocks: cells whose nodes carry operations, and what surrounds them.

X. Zhang, Z. Huang, N. Wang, "You Only Search Once: Single Shot Neural Architecture Search via Direct Sparse
Optimization", arXiv:1811.01567, with the structure of XinbangZhang/DSO-NAS. methods.md 5.1 and 5.4.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask
from nasray.networks.cell import drop_path
from nasray.networks.skeletons import AuxiliaryHead, Skeleton, Stem, final_norm
from nasray.spaces import CellGraph, NetworkSize, Normalisation, live

NodeBuilder = Callable[[int, int, int, Normalisation], nn.Sequential]
"""(channels in, channels out, stride, normalisation) to the operation of a node."""


class ShiftNorm(nn.BatchNorm2d):
    """Batch normalisation that learns its shift only: its scale is 1.

    So what a connection carries is scaled in one place, by its gate.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        del self.weight
        self.register_buffer("weight", torch.ones(channels))


class Subsample(nn.Module):
    """Every second pixel, or every stride-th: all that a strided 1x1 convolution sees.

    Taken before the convolution, because oneDNN's strided 1x1 convolution of fewer than 16 channels in
    channels_last writes past its memory (uxlfoundation/oneDNN issue 6035).
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, ceil(H/stride), ceil(W/stride))."""
        return x_NCHW[:, :, :: self.stride, :: self.stride]


def _norm_relu(channels: int, normalisation: Normalisation) -> list[nn.Module]:
    if normalisation.affine and not normalisation.scale:
        return [ShiftNorm(channels), nn.ReLU()]
    return [nn.BatchNorm2d(channels, affine=normalisation.affine), nn.ReLU()]


def _conv_1x1(channels_in: int, channels_out: int, stride: int, normalisation: Normalisation) -> nn.Sequential:
    return nn.Sequential(
        Subsample(stride),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        *_norm_relu(channels_out, normalisation),
    )


def _conv_3x3(channels_in: int, channels_out: int, stride: int, normalisation: Normalisation) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        *_norm_relu(channels_out, normalisation),
    )


def _separable(kernel: int) -> NodeBuilder:
    def build(channels_in: int, channels_out: int, stride: int, normalisation: Normalisation) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels_in, channels_in, kernel, stride, kernel // 2, groups=channels_in, bias=False),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            *_norm_relu(channels_out, normalisation),
        )

    return build


def _pool(module: Callable[[int], nn.Module]) -> NodeBuilder:
    def build(channels_in: int, channels_out: int, stride: int, normalisation: Normalisation) -> nn.Sequential:
        if channels_in != channels_out:
            raise InvalidInput(f"pooling from {channels_in} to {channels_out} channels: expected as many out as in")
        after = _norm_relu(channels_out, normalisation) if normalisation.after_pool else [nn.ReLU()]
        return nn.Sequential(module(stride), *after)

    return build


_BUILDERS: dict[str, NodeBuilder] = {
    "conv_1x1": _conv_1x1,
    "conv_3x3": _conv_3x3,
    "sep_3x3": _separable(3),
    "sep_5x5": _separable(5),
    "max_pool_3x3": _pool(lambda stride: nn.MaxPool2d(3, stride, padding=1)),
    "avg_pool_3x3": _pool(lambda stride: nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)),
}


def build_node_operation(
    name: str, channels_in: int, channels_out: int, stride: int, normalisation: Normalisation
) -> nn.Sequential:
    """The operation of a node by its name: convolution or pooling, batch normalisation, ReLU.

    A separable convolution is one depthwise and one pointwise convolution, not repeated as in the DARTS space.

    Raises:
        InvalidInput: there is no such operation, or it cannot change the number of channels.
    """
    if name not in _BUILDERS:
        raise InvalidInput(f"operation {name!r} of a node: expected one of {', '.join(_BUILDERS)}")
    return _BUILDERS[name](channels_in, channels_out, stride, normalisation)


class Block(nn.Module):
    """The operations and connections of a graph that a mask names.

    A node applies its operation to the sum of what its connections bring; it is computed only where it lies
    between the input and the output. The output is the plain sum of what enters it, or a residual: the 1x1
    convolution of the concatenation of all that enters it (written here as a sum, one convolution a connection),
    batch normalisation, ReLU, plus a shortcut. Where nothing enters a residual, the block is its shortcut.

    Args:
        channels_before: channels of the input.
        channels: of every node.
        first_of_stage: whether the shortcut is a 1x1 convolution with batch normalisation and ReLU; it is the
            input elsewhere.
        depth: share of the network's depth at which the block stands: paths drop more often in later ones.
    """

    def __init__(
        self,
        graph: CellGraph,
        present_EO: Mask,
        channels_before: int,
        channels: int,
        first_of_stage: bool,
        normalisation: Normalisation,
        depth: float,
    ) -> None:
        super().__init__()
        self.graph = graph
        self.channels_out = channels
        self._present_EO = present_EO
        self._depth = depth
        (self._output,) = graph.outputs
        residual = graph.output == "residual"
        self.operations = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        for node, name in zip(graph.targets, graph.node_operations, strict=False):
            sources = [graph.edges[e][0] for e in graph.incoming[node]]
            if present_EO[list(graph.incoming[node])].any():
                before = channels_before if 0 in sources else channels
                self.operations[str(node)] = build_node_operation(
                    name, before, channels, graph.node_stride(node), normalisation
                )
        for edge in graph.incoming[self._output]:
            if residual and present_EO[edge].any():
                self.projections[str(graph.edges[edge][0])] = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels) if self.projections else None
        self.shortcut: nn.Module | None = None
        if residual and first_of_stage:
            self.shortcut = _conv_1x1(channels_before, channels, 1, normalisation)

    def forward(
        self, inputs: tuple[Tensor, Tensor], gates: Gates | None = None, drop_probability: float = 0.0
    ) -> Tensor:
        """The output, NCHW.

        Args:
            inputs: the block reads the last.
            gates: of this position; None sums the connections plainly.
            drop_probability: of drop path at full depth, in training only. Dropped are the 1x1 convolutions at the
                output, and connections into nodes that have others (released code).
        """
        x = inputs[-1]
        active = live(self.graph, self._present_EO if gates is None else gates.active_EO)[:, 0].tolist()
        values = None if gates is None else gates.values_EO[:, 0].unbind()
        drops = self.training and drop_probability > 0.0 and self.graph.output == "residual"
        states = {0: x}
        for node in self.graph.targets:
            edges = [edge for edge in self.graph.incoming[node] if active[edge]]
            total: Tensor | None = None
            for edge in edges:
                source = self.graph.edges[edge][0]
                y = states[source]
                if node == self._output and self.projections:
                    y = self.projections[str(source)](y)
                if drops and (node == self._output or len(edges) > 1):
                    y = drop_path(y, drop_probability * self._depth)
                if values is None:
                    total = y if total is None else total + y
                else:
                    total = y * values[edge] if total is None else torch.addcmul(total, y, values[edge])
            if total is not None:
                states[node] = total if node == self._output else self.operations[str(node)](total)
        if self.graph.output == "sum":
            return states[self._output] if self._output in states else self._nothing(x)
        shortcut = x if self.shortcut is None else self.shortcut(x)
        if self.norm is None or self._output not in states:
            return shortcut
        return shortcut + torch.relu(self.norm(states[self._output]))

    def _nothing(self, x: Tensor) -> Tensor:
        # No architecture leaves a sum without anything, but the network without any operation is costed too.
        height, width = (-(-length // self.graph.stride) for length in x.shape[2:])
        return x.new_zeros((x.shape[0], self.channels_out, height, width))


def initialise(module: nn.Module) -> None:
    """Draw a layer's weights: Xavier Gaussian by fan-out for convolutions, N(0, 0.01) for classifiers."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def _norm_relu_auxiliary(stride: int) -> Callable[[int, int], nn.Module]:
    return lambda channels, classes: nn.Sequential(
        nn.BatchNorm2d(channels), AuxiliaryHead(channels, classes, stride, second_norm=True)
    )


class BlockStem(Stem):
    """3x3 convolutions, each with batch normalisation and ReLU; the last gives the channels of the first block.

    Small images: one of them. 224x224: two of stride 2, the first to half the channels.
    """

    def __init__(self, size: NetworkSize, halvings: int) -> None:
        super().__init__()
        widths = [size.input_shape[0]] + [max(size.channels // 2, 1)] * (halvings - 1) + [size.channels]
        stride = 2 if halvings else 1
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.channels = (size.channels, size.channels)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The input of the first block, twice."""
        x = self.layers(x_NCHW)
        return x, x


BLOCK_SKELETONS = {
    "cifar": Skeleton(lambda size: BlockStem(size, 0), True, _norm_relu_auxiliary(3), final_norm),
    "imagenet": Skeleton(lambda size: BlockStem(size, 2), True, _norm_relu_auxiliary(2), final_norm),
}
