"""The reduction that stands between stages where no cell is one.

X. Dong, Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020,
arXiv:2001.00326, with the structure of D-X-Y/AutoDL-Projects.
"""

from __future__ import annotations

from torch import Tensor, nn

from nasray.networks.operations import relu_conv_norm


class ResidualReduction(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, each after a ReLU and before a batch normalisation; beside them an
    average pooling and a 1x1 convolution.

    Nothing is chosen in it, and its normalisations are always affine. An odd resolution is rounded up (our choice: the
    published networks know only even ones).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            relu_conv_norm(channels_in, channels_out, affine=True, kernel=3, stride=2),
            relu_conv_norm(channels_out, channels_out, affine=True, kernel=3),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels_in, channels_out, 1, bias=False)
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, ceil(H/2), ceil(W/2))."""
        total: Tensor = self.shortcut(x_NCHW) + self.layers(x_NCHW)
        return total
