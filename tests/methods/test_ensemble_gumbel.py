"""The estimator against its exact law, torch's Gumbel-Softmax, finite differences and brute force."""

from __future__ import annotations

import itertools
from math import factorial, prod

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from nasray.methods.ensemble_gumbel import exact_prefix_probabilities, most_likely_support, sample, support_probability

PROBABILITIES = [(0.5, 0.5), (0.7, 0.2, 0.1), (0.4, 0.3, 0.2, 0.1), (0.25, 0.25, 0.25, 0.25)]


def outcomes(p: tuple[float, ...], samples: int) -> dict[frozenset[int], float]:
    """Probability of every support, by adding up all K^M outcomes of the draws."""
    law: dict[frozenset[int], float] = {}
    for draws in itertools.product(range(len(p)), repeat=samples):
        law[frozenset(draws)] = law.get(frozenset(draws), 0.0) + prod(p[k] for k in draws)
    return law


def inclusion_exclusion(p: tuple[float, ...], samples: int, support: frozenset[int]) -> float:
    """The law as methods.md 4.2 states it."""
    subsets = (s for size in range(len(support) + 1) for s in itertools.combinations(support, size))
    return sum((-1) ** (len(support) - len(s)) * sum(p[k] for k in s) ** samples for s in subsets)


def compositions(p: tuple[float, ...], samples: int) -> float:
    """P_k as methods.md 4.4 states it: over m_1 + ... + m_k = M with every m_i at least 1."""
    return sum(
        factorial(samples) / prod(map(factorial, m)) * prod(q**n for q, n in zip(p, m, strict=True))
        for m in itertools.product(range(1, samples + 1), repeat=len(p))
        if sum(m) == samples
    )


@pytest.mark.parametrize("samples", [1, 2, 4, 7])
@pytest.mark.parametrize("p", PROBABILITIES, ids=str)
def test_frequencies_match_the_law(p: tuple[float, ...], samples: int) -> None:
    draws = 200_000
    generator = np.random.default_rng([20, samples, len(p)])
    p_GK = torch.tensor(p, dtype=torch.float64).expand(draws, -1)
    drawn = sample(p_GK, generator.gumbel(size=(samples, draws, len(p))), temperature=3.0).support_GK
    codes = drawn @ (1 << np.arange(len(p)))
    law = outcomes(p, samples)
    expected = {sum(1 << k for k in support): draws * q for support, q in law.items()}
    observed = np.bincount(codes, minlength=1 << len(p))
    assert set(np.flatnonzero(observed)) <= set(expected)
    # Rare supports together, as the test asks for some five in each.
    common = [code for code, count in expected.items() if count >= 5]
    counts = [*observed[common], draws - observed[common].sum()]
    wanted = [*(expected[code] for code in common), draws - sum(expected[code] for code in common)]
    if wanted[-1] < 1e-6:
        counts, wanted = counts[:-1], wanted[:-1]
    assert chisquare(counts, wanted, sum_check=False).pvalue > 1e-3


def test_the_example_of_the_poster() -> None:
    p = np.array([0.5, 0.5])
    assert support_probability(p, 1, [0]) == support_probability(p, 1, [1]) == 0.5
    assert support_probability(p, 1, [0, 1]) == 0.0
    assert support_probability(p, 2, [0]) == support_probability(p, 2, [1]) == 0.25
    assert support_probability(p, 2, [0, 1]) == 0.5


@pytest.mark.parametrize("samples", [1, 2, 4, 7])
@pytest.mark.parametrize("p", PROBABILITIES, ids=str)
def test_support_probability_matches_enumeration_and_inclusion_exclusion(p: tuple[float, ...], samples: int) -> None:
    law = outcomes(p, samples)
    for size in range(1, len(p) + 1):
        for support in map(frozenset, itertools.combinations(range(len(p)), size)):
            given = support_probability(np.array(p), samples, sorted(support))
            assert given == pytest.approx(law.get(support, 0.0), abs=1e-12)
            assert given == pytest.approx(inclusion_exclusion(p, samples, support), abs=1e-12)


@pytest.mark.parametrize("samples", [1, 3, 5, 9])
def test_prefix_probabilities_match_the_sum_over_compositions(samples: int) -> None:
    p = np.random.default_rng(samples).dirichlet(np.ones(6))
    given = exact_prefix_probabilities(p, samples)
    assert len(given) == min(6, samples)
    for k, probability in enumerate(given, start=1):
        if samples**k < 100_000:
            assert probability == pytest.approx(compositions(tuple(p[:k]), samples), rel=1e-12)


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5])
def test_derive_matches_enumeration(samples: int) -> None:
    generator = np.random.default_rng(samples)
    lengths = set()
    for concentration in (0.2, 1.0, 20.0) * 5:
        p = generator.dirichlet(np.full(5, concentration))
        law = outcomes(tuple(p), samples)
        order = sorted(range(5), key=lambda k: -p[k])
        prefixes = [law.get(frozenset(order[:k]), 0.0) for k in range(1, 6)]
        expected = order[: prefixes.index(max(prefixes)) + 1]
        assert most_likely_support(p, samples).tolist() == expected
        assert most_likely_support(3.0 * p, samples).tolist() == expected
        lengths.add(len(expected))
    assert samples == 1 or len(lengths) > 1


def test_one_sample_is_straight_through_gumbel_softmax() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(50, 6, generator=generator, dtype=torch.float64).requires_grad_()
    values = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    torch.manual_seed(4)
    reference = torch.nn.functional.gumbel_softmax(torch.log_softmax(logits, dim=1), tau=1.7, hard=True)
    (expected,) = torch.autograd.grad((values * reference).sum(), logits)
    torch.manual_seed(4)
    noise = -torch.empty(50, 6, dtype=torch.float64).exponential_().log()
    drawn = sample(torch.softmax(logits, dim=1), noise.numpy()[None], temperature=1.7)
    (given,) = torch.autograd.grad((values * drawn.weights_GK).sum(), logits)
    assert torch.equal(drawn.weights_GK.round(), reference.detach().round())
    assert np.array_equal(drawn.support_GK, reference.detach().numpy() > 0.5)
    torch.testing.assert_close(given, expected, rtol=1e-6, atol=1e-8)  # log(p + 1e-10) is not quite log(p)


@pytest.mark.parametrize("counted", [(1.0, 1.0, 1.0, 1.0), (0.0, 1.0, 1.0, 1.0)])
def test_the_gradient_goes_to_the_first_sample_that_drew_a_candidate(counted: tuple[float, ...]) -> None:
    samples, groups, candidates, temperature = 5, 7, 4, 2.0
    generator = np.random.default_rng(5)
    p = generator.dirichlet(np.ones(candidates), size=groups)
    noise = generator.gumbel(size=(samples, groups, candidates))
    values = generator.normal(size=(groups, candidates))

    def soft(p_GK: np.ndarray) -> np.ndarray:
        exponential = np.exp((np.log(p_GK + 1e-10) + noise) / temperature)
        return np.asarray(exponential / exponential.sum(axis=2, keepdims=True))

    drawn = soft(p).argmax(axis=2)
    hard = np.zeros((groups, candidates))
    who = np.zeros((groups, candidates), dtype=int)
    for m in reversed(range(samples)):
        for g in range(groups):
            hard[g, drawn[m, g]], who[g, drawn[m, g]] = 1.0, m

    def surrogate(p_GK: np.ndarray) -> float:
        # A, moving with the soft value of the sample that it is taken from.
        change = np.take_along_axis(soft(p_GK) - soft(p), who[None], axis=0)[0]
        union = hard + change
        total = (union * counted).sum(axis=1, keepdims=True)
        drew = (hard * counted).sum(axis=1, keepdims=True) > 0
        return float((values * union / np.where(drew, total, 1.0)).sum())

    p_GK = torch.tensor(p, requires_grad=True)
    given = sample(p_GK, noise, temperature, torch.tensor([counted]))
    (gradient,) = torch.autograd.grad((torch.tensor(values) * given.weights_GK).sum(), p_GK)
    step = 1e-6
    for g in range(groups):
        for k in range(candidates):
            shift = np.zeros_like(p)
            shift[g, k] = step
            expected = (surrogate(p + shift) - surrogate(p - shift)) / (2 * step)
            assert gradient[g, k].item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_weights_are_shares_of_the_union_and_exactly_zero_outside() -> None:
    generator = np.random.default_rng(6)
    p_GK = torch.tensor(generator.dirichlet(np.ones(8), size=500), dtype=torch.float32)
    drawn = sample(p_GK, generator.gumbel(size=(4, 500, 8)), temperature=5.0)
    number = drawn.support_GK.sum(axis=1, keepdims=True)
    assert set(number.ravel()) == {1, 2, 3, 4}
    assert np.array_equal(drawn.weights_GK.numpy(), (drawn.support_GK / number).astype(np.float32))


def test_a_group_that_draws_nothing_that_counts_stays_finite() -> None:
    p_GK = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    drawn = sample(p_GK, np.zeros((2, 1, 3)), 1.0, counted_GK=torch.tensor([[0.0, 1.0, 1.0]]))
    assert drawn.weights_GK.tolist() == [[1.0, 0.0, 0.0]]
    (gradient,) = torch.autograd.grad(drawn.weights_GK[:, 1:].sum(), p_GK)
    assert gradient.isfinite().all()


def test_an_absent_candidate_is_never_drawn_and_has_no_gradient() -> None:
    generator = np.random.default_rng(7)
    noise = generator.gumbel(size=(7, 1000, 3))
    noise[:, :, 2] = -np.inf
    p_GK = torch.tensor([0.6, 0.4, 0.0]).expand(1000, -1).clone().requires_grad_()
    drawn = sample(p_GK, noise, 2.0)
    (gradient,) = torch.autograd.grad((drawn.weights_GK * torch.arange(3.0)).sum(), p_GK)
    assert not drawn.support_GK[:, 2].any()
    assert gradient.isfinite().all()
    assert not gradient[:, 2].any()
