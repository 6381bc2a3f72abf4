from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from nasray.searchers.monotone import CONCENTRATION, MonotoneModel


def test_what_was_told_is_fitted_as_scikit_learn_fits_it() -> None:
    draw = np.random.default_rng(0)
    places = draw.choice(np.linspace(0, 1, 12), size=30)
    costs = places**2 + 0.3 * draw.standard_normal(30)
    theirs = IsotonicRegression().fit(places, costs)
    model = MonotoneModel(places, costs)
    np.testing.assert_allclose(model.fitted_K, theirs.predict(model.places_K), atol=1e-12)
    assert (np.diff(model.mean(np.linspace(0, 1, 500))) >= -1e-12).all()


@pytest.mark.parametrize("rise", [0.1, 3.0])
def test_probabilities_are_those_of_a_dirichlet_process_with_noise(rise: float) -> None:
    # Two values told; in the gap between them the share of the rise is drawn as two independent gammas.
    model = MonotoneModel(np.array([0.0, 1.0]), np.array([5.0, 5.0 + rise]))
    draw, low, high = np.random.default_rng(1), 5.0 + 0.4 * rise, 5.0 + 0.6 * rise
    for place in (0.0, 0.3, 0.5, 0.9):
        (found,) = model.probabilities(np.array([place]), np.array([low]), np.array([high]))[0]
        made, left = (draw.gamma(max(CONCENTRATION * part, 1e-9), size=200_000) for part in (place, 1 - place))
        told = 0.7 * ((1 - place) ** 2 + place**2)
        noise = model.noise * math.sqrt(1 + told) * draw.standard_normal(200_000)
        costs = 5.0 + rise * made / (made + left) + noise
        # Where the rise is little more than the noise, a normal law stands for both.
        assert found == pytest.approx(np.mean((costs >= low) & (costs <= high)), abs=0.02 if rise > 1 else 0.06)


def test_noise_is_learned_from_repeated_values() -> None:
    draw = np.random.default_rng(2)
    for noise in (0.01, 0.2):
        model = MonotoneModel(
            np.repeat([0.0, 0.5, 1.0], 100), np.repeat([1.0, 3.0, 5.0], 100) + noise * draw.normal(size=300)
        )
        assert model.noise == pytest.approx(noise, rel=0.2)
