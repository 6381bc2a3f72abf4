"""The accelerated proximal gradient step of DSO-NAS.

X. Zhang, Z. Huang, N. Wang, arXiv:1811.01567, eqs. 6 to 8, after Z. Huang, N. Wang, "Data-Driven Sparse Structure
Selection for Deep Neural Networks", ECCV 2018, arXiv:1707.01213: accelerated proximal gradient written as a
momentum method, so that one gradient a step is enough.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_threshold(z: Tensor, amount: Tensor | float) -> Tensor:
    """S_a(z) = sign(z) (|z| - a)_+, the proximal operator of a |z|; exactly zero where |z| <= a."""
    return z.sign() * (z.abs() - amount).clamp(min=0.0)


def apg_nag_step(
    factors: Tensor,
    velocity: Tensor,
    gradient: Tensor,
    *,
    learning_rate: float,
    strength: Tensor | float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """One step on a smooth loss plus ``strength`` times the L1 norm.

        z_t      = factors_{t-1} - eta gradient                                   (eq. 6)
        v_t      = S_{eta strength}(z_t) - factors_{t-1} + momentum v_{t-1}       (eq. 7)
        factors_t = S_{eta strength}(z_t) + momentum v_t                          (eq. 8)

    Returns:
        The factors and the velocity after the step. A factor that the proximal operator holds at zero for two steps
        is exactly zero: its velocity is the difference of two proximal points.
    """
    proximal = soft_threshold(factors - learning_rate * gradient, learning_rate * strength)
    velocity = proximal - factors + momentum * velocity
    return torch.add(proximal, velocity, alpha=momentum), velocity
