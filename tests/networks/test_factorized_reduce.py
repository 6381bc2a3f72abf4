"""The reduction by two strided convolutions, against the strided convolutions that it is made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nasray.networks.operations import FactorizedReduce


def test_slicing_is_the_published_strided_convolution_and_gradient() -> None:
    torch.manual_seed(0)
    module = FactorizedReduce(6, 5, affine=True).double()
    assert module.first is not None
    x = torch.randn(3, 6, 8, 8, dtype=torch.float64, requires_grad=True)
    halves = [F.conv2d(x, module.first.weight, stride=2), F.conv2d(x[:, :, 1:, 1:], module.second.weight, stride=2)]
    published = F.batch_norm(torch.cat(halves, 1), None, None, module.norm.weight, module.norm.bias, training=True)
    ours = module(x)
    torch.testing.assert_close(ours, published, rtol=0, atol=1e-12)
    upstream = torch.randn_like(ours)
    inputs = [x, *module.parameters()]
    for one, other in zip(
        torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(published, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
