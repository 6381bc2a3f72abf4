from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.networks import supernet
from nasray.networks.operations import FactorizedReduce, build_operation, relu_conv_norm
from nasray.spaces import NetworkSize, Normalisation
from search_spaces.architectures.darts import DARTS

EVALUATION = Normalisation(affine=True, after_pool=False, after_identity=False)
SEARCH = Normalisation(affine=False, after_pool=True, after_identity=False)
GOLD = Normalisation(affine=False, after_pool=True, after_identity=True)
C = 6


def conv(k: int, stride: int = 1, dilation: int = 1, depthwise: bool = True) -> nn.Conv2d:
    return nn.Conv2d(C, C, k, stride, dilation * (k // 2), dilation=dilation, groups=C if depthwise else 1, bias=False)


def norm(affine: bool) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(C, affine=affine)


def sep(k: int, s: int, affine: bool) -> list[nn.Module]:
    first = [nn.ReLU(), conv(k, s), conv(1, depthwise=False), norm(affine)]
    return [*first, nn.ReLU(), conv(k), conv(1, depthwise=False), norm(affine)]


def dil(k: int, s: int, affine: bool) -> list[nn.Module]:
    return [nn.ReLU(), conv(k, s, 2), conv(1, depthwise=False), norm(affine)]


class Shifted(nn.Module):
    """FactorizedReduce as it was published, for even resolutions."""

    def __init__(self, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(C, C // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(C, C // 2, 1, stride=2, bias=False)
        self.bn = norm(affine)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        result: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1))
        return result


# methods.md 0.2, with its leading ReLU: (stride, affine) to the modules.
PUBLISHED: dict[str, Callable[[int, bool], list[nn.Module]]] = {
    "max_pool_3x3": lambda s, a: [nn.MaxPool2d(3, s, 1)],
    "avg_pool_3x3": lambda s, a: [nn.AvgPool2d(3, s, 1, count_include_pad=False)],
    "skip_connect": lambda s, a: [nn.Identity()] if s == 1 else [Shifted(a)],
    "sep_conv_3x3": lambda s, a: sep(3, s, a),
    "sep_conv_5x5": lambda s, a: sep(5, s, a),
    "sep_conv_7x7": lambda s, a: sep(7, s, a),
    "dil_conv_3x3": lambda s, a: dil(3, s, a),
    "dil_conv_5x5": lambda s, a: dil(5, s, a),
}


def randomised(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double().train()


@pytest.mark.parametrize("normalisation", [EVALUATION, SEARCH, GOLD], ids=["evaluation", "search", "gold"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", PUBLISHED)
def test_operations_are_the_published_ones(name: str, stride: int, normalisation: Normalisation):
    torch.manual_seed(0)
    modules = PUBLISHED[name](stride, normalisation.affine)
    if ("pool" in name and normalisation.after_pool) or (
        name == "skip_connect" and stride == 1 and normalisation.after_identity
    ):
        modules.append(norm(normalisation.affine))
    published = randomised(nn.Sequential(*modules))
    ours = build_operation(name, C, stride, normalisation).double().train()
    assert [p.shape for p in ours.parameters()] == [p.shape for p in published.parameters()]
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), published.parameters(), strict=True):
            mine.copy_(theirs)
    for size in (8, 7) if name != "skip_connect" or stride == 1 else (8,):
        x = torch.randn(3, C, size, size, dtype=torch.float64)
        y = ours(F.relu(x) if ours.activated else x)
        torch.testing.assert_close(y, published(x), rtol=1e-10, atol=1e-10)
        assert y.shape[-1] == -(-size // stride)
    # Evaluation mode: the running statistics have seen the same batches.
    torch.testing.assert_close(
        ours.eval()(F.relu(x) if ours.activated else x), published.eval()(x), rtol=1e-10, atol=1e-10
    )
    assert ours.is_identity == (name == "skip_connect" and stride == 1)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 9), (7, 8), (6, 5), (1, 1)])
@pytest.mark.parametrize("channels", [(C, 8), (C, 5), (3, 1)])
def test_factorized_reduce_at_any_resolution(height: int, width: int, channels: tuple[int, int]):
    reduce = randomised(FactorizedReduce(*channels, affine=True)).eval()
    x = torch.randn(2, channels[0], height, width, dtype=torch.float64)
    y = reduce(x)
    rows, columns = -(-height // 2), -(-width // 2)
    assert y.shape == (2, channels[1], rows, columns)
    # Pixel by pixel: even ones for the first half of the channels, odd ones, or zeros beyond the border, for the rest.
    slow = torch.zeros_like(y)
    half = channels[1] // 2
    for r in range(rows):
        for c in range(columns):
            if half:
                slow[:, :half, r, c] = x[:, :, 2 * r, 2 * c] @ reduce.first.weight[:, :, 0, 0].T
            if 2 * r + 1 < height and 2 * c + 1 < width:
                slow[:, half:, r, c] = x[:, :, 2 * r + 1, 2 * c + 1] @ reduce.second.weight[:, :, 0, 0].T
    scale = reduce.norm.weight / math.sqrt(1 + reduce.norm.eps)
    torch.testing.assert_close(
        y, slow * scale.view(1, -1, 1, 1) + reduce.norm.bias.view(1, -1, 1, 1), rtol=1e-8, atol=1e-8
    )


def test_preprocessing_is_relu_convolution_and_normalisation():
    ours = randomised(relu_conv_norm(5, C, affine=True))
    theirs = nn.Sequential(nn.ReLU(), nn.Conv2d(5, C, 1, bias=False), nn.BatchNorm2d(C)).double()
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine)
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_no_pointwise_convolution_has_a_stride():
    # oneDNN's gradient of it writes past its workspace (uxlfoundation/oneDNN#6035): with few channels the process ends.
    for skeleton, pixels in (("cifar", 32), ("imagenet", 224)):
        size = NetworkSize(channels=2, cells=6, input_shape=(3, pixels, pixels), classes=10, skeleton=skeleton)
        with torch.device("meta"):
            network = supernet(DARTS, size, auxiliary=True)
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
        assert convolutions
        assert all(m.stride == (1, 1) for m in convolutions)


def test_an_unknown_operation_is_named():
    with pytest.raises(InvalidInput, match=r"^unknown operation 'conv_9x9'"):
        build_operation("conv_9x9", C, 1, SEARCH)


def test_a_users_operation_comes_from_a_file(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n"
        "from nasray.networks.operations import Operation\n"
        "def conv(channels, stride, normalisation):\n"
        "    return Operation.of(nn.Conv2d(channels, channels, 3, stride, 1), activated=True)\n"
    )
    operation = build_operation(f"{file}:conv", C, 2, SEARCH)
    assert operation.activated
    assert operation(torch.zeros(1, C, 8, 8)).shape == (1, C, 4, 4)
