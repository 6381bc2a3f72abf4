"""The LASSO, for several problems at once.

FISTA: A. Beck, M. Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems", SIAM
Journal on Imaging Sciences 2(1), 2009. Its momentum is dropped where it climbs, as in B. O'Donoghue, E. Candès,
"Adaptive Restart for Accelerated Gradient Schemes", Foundations of Computational Mathematics 15, 2015; and the problem
is solved for ever smaller gamma, each from the last one's solution, as in E. Hale, W. Yin, Y. Zhang, "Fixed-Point
Continuation for l1-Minimization", SIAM Journal on Optimization 19(3), 2008.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RELATIVE_GAP = 1e-8
"""Share of the objective that the duality gap of a solution may be."""

_CONTINUATION = 0.5
"""Ratio of one gamma to the next larger."""
_LOOK_EVERY = 50
"""Iterations between two looks at the duality gap."""
_GIVE_UP_AFTER = 1_000_000
"""Iterations with one gamma."""


def lasso(A_JMN: Array, b_JM: Array, gamma: float) -> Array:
    """z_JN = argmin 1/2 |A z - b|^2 + gamma |z|_1 of every problem j.

    Args:
        A_JMN: measurement matrices; problems of fewer variables than N are filled up with columns of zeros.
        b_JM: measurements.
        gamma: above 0.

    Raises:
        ArithmeticError: not solved after many iterations.
    """
    # From here up the solution is zero.
    gamma_J = np.maximum(np.abs(_transposed(A_JMN, b_JM)).max(axis=1), gamma)
    z_JN = np.zeros((A_JMN.shape[0], A_JMN.shape[2]))
    while True:
        z_JN = _fista(A_JMN, b_JM, gamma_J, z_JN)
        if (gamma_J == gamma).all():
            return z_JN
        gamma_J = np.maximum(_CONTINUATION * gamma_J, gamma)


def _fista(A: Array, b: Array, gamma_J: Array, start_JN: Array) -> Array:
    lipschitz_J1 = np.linalg.norm(A, ord=2, axis=(1, 2))[:, None] ** 2
    step_J1 = 1.0 / np.where(lipschitz_J1 > 0.0, lipschitz_J1, 1.0)
    threshold_J1 = step_J1 * gamma_J[:, None]
    z = ahead = best = start_JN
    momentum_J1 = np.ones_like(step_J1)
    gap_J = np.full(len(z), np.inf)
    for iteration in range(_GIVE_UP_AFTER):
        if iteration % _LOOK_EVERY == 0:
            for candidate in (z, _on_support(A, b, gamma_J, z)):
                found_J = duality_gap(A, b, gamma_J, candidate)
                best = np.where((found_J < gap_J)[:, None], candidate, best)
                gap_J = np.minimum(found_J, gap_J)
            if (gap_J <= RELATIVE_GAP * objective(A, b, gamma_J, best)).all():
                return best
        moved = ahead - step_J1 * _transposed(A, _times(A, ahead) - b)
        new = np.sign(moved) * np.maximum(np.abs(moved) - threshold_J1, 0.0)
        climbs_J1 = ((ahead - new) * (new - z)).sum(axis=1, keepdims=True) > 0.0
        momentum_J1 = np.where(climbs_J1, 1.0, momentum_J1)
        next_J1 = (1.0 + np.sqrt(1.0 + 4.0 * momentum_J1**2)) / 2.0
        ahead = new + (momentum_J1 - 1.0) / next_J1 * (new - z)
        z, momentum_J1 = new, next_J1
    raise ArithmeticError(f"LASSO: duality gaps of {gap_J} after {_GIVE_UP_AFTER} iterations with gamma {gamma_J}")


def objective(A_JMN: Array, b_JM: Array, gamma_J: Array, z_JN: Array) -> Array:
    """What the LASSO minimises, of every problem."""
    residual_JM = b_JM - _times(A_JMN, z_JN)
    values: Array = 0.5 * (residual_JM**2).sum(axis=1) + gamma_J * np.abs(z_JN).sum(axis=1)
    return values


def duality_gap(A_JMN: Array, b_JM: Array, gamma_J: Array, z_JN: Array) -> Array:
    """How far, at most, the objective of each problem is above its minimum.

    The dual point is the residual, scaled by s <= 1 into the dual's constraint |A^T s r|_inf <= gamma. The difference
    of the two objectives is written as a sum of terms of which none is negative: as a difference it would drown in
    rounding where gamma is small.
    """
    residual_JM = b_JM - _times(A_JMN, z_JN)
    correlation_JN = _transposed(A_JMN, residual_JM)
    scale_J = gamma_J / np.maximum(np.abs(correlation_JN).max(axis=1), gamma_J)
    slack_JN = gamma_J[:, None] * np.abs(z_JN) - scale_J[:, None] * z_JN * correlation_JN
    gaps: Array = 0.5 * (1.0 - scale_J) ** 2 * (residual_JM**2).sum(axis=1) + slack_JN.sum(axis=1)
    return gaps


def _on_support(A_JMN: Array, b_JM: Array, gamma_J: Array, z_JN: Array) -> Array:
    """The minimum, if its non-zero entries and their signs are those of z: it solves a linear system then.

    FISTA finds these early and their values late, where the columns of A are alike. Where the guess is wrong, the
    duality gap says so.
    """
    support_JN = z_JN != 0.0
    inverse_JNM = np.linalg.pinv(A_JMN * support_JN[:, None])
    values_JN = _times(inverse_JNM, b_JM - gamma_J[:, None] * _transposed(inverse_JNM, np.sign(z_JN)))
    polished: Array = values_JN * support_JN
    return polished


def _times(matrix_JMN: Array, vector_JN: Array) -> Array:
    product: Array = (matrix_JMN @ vector_JN[:, :, None])[:, :, 0]
    return product


def _transposed(matrix_JMN: Array, vector_JM: Array) -> Array:
    return _times(matrix_JMN.transpose(0, 2, 1), vector_JM)
