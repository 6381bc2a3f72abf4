"""A network that takes images as files hold them: bytes, which it normalises itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasray.networks import Network
from nasray.networks.saved import Data


class FromPixels(nn.Module):
    """A trained network behind the normalisation of its dataset.

    Args:
        network: in evaluation mode.
        data: what it was trained on, with the mean and standard deviation of its pixels.
    """

    def __init__(self, network: Network, data: Data) -> None:
        super().__init__()
        assert data.mean is not None
        assert data.std is not None
        self.network = network
        # As training normalises: computed in double precision, then applied in single.
        for name, values in (("mean", data.mean), ("std", data.std)):
            moments = 255 * torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)
            self.register_buffer(name, moments.to(torch.float32))
        self.eval()

    mean: Tensor
    """Of the pixels of each channel, from 0 to 255 (1, C, 1, 1)."""
    std: Tensor
    """Standard deviation of the pixels of each channel (1, C, 1, 1)."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of uint8 images (N, C, H, W)."""
        logits: Tensor = self.network((images.to(torch.float32) - self.mean) / self.std)
        return logits
