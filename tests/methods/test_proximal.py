"""The accelerated proximal step against scikit-learn's Lasso and the paper's equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from nasray.methods.proximal import apg_nag_step, soft_threshold


def problem(seed: int, n: int = 60, k: int = 20) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, k))
    weights = generator.standard_normal(k) * (generator.random(k) < 0.4)
    return x, x @ weights + 0.1 * generator.standard_normal(n)


@pytest.mark.parametrize("strength", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_the_lasso_solution_is_reached_with_its_exact_zeros(strength: float, seed: int) -> None:
    x, y = problem(seed)
    expected = Lasso(alpha=strength, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(x, y).coef_
    x_t, y_t = torch.from_numpy(x), torch.from_numpy(y)
    rate = len(y) / float(np.linalg.norm(x, 2)) ** 2
    factors, velocity = torch.ones(x.shape[1], dtype=torch.float64), torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(3000):
        gradient = x_t.T @ (x_t @ factors - y_t) / len(y)
        factors, velocity = apg_nag_step(
            factors, velocity, gradient, learning_rate=rate, strength=strength, momentum=0.9
        )
    np.testing.assert_allclose(factors.numpy(), expected, atol=1e-9)
    assert ((factors == 0).numpy() == (expected == 0)).all()
    assert (expected == 0).any()


def test_the_step_is_equations_6_to_8_entry_by_entry() -> None:
    # As released: mom *= mu; z = soft(x - lr g, lr gamma); mom = z - x + mom; x = z + mu mom.
    generator = np.random.default_rng(0)
    rate, mu = 0.1, 0.9
    strengths = generator.random(7)
    x, mom = generator.standard_normal(7), np.zeros(7)
    factors, velocity = torch.from_numpy(x.copy()), torch.zeros(7, dtype=torch.float64)
    for _ in range(20):
        gradient = generator.standard_normal(7)
        for i in range(7):
            z = x[i] - rate * gradient[i]
            z = math.copysign(max(abs(z) - rate * strengths[i], 0.0), z)
            mom[i] = z - x[i] + mu * mom[i]
            x[i] = z + mu * mom[i]
        factors, velocity = apg_nag_step(
            factors,
            velocity,
            torch.from_numpy(gradient),
            learning_rate=rate,
            strength=torch.from_numpy(strengths),
            momentum=mu,
        )
        np.testing.assert_allclose(factors.numpy(), x, rtol=1e-12)
        np.testing.assert_allclose(velocity.numpy(), mom, rtol=1e-12, atol=1e-15)


def test_soft_threshold_minimises_its_objective() -> None:
    z = torch.linspace(-2, 2, 41, dtype=torch.float64)
    grid = torch.linspace(-3, 3, 60001, dtype=torch.float64)
    objective = 0.5 * (grid - z[:, None]) ** 2 + 0.7 * grid.abs()
    torch.testing.assert_close(soft_threshold(z, 0.7), grid[objective.argmin(dim=1)], atol=1e-4, rtol=0)
    assert (soft_threshold(z, 0.7)[z.abs() <= 0.7] == 0).all()
