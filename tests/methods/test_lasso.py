"""FISTA against scikit-learn's solvers, and its certificate against the definition of the duality gap."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, lars_path

from nasray.methods import lasso as module
from nasray.methods.lasso import duality_gap, lasso, objective

SIZES = (14, 21, 28, 35, 1, 2, 7, 50)
ROWS = 7


def problems(law: str, scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One problem of every size, filled up with columns of zeros."""
    generator = np.random.default_rng(seed)
    A_JMN = np.zeros((len(SIZES), ROWS, max(SIZES)))
    for j, size in enumerate(SIZES):
        A_JMN[j, :, :size] = generator.random((ROWS, size)) if law == "uniform" else generator.normal(size=(ROWS, size))
    return A_JMN, scale * generator.standard_normal((len(SIZES), ROWS))


@pytest.mark.parametrize("gamma", [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
@pytest.mark.parametrize("law", ["uniform", "gaussian"])
def test_equals_scikit_learn_on_every_node_size(law: str, gamma: float) -> None:
    # Measurements as long as coordinate descent can follow: it needs ever longer where gamma is small beside them.
    A_JMN, b_JM = problems(law, min(1.0, 1e3 * gamma), seed=1)
    z_JN = lasso(A_JMN, b_JM, gamma)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        for j, size in enumerate(SIZES):
            # scikit-learn divides the squared error by the number of rows.
            other = Lasso(alpha=gamma / ROWS, fit_intercept=False, tol=1e-14, max_iter=3_000_000)
            other.fit(A_JMN[j, :, :size], b_JM[j])
            np.testing.assert_allclose(z_JN[j, :size], other.coef_, rtol=0, atol=1e-6)
            assert not z_JN[j, size:].any()


@pytest.mark.parametrize("law", ["uniform", "gaussian"])
def test_equals_the_end_of_the_lars_path_where_coordinate_descent_does_not_arrive(law: str) -> None:
    A_JMN, b_JM = problems(law, 1.0, seed=2)
    z_JN = lasso(A_JMN, b_JM, 1e-5)
    for j, size in enumerate(SIZES):
        _, _, path = lars_path(A_JMN[j, :, :size], b_JM[j], method="lasso", alpha_min=1e-5 / ROWS)
        np.testing.assert_allclose(z_JN[j, :size], path[:, -1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("gamma", [1e-5, 1e-2])
def test_reaches_the_gap_and_the_optimality_conditions(gamma: float) -> None:
    A_JMN, b_JM = problems("uniform", 3.0, seed=3)
    z_JN = lasso(A_JMN, b_JM, gamma)
    gammas_J = np.full(len(SIZES), gamma)
    assert (duality_gap(A_JMN, b_JM, gammas_J, z_JN) <= 1e-8 * objective(A_JMN, b_JM, gammas_J, z_JN)).all()
    correlation_JN = np.einsum("jmn,jm->jn", A_JMN, b_JM - np.einsum("jmn,jn->jm", A_JMN, z_JN))
    assert (np.abs(correlation_JN) <= gamma * (1 + 1e-6)).all()
    active_JN = z_JN != 0
    np.testing.assert_allclose(correlation_JN[active_JN], gamma * np.sign(z_JN[active_JN]), rtol=1e-6)
    assert active_JN.sum(axis=1).max() <= ROWS


def test_gap_is_the_difference_of_primal_and_dual() -> None:
    A_JMN, b_JM = problems("gaussian", 1.0, seed=4)
    gamma_J = np.linspace(0.1, 0.8, len(SIZES))
    z_JN = 0.1 * np.random.default_rng(5).standard_normal((len(SIZES), max(SIZES)))
    gaps = duality_gap(A_JMN, b_JM, gamma_J, z_JN)
    for A, b, gamma, z, gap in zip(A_JMN, b_JM, gamma_J, z_JN, gaps, strict=True):
        primal = 0.5 * np.sum((A @ z - b) ** 2) + gamma * np.sum(np.abs(z))
        dual_point = (b - A @ z) * min(1.0, gamma / np.max(np.abs(A.T @ (b - A @ z))))
        dual = 0.5 * np.sum(b**2) - 0.5 * np.sum((b - dual_point) ** 2)
        assert gap == pytest.approx(primal - dual, rel=1e-12)


def test_is_exactly_zero_from_the_largest_correlation_on() -> None:
    A_JMN, b_JM = problems("uniform", 1.0, seed=6)
    largest = np.abs(np.einsum("jmn,jm->jn", A_JMN, b_JM)).max()
    assert not lasso(A_JMN, b_JM, largest).any()
    assert not lasso(np.zeros_like(A_JMN), b_JM, 1e-5).any()
    assert not lasso(A_JMN, np.zeros_like(b_JM), 1e-5).any()


def test_says_that_it_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GIVE_UP_AFTER", 1)
    with pytest.raises(ArithmeticError, match="after 1 iterations"):
        lasso(*problems("uniform", 1.0, seed=7), 1e-3)
